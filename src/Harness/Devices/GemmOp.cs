using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Accuracy.Verification;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>GEMM on integers: on a device the bits of the CPU's reference.</summary>
internal sealed class GemmOp : CudaOp
{
    private const ulong Seed = 11;
    private const int WidePadding = 16;

    // Every format, way of activations and kind of scales once; formats that checkpoints have in more shapes.
    private static readonly string[] s_schemes =
    [
        "w8-a8", "w4g128-a8", "w8g128-a8", "w8-u8", "w4-a4", "w4zg32-a8", "w4zfg128sf16-a8", "w4g128o-a8", "w8-dyn8-bf16", "w4g128-dyn4",
        "w8-a8-outlier1pct", "w8x1pct-dyn8",
    ];

    private static readonly (long M, long N, long K)[] s_checkShapes = [(1, 40, 192), (19, 33, 150)];
    private static readonly (long M, long N, long K) s_prefillShape = (70, 136, 256);
    private static readonly string[] s_caseSchemes = ["w8-a8", "w4g128-a8", "w4-a8"];
    private static readonly long[] s_caseRows = [1, 16, 512, 8192];
    private static readonly (long N, long K)[] s_caseWeights = [(4096, 4096), (8192, 8192)];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from scheme in s_schemes
        from shape in scheme is "w8-a8" or "w4g128-a8" ? [.. s_checkShapes, s_prefillShape] : s_checkShapes
        let spec = new GemmSpec(GemmScheme.Parse(scheme), shape.M, shape.N, shape.K)
        select new CudaCheck($"{GemmSpec.OpName}/{scheme}/{spec.Shape}", shape.M * shape.N, context => Check(context, spec));

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        from weights in s_caseWeights
        from m in s_caseRows
        let spec = new GemmSpec(GemmScheme.Parse(scheme), m, weights.N, weights.K)
        select new CudaCase(
            GemmSpec.OpName, scheme, new Dictionary<string, long> { ["m"] = m, ["n"] = spec.N, ["k"] = spec.K }, spec.Operations, BytesOf(spec),
            (context, rotations) => new Calls(context, spec, rotations));

    // Codes and scales of both sides and a result in bf16.
    private static long BytesOf(GemmSpec spec)
    {
        WeightScheme weights = spec.Cell.Weights;
        return (spec.N * weights.Format.RowBytes(spec.K)) + (weights.ScalesOf(spec.N, spec.K) * sizeof(float))
            + (spec.M * (spec.K + sizeof(float))) + (spec.M * spec.N * sizeof(short));
    }

    private static string? Check(CudaContext context, GemmSpec spec)
    {
        using var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
        var operands = new GemmOperands(spec, ElementType.F32, WidePadding, isExtreme: false, new Xoshiro256(Seed, (ulong)spec.M));
        using PackedWeights weights = WeightStorage.Pack(host, operands.Weights);
        return spec.Cell.Activations == ElementType.BF16
            ? Check<BFloat16>(context, host, weights, spec, operands)
            : Check<float>(context, host, weights, spec, operands);
    }

    // The type of floats, where activations are floats.
    private static string? Check<T>(CudaContext context, KernelContext host, PackedWeights weights, GemmSpec spec, GemmOperands operands)
        where T : unmanaged
    {
        ElementType type = spec.Cell.Activations;
        var options = new GemmOptions
        {
            Compute = spec.Cell.Compute,
            OutlierThreshold = spec.Cell.HasOutliers ? GemmOptions.DefaultOutlierThreshold : 0,
        };
        ReadOnlySpan<T> floats = type.IsFloat() ? MemoryMarshal.Cast<byte, T>(operands.X) : default;
        float[] residual = MemoryMarshal.Cast<byte, float>(operands.Residual).ToArray();
        float[] expected = MemoryMarshal.Cast<byte, float>(GemmOperands.Filled((int)spec.M * operands.YLd * sizeof(float))).ToArray();
        float[] made = [.. expected];
        Activations x = type switch
        {
            ElementType.S8 => Activations.S8(operands.X, operands.XScales, operands.XLd),
            ElementType.S4 => Activations.S4(operands.X, operands.XScales, operands.XLd),
            ElementType.U8 => Activations.U8(operands.X, operands.XScales, operands.XZeroPoints, operands.XLd),
            _ => Activations.Of(floats, operands.XLd),
        };
        Gemm.Run(
            host, weights, spec.M, x,
            new GemmOutput<float>(expected, operands.YLd) { Bias = operands.Bias, Residual = residual, ResidualLd = operands.ResidualLd }, options);

        using var deviceWeights = new CudaPackedWeights(context, host, weights);
        using CudaBuffer<byte> codes = Copy<byte>(context, operands.X);
        using CudaBuffer<T> source = Copy(context, floats);
        using CudaBuffer<float> scales = Copy<float>(context, operands.XScales), bias = Copy<float>(context, operands.Bias);
        using CudaBuffer<int> zeroPoints = Copy<int>(context, operands.XZeroPoints);
        using CudaBuffer<float> added = Copy<float>(context, residual), y = Copy<float>(context, made);
        using var workspace = new CudaBuffer<byte>(context, Gemm.WorkspaceBytes(context, deviceWeights, type, spec.M, options));
        using CudaBuffer<int> flags = Copy<int>(context, [0]);
        CudaActivations there = type switch
        {
            ElementType.S8 => CudaActivations.S8(codes, scales, operands.XLd),
            ElementType.S4 => CudaActivations.S4(codes, scales, operands.XLd),
            ElementType.U8 => CudaActivations.U8(codes, scales, zeroPoints, operands.XLd),
            _ => CudaActivations.Of(source, operands.XLd),
        };
        Gemm.Run(
            context, deviceWeights, spec.M, there,
            new CudaGemmOutput<float>(y, operands.YLd) { Bias = bias, Residual = added, ResidualLd = operands.ResidualLd }, options, workspace, flags);
        y.CopyTo(made);
        int[] flag = [0];
        flags.CopyTo(flag);
        if (flag[0] != 0)
            return "the device says that the input is not finite";

        // What lies behind the rows has to be as it was, so the whole buffers are compared.
        int differs = MemoryMarshal.Cast<float, int>(made).CommonPrefixLength(MemoryMarshal.Cast<float, int>(expected));
        return differs == made.Length
            ? null
            : $"element {differs % operands.YLd} of row {differs / operands.YLd} is {made[differs]:R}, the CPU's {expected[differs]:R}";
    }

    private static CudaBuffer<T> Copy<T>(CudaContext context, ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var buffer = new CudaBuffer<T>(context, values.Length);
        buffer.CopyFrom(values);
        return buffer;
    }

    private sealed class Calls : ICudaCalls
    {
        private readonly CudaContext _context;
        private readonly long _m;
        private readonly List<Operands> _operands = [];

        public Calls(CudaContext context, GemmSpec spec, int rotations)
        {
            _context = context;
            _m = spec.M;
            var random = new Xoshiro256(Seed, (ulong)spec.N);
            using var host = new KernelContext();
            float[] values = new float[spec.N * spec.K];
            for (int i = 0; i < values.Length; i++)
                values[i] = (float)random.NextNormal();
            using PackedWeights weights = PackedWeights.FromFloat<float>(host, spec.Cell.Weights.ToShape(spec.N, spec.K), values);
            byte[] row = new byte[spec.K];
            for (int i = 0; i < row.Length; i++)
                row[i] = (byte)random.NextBelow(256);
            float[] scales = new float[spec.M];
            Array.Fill(scales, 0.01f);
            for (int i = 0; i < rotations; i++)
            {
                var codes = new CudaBuffer<byte>(context, spec.M * spec.K);
                for (long at = 0; at < spec.M; at++)
                    codes.CopyFrom(row, at * spec.K);
                var there = new CudaPackedWeights(context, host, weights);
                _operands.Add(new Operands(
                    there, codes, Copy<float>(context, scales), new CudaBuffer<BFloat16>(context, spec.M * spec.N),
                    new CudaBuffer<byte>(context, Gemm.WorkspaceBytes(context, there, ElementType.S8, spec.M))));
            }
        }

        public void Call(int rotation, CudaStream stream)
        {
            Operands at = _operands[rotation];
            Gemm.Run(
                _context, at.Weights, _m, CudaActivations.S8(at.Codes, at.Scales), new CudaGemmOutput<BFloat16>(at.Y), workspace: at.Workspace,
                stream: stream);
        }

        public void Dispose()
        {
            foreach (Operands operands in _operands)
                operands.Dispose();
        }
    }

    private sealed record Operands(
        CudaPackedWeights Weights, CudaBuffer<byte> Codes, CudaBuffer<float> Scales, CudaBuffer<BFloat16> Y, CudaBuffer<byte> Workspace) : IDisposable
    {
        public void Dispose()
        {
            Weights.Dispose();
            Codes.Dispose();
            Scales.Dispose();
            Y.Dispose();
            Workspace.Dispose();
        }
    }
}
