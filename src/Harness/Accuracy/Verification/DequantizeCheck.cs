using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Dequantization against the contract, bit for bit, for codes over the whole range of their type.</summary>
internal sealed class DequantizeCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>The feature that a check can have: strides above the widths.</summary>
    public const string Wide = "ld";

    private const int WidePadding = 3;

    private readonly DequantizeSpec _spec = (DequantizeSpec)id.Spec;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int rows = (int)_spec.Rows, cols = (int)_spec.Cols, padding = Has(Wide) ? WidePadding : 0;
        WeightScheme weights = _spec.Weights;
        QuantizeOptions options = weights.ToShape(rows, cols).ToQuantizeOptions();
        int rowBytes = (int)weights.Format.RowBytes(cols);
        int stride = rowBytes + padding, ld = cols + padding, bytes = _spec.Target.Bits() / 8;
        int groups = (int)Quantizer.ScaleCount(options, 1, cols);

        Xoshiro256 random = RandomOf(0);
        byte[] codes = GemmOperands.Filled(rows * stride);
        var scales = new float[rows * groups];
        int[]? zeroPoints = weights.HasZeroPoints ? new int[scales.Length] : null;
        for (int row = 0; row < rows; row++)
        {
            // The unused nibble of an odd row is random too: it must not matter.
            for (int i = 0; i < rowBytes; i++)
                codes[row * stride + i] = (byte)random.NextBelow(256);
        }

        for (int i = 0; i < scales.Length; i++)
        {
            scales[i] = i % 13 == 12 ? 0 : (float)(0.001 + random.NextUniform()) * (i % 7 == 6 ? -1 : 1);
            // A zero point may be any int of 16 bits, whatever the type.
            if (zeroPoints is not null)
                zeroPoints[i] = i % 5 == 4 ? (int)random.NextBelow(65536) - 32768 : (int)random.NextBelow(16);
        }

        byte[] target = GemmOperands.Filled(rows * ld * bytes);
        KernelContext context = contexts.Get(Level, Case.Threads);
        switch (_spec.Target)
        {
            case ElementType.F32:
                Dequantize<float>(context, options, codes, scales, zeroPoints, target, stride, ld);
                break;
            case ElementType.F16:
                Dequantize<Half>(context, options, codes, scales, zeroPoints, target, stride, ld);
                break;
            default:
                Dequantize<BFloat16>(context, options, codes, scales, zeroPoints, target, stride, ld);
                break;
        }

        var meter = new KernelErrorMeter("exact");
        string? failure = Compare(options, codes, scales, zeroPoints, target, stride, ld, meter);
        byte[] zeroBytes = MemoryMarshal.AsBytes((zeroPoints ?? []).AsSpan()).ToArray();
        return new CheckOutcome(
            meter.Result(_spec.Rows * _spec.Cols), failure ?? meter.FirstMismatch,
            Hash(codes, MemoryMarshal.AsBytes(scales.AsSpan()).ToArray(), zeroBytes), Hash(target));
    }

    private void Dequantize<T>(
        KernelContext context, QuantizeOptions options, byte[] codes, float[] scales, int[]? zeroPoints, byte[] target, int stride, int ld)
        where T : unmanaged => Quantizer.Dequantize(
            context, options, _spec.Rows, _spec.Cols, codes, scales, zeroPoints, MemoryMarshal.Cast<byte, T>(target.AsSpan()), stride, ld);

    private string? Compare(
        QuantizeOptions options, byte[] codes, float[] scales, int[]? zeroPoints, byte[] target, int stride, int ld, KernelErrorMeter meter)
    {
        int cols = (int)_spec.Cols, bytes = _spec.Target.Bits() / 8;
        int groups = (int)Quantizer.ScaleCount(options, 1, cols);
        int groupLength = options.Granularity == Granularity.Group ? (int)options.GroupSize : Math.Max(1, cols);
        var values = new int[cols];
        var actual = new float[cols];
        for (int row = 0; row < _spec.Rows; row++)
        {
            CodeReader.Widen(options.Type, codes.AsSpan(row * stride, stride), values);
            FloatConvert.ToSingle(_spec.Target, target.AsSpan(row * ld * bytes), actual);
            for (int col = 0; col < cols; col++)
            {
                int block = row * groups + col / groupLength, r = row, c = col;
                float value = FloatConvert.Round(
                    _spec.Target, QuantizeOracle.Dequantize(options, values[col], zeroPoints?[block] ?? 0, scales[block]));
                meter.AddExact(actual[col], value, value, 0, () => $"[{r},{c}]");
            }

            int end = (row * ld + cols) * bytes;
            if (!GemmOperands.IsUntouched(target.AsSpan(end, (row + 1) * ld * bytes - end)))
                return $"something was written behind row {row} of the result";
        }

        return null;
    }
}
