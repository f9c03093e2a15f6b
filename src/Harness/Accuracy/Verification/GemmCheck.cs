using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>A GEMM against the oracle: packing undone gives what was packed, integer cells have the prescribed bits, float cells stay
/// inside the bound and give a row the same bits on any number of threads and alone, and nothing outside the result is touched.</summary>
internal sealed class GemmCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>The features that a check can have: bias, residual, the residual being the result itself, leading dimensions above the
    /// widths, codes at the ends of their range, and an output type other than f32.</summary>
    public const string Bias = "bias", Residual = "residual", InPlace = "inplace", Wide = "ld", Extreme = "extreme", F16 = "f16", Bf16 = "bf16";

    // Any number that is not a multiple of a vector.
    private const int WidePadding = 5;

    private const int OtherThreads = 3;

    private readonly GemmSpec _spec = (GemmSpec)id.Spec;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        ElementType output = Has(F16) ? ElementType.F16 : Has(Bf16) ? ElementType.BF16 : ElementType.F32;
        var operands = new GemmOperands(_spec, output, Has(Wide) ? WidePadding : 0, Has(Extreme), RandomOf(0));
        KernelContext context = contexts.Get(Level, Case.Threads);
        using PackedWeights weights = WeightStorage.Pack(context, operands.Weights);

        string? failure = CheckUnpack(context, weights, operands);
        byte[] y = Multiply(context, weights, operands, (int)_spec.M, 0);
        KernelErrorMeter meter = Compare(operands, y);
        failure ??= meter.FirstMismatch;
        failure ??= CheckUntouched(operands, y);
        if (!_spec.Cell.IsInteger)
            failure ??= CheckDeterminism(contexts, weights, operands, y);
        bool isPortable = _spec.Cell.IsInteger || Case.Variant == "ref";
        return new CheckOutcome(meter.Result(_spec.M * _spec.N), failure, Hash(operands.Bytes()), isPortable ? Hash(y) : null);
    }

    private static string? CheckUnpack(KernelContext context, PackedWeights weights, GemmOperands operands)
    {
        if (WeightStorage.CompareUnpacked(context, weights, operands.Weights, GemmOperands.Canary) is { } difference)
            return difference;
        byte[] blob = weights.Save();
        using PackedWeights loaded = PackedWeights.Load(context, blob);
        return loaded.Save().AsSpan().SequenceEqual(blob) ? null : "weights that were saved and loaded are saved differently";
    }

    // Runs rows first .. first + m - 1 into a fresh buffer of canaries.
    private byte[] Multiply(KernelContext context, PackedWeights weights, GemmOperands operands, int m, int first) => operands.OutputType switch
    {
        ElementType.F32 => Multiply<float>(context, weights, operands, m, first),
        ElementType.F16 => Multiply<Half>(context, weights, operands, m, first),
        _ => Multiply<BFloat16>(context, weights, operands, m, first),
    };

    private unsafe byte[] Multiply<T>(KernelContext context, PackedWeights weights, GemmOperands operands, int m, int first)
        where T : unmanaged
    {
        byte[] bytes = GemmOperands.Filled(m * operands.YLd * sizeof(T));
        Span<T> y = MemoryMarshal.Cast<byte, T>(bytes.AsSpan());
        ReadOnlySpan<T> residual = MemoryMarshal.Cast<byte, T>(operands.Residual)[(first * operands.ResidualLd)..];
        long residualLd = operands.ResidualLd;
        if (Has(InPlace))
        {
            for (int i = 0; i < m; i++)
                residual.Slice(i * operands.ResidualLd, (int)_spec.N).CopyTo(y[(i * operands.YLd)..]);
            residual = y;
            residualLd = operands.YLd;
        }

        var output = new GemmOutput<T>(y, operands.YLd)
        {
            Bias = Has(Bias) ? operands.Bias : default,
            Residual = Has(Residual) ? residual : default,
            ResidualLd = Has(Residual) ? residualLd : 0,
        };
        var options = new GemmOptions
        {
            Compute = _spec.Cell.Compute,
            OutlierThreshold = _spec.Cell.HasOutliers ? GemmOptions.DefaultOutlierThreshold : 0,
            Lora = operands.Lora is { } lora ? LoraAdapter.Of<float>(lora.A, lora.B, lora.Rank, lora.Scale) : default,
        };
        Gemm.Run(context, weights, m, ActivationsOf(operands, first), output, options);
        return bytes;
    }

    private Activations ActivationsOf(GemmOperands operands, int first)
    {
        ElementType type = _spec.Cell.Activations;
        ReadOnlySpan<byte> x = operands.X.AsSpan(first * operands.XStride);
        return type switch
        {
            ElementType.S8 => Activations.S8(x, operands.XScales.AsSpan(first), operands.XLd),
            ElementType.S4 => Activations.S4(x, operands.XScales.AsSpan(first), operands.XLd),
            ElementType.U8 => Activations.U8(x, operands.XScales.AsSpan(first), operands.XZeroPoints.AsSpan(first), operands.XLd),
            ElementType.F32 => Activations.Of(MemoryMarshal.Cast<byte, float>(x), operands.XLd),
            ElementType.F16 => Activations.Of(MemoryMarshal.Cast<byte, Half>(x), operands.XLd),
            _ => Activations.Of(MemoryMarshal.Cast<byte, BFloat16>(x), operands.XLd),
        };
    }

    private KernelErrorMeter Compare(GemmOperands operands, byte[] y)
    {
        var meter = new KernelErrorMeter(_spec.Cell.IsInteger ? "exact" : "bound", tracksBound: operands.OutputType == ElementType.F32);
        int n = (int)_spec.N, bytes = operands.OutputType.Bits() / 8;
        ElementType entries = GemmOracle.EntriesOf(Case.Variant);
        OracleChannel[] channels = [.. Enumerable.Range(0, n).Select(i => operands.Weights.Channel(i, entries))];
        var actual = new float[n];
        var residual = new float[n];
        for (int row = 0; row < _spec.M; row++)
        {
            FloatConvert.ToSingle(operands.OutputType, y.AsSpan(row * operands.YLd * bytes, n * bytes), actual);
            FloatConvert.ToSingle(operands.OutputType, operands.Residual.AsSpan(row * operands.ResidualLd * bytes, n * bytes), residual);
            IntegerRow? integers = _spec.Cell.IsInteger ? operands.IntegerRow(row) : null;
            float[] floats = _spec.Cell.IsInteger ? [] : operands.FloatRow(row);
            SideRow sideRow = operands.SideRow(row);
            for (int col = 0; col < n; col++)
            {
                float? bias = Has(Bias) ? operands.Bias[col] : null;
                float? added = Has(Residual) ? residual[col] : null;
                int m = row, j = col;
                OracleOutput side = operands.Side.Exact(sideRow, channels[col], col);
                if (integers is not null)
                {
                    float t = GemmOracle.ExactInteger(integers, channels[col], bias, added, operands.Side.Bits(sideRow, channels[col], col));
                    OracleOutput exact = GemmOracle.Integer(integers, channels[col], bias, added, side);
                    meter.AddExact(actual[col], FloatConvert.Round(operands.OutputType, t), exact.Value, BoundOf(exact), () => $"Y[{m},{j}]");
                }
                else
                {
                    OracleOutput exact = GemmOracle.Float(floats, channels[col], bias, added, side);
                    meter.AddBounded(actual[col], exact.Value, BoundOf(exact), () => $"Y[{m},{j}]");
                }
            }
        }

        return meter;

        double BoundOf(in OracleOutput exact) => GemmOracle.Bound(exact, _spec.K, operands.OutputType, _spec.Cell.LoraRank, Case.Variant);
    }

    private string? CheckUntouched(GemmOperands operands, byte[] y)
    {
        int bytes = operands.OutputType.Bits() / 8;
        for (int row = 0; row < _spec.M; row++)
        {
            int end = (row * operands.YLd + (int)_spec.N) * bytes;
            if (!GemmOperands.IsUntouched(y.AsSpan(end, (row + 1) * operands.YLd * bytes - end)))
                return $"something was written behind row {row} of the result";
        }

        return null;
    }

    private string? CheckDeterminism(ContextPool contexts, PackedWeights weights, GemmOperands operands, byte[] y)
    {
        KernelContext other = contexts.Get(Level, Case.Threads == 1 ? OtherThreads : 1);
        if (!Multiply(other, weights, operands, (int)_spec.M, 0).AsSpan().SequenceEqual(y))
            return $"{other.Threads} threads give other bits than {Case.Threads}";
        int rowBytes = operands.YLd * (operands.OutputType.Bits() / 8);
        for (int row = 0; row < _spec.M; row++)
        {
            if (!Multiply(other, weights, operands, 1, row).AsSpan().SequenceEqual(y.AsSpan(row * rowBytes, rowBytes)))
                return $"row {row} has other bits alone than in the batch";
        }

        return null;
    }
}
