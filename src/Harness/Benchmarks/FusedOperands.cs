using System.Runtime.InteropServices;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Benchmarks;

/// <summary>The memory of one call of a fused step, matrices without padding between rows.</summary>
internal readonly ref struct FusedOperands
{
    /// <summary>x or the gates.</summary>
    public required ReadOnlySpan<byte> Source { get; init; }

    /// <summary>The residual or the ups.</summary>
    public ReadOnlySpan<byte> Second { get; init; }

    /// <summary>Receives the sum with a residual.</summary>
    public Span<byte> Sum { get; init; }

    /// <summary>Weight of a norm, or the smoothing vector; ones for an unfused rotation of what is not f32, which they widen.</summary>
    public ReadOnlySpan<float> Weight { get; init; }

    /// <summary>Bias of a norm.</summary>
    public ReadOnlySpan<float> Bias { get; init; }

    /// <summary>Receives codes.</summary>
    public required Span<byte> Codes { get; init; }

    /// <summary>Receives scales.</summary>
    public required Span<float> Scales { get; init; }

    /// <summary>Receives zero points.</summary>
    public Span<int> ZeroPoints { get; init; }

    /// <summary>Where the unfused sequence keeps floats.</summary>
    public Span<float> Between { get; init; }

    /// <summary>The epsilon of norms.</summary>
    public const float Epsilon = 1e-5f;

    /// <summary>Elements of a rotated block: the largest power of two that divides the width.</summary>
    public static long RotationOf(long cols) => cols & -cols;

    /// <summary>Runs a step.</summary>
    public void Run(FusedScheme scheme, KernelContext context, long rows, long cols, Span<byte> workspace = default)
    {
        switch (scheme.Source)
        {
            case ElementType.F32:
                Run<float>(scheme, context, rows, cols, workspace);
                break;
            case ElementType.F16:
                Run<Half>(scheme, context, rows, cols, workspace);
                break;
            default:
                Run<BFloat16>(scheme, context, rows, cols, workspace);
                break;
        }
    }

    private void Run<T>(FusedScheme scheme, KernelContext context, long rows, long cols, Span<byte> workspace)
        where T : unmanaged
    {
        ReadOnlySpan<T> source = MemoryMarshal.Cast<byte, T>(Source), second = MemoryMarshal.Cast<byte, T>(Second);
        QuantizeOptions options = scheme.ToOptions();
        var codes = new FusedCodes(options, Codes, Scales, ZeroPoints);
        bool hasResidual = scheme.Step == FusedStep.ResidualRmsNorm;
        var norm = new NormInput<T>(source) { Residual = hasResidual ? second : default, Sum = hasResidual ? MemoryMarshal.Cast<byte, T>(Sum) : default };
        NormWeights weights = NormWeights.Of(Weight, Epsilon, Bias);
        GateInput<T> gate = GateInput.Separate(source, second);
        var rotation = new HadamardOptions(RotationOf(cols));
        bool isTanh = scheme.Step == FusedStep.GeluTanhMul;
        switch (scheme.Step)
        {
            case FusedStep.RmsNorm or FusedStep.ResidualRmsNorm or FusedStep.RmsNormHadamard when scheme.IsUnfused:
                Fused.RmsNorm(context, rows, cols, norm, weights, Between, 0, workspace);
                break;
            case FusedStep.LayerNorm or FusedStep.LayerNormBias when scheme.IsUnfused:
                Fused.LayerNorm(context, rows, cols, norm, weights, Between, 0, workspace);
                break;
            case FusedStep.SiluMul or FusedStep.SiluMulHadamard when scheme.IsUnfused:
                Fused.SiluMul(context, rows, cols, gate, Between, 0, workspace);
                break;
            case FusedStep.GeluMul or FusedStep.GeluTanhMul when scheme.IsUnfused:
                Fused.GeluMul(context, rows, cols, gate, Between, 0, isTanh, workspace);
                break;
            case FusedStep.Hadamard when scheme.IsUnfused && typeof(T) == typeof(float):
                Hadamard.Rotate(context, rotation, rows, cols, MemoryMarshal.Cast<byte, float>(Source), Between);
                break;
            case FusedStep.Smooth or FusedStep.Hadamard when scheme.IsUnfused:
                Fused.Multiply(context, rows, cols, source, Weight, Between, 0, 0, workspace);
                break;
            case FusedStep.RmsNorm or FusedStep.ResidualRmsNorm:
                Fused.RmsNormQuantize(context, rows, cols, norm, weights, codes, workspace);
                break;
            case FusedStep.LayerNorm or FusedStep.LayerNormBias:
                Fused.LayerNormQuantize(context, rows, cols, norm, weights, codes, workspace);
                break;
            case FusedStep.SiluMul:
                Fused.SiluMulQuantize(context, rows, cols, gate, codes, workspace);
                break;
            case FusedStep.GeluMul or FusedStep.GeluTanhMul:
                Fused.GeluMulQuantize(context, rows, cols, gate, codes, isTanh, workspace);
                break;
            case FusedStep.Smooth:
                Fused.SmoothQuantize(context, rows, cols, source, Weight, codes, 0, workspace);
                break;
            case FusedStep.Hadamard:
                Fused.HadamardQuantize(context, rows, cols, source, rotation, codes, 0, workspace);
                break;
            case FusedStep.RmsNormHadamard:
                Fused.RmsNormHadamardQuantize(context, rows, cols, norm, weights, rotation, codes, workspace);
                break;
            default:
                Fused.SiluMulHadamardQuantize(context, rows, cols, gate, rotation, codes, workspace);
                break;
        }

        if (!scheme.IsUnfused)
            return;
        if (scheme.Rotates && !(scheme.Step == FusedStep.Hadamard && typeof(T) == typeof(float)))
            Hadamard.Rotate(context, rotation, rows, cols, Between);
        Quantizer.Quantize(context, options, rows, cols, (ReadOnlySpan<float>)Between, Codes, Scales, ZeroPoints);
    }
}
