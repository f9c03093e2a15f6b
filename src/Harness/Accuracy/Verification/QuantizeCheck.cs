using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Quantization against the contract, bit for bit: codes, scales, zero points, the error it reports, what it leaves alone, and
/// that it refuses what is not finite without writing anything.</summary>
internal sealed class QuantizeCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>The features that a check can have: part of the range clipped, strides above the widths.</summary>
    public const string Clip = "clip", Wide = "ld";

    private const float ClipRatio = 0.9f;
    private const int WidePadding = 3;

    private readonly QuantizeSpec _spec = (QuantizeSpec)id.Spec;

    private sealed record Buffers(byte[] Codes, byte[] Scales, byte[] ZeroPoints);

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int rows = (int)_spec.Rows, cols = (int)_spec.Cols;
        int padding = Has(Wide) ? WidePadding : 0;
        int sourceLd = cols + padding;
        int stride = (int)_spec.Way.Type.RowBytes(cols) + padding;
        QuantizeOptions options = _spec.Way.ToOptions() with { ClipRatio = Has(Clip) ? ClipRatio : 1 };
        byte[] source = MakeSource(rows * sourceLd);
        float[] dense = Dense(source, rows, cols, sourceLd);
        QuantizedReference reference = QuantizeOracle.Quantize(options, rows, cols, dense);

        KernelContext context = contexts.Get(Level, Case.Threads);
        Buffers made = MakeBuffers(rows * stride, reference.Scales.Length);
        QuantizeError reported = Quantize(context, options, source, sourceLd, made, stride);
        var meter = new KernelErrorMeter("exact");
        string? failure = Compare(options, reference, made, rows, cols, stride, meter)
            ?? CompareError(reported, reference, dense, rows, cols, options)
            ?? CheckRefusal(context, options, source, sourceLd, stride, rows, cols);
        return new CheckOutcome(
            meter.Result(_spec.Rows * _spec.Cols), failure, Hash(source), Hash(made.Codes, made.Scales, options.Asymmetric ? made.ZeroPoints : default));
    }

    // Ordinary values, outliers, zeros of both signs, values on the border between two codes; then rows of zeros, of tiny values whose
    // scale counts as 0, and of huge ones.
    private byte[] MakeSource(int elements)
    {
        Xoshiro256 random = RandomOf(0);
        var values = new float[elements];
        int cols = Math.Max(1, (int)_spec.Cols);
        ElementType type = _spec.Way.Source;
        // The ends of the type's range, so that widening and the largest sums are exercised.
        float huge = type == ElementType.F16 ? 65504 : 3e38f;
        float tiny = type == ElementType.F16 ? 6e-8f : 1e-42f;
        for (int i = 0; i < elements; i++)
        {
            float value = (float)random.NextNormal();
            values[i] = (i / cols % 6) switch
            {
                2 when i % 5 != 0 => 0,
                3 => tiny * MathF.Round(value * 4),
                4 => huge * Math.Clamp(value / 4, -1, 1),
                5 => MathF.Round(value * 8) / 2,
                _ => i % 11 == 10 ? -0f : i % 37 == 36 ? value * 30 : value,
            };
        }

        var bytes = new byte[elements * (type.Bits() / 8)];
        FloatConvert.FromSingle(type, values, bytes);
        return bytes;
    }

    private float[] Dense(byte[] source, int rows, int cols, int ld)
    {
        int bytes = _spec.Way.Source.Bits() / 8;
        var dense = new float[rows * cols];
        for (int row = 0; row < rows; row++)
            FloatConvert.ToSingle(_spec.Way.Source, source.AsSpan(row * ld * bytes), dense.AsSpan(row * cols, cols));
        return dense;
    }

    private static Buffers MakeBuffers(int codeBytes, int blocks) =>
        new(GemmOperands.Filled(codeBytes), GemmOperands.Filled(blocks * sizeof(float)), GemmOperands.Filled(blocks * sizeof(int)));

    private QuantizeError Quantize(KernelContext context, QuantizeOptions options, byte[] source, int sourceLd, Buffers to, int stride) =>
        _spec.Way.Source switch
        {
            ElementType.F32 => Quantize<float>(context, options, source, sourceLd, to, stride),
            ElementType.F16 => Quantize<Half>(context, options, source, sourceLd, to, stride),
            _ => Quantize<BFloat16>(context, options, source, sourceLd, to, stride),
        };

    private QuantizeError Quantize<T>(KernelContext context, QuantizeOptions options, byte[] source, int sourceLd, Buffers to, int stride)
        where T : unmanaged => Quantizer.QuantizeWithError(
            context, options, _spec.Rows, _spec.Cols, MemoryMarshal.Cast<byte, T>(source), to.Codes, MemoryMarshal.Cast<byte, float>(to.Scales.AsSpan()),
            options.Asymmetric ? MemoryMarshal.Cast<byte, int>(to.ZeroPoints.AsSpan()) : default, sourceLd, stride);

    private static string? Compare(
        QuantizeOptions options, QuantizedReference reference, Buffers made, int rows, int cols, int stride, KernelErrorMeter meter)
    {
        ReadOnlySpan<float> scales = MemoryMarshal.Cast<byte, float>(made.Scales);
        for (int i = 0; i < scales.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(scales[i]) != BitConverter.SingleToInt32Bits(reference.Scales[i]))
                return $"scale {i} is {scales[i]:R}, the contract says {reference.Scales[i]:R}";
        }

        ReadOnlySpan<int> zeroPoints = MemoryMarshal.Cast<byte, int>(made.ZeroPoints);
        if (options.Asymmetric && !zeroPoints.SequenceEqual(reference.ZeroPoints))
            return "a zero point differs from the contract";

        int width = (int)options.Type.RowBytes(cols);
        var codes = new int[cols];
        var expected = new byte[width];
        for (int row = 0; row < rows; row++)
        {
            Span<byte> line = made.Codes.AsSpan(row * stride, stride);
            CodeReader.Widen(options.Type, line, codes);
            for (int col = 0; col < cols; col++)
            {
                int r = row, c = col;
                meter.AddExact(codes[col], reference.Codes[row * cols + col], reference.Codes[row * cols + col], 0, () => $"code [{r},{c}]");
            }

            CodeReader.Narrow(options.Type, reference.Codes.AsSpan(row * cols, cols), expected);
            if (!line[..width].SequenceEqual(expected))
                return meter.FirstMismatch ?? $"the unused nibble of row {row} is not zero";
            if (!GemmOperands.IsUntouched(line[width..]))
                return $"something was written behind row {row} of the codes";
        }

        return null;
    }

    // The sums in the order that quantize.h prescribes.
    private static string? CompareError(
        QuantizeError reported, QuantizedReference reference, float[] source, int rows, int cols, QuantizeOptions options)
    {
        int blocksPerRow = rows == 0 ? 0 : reference.Scales.Length / rows;
        double total = 0, largest = 0;
        for (int row = 0; row < rows; row++)
        {
            double sum = 0;
            for (int col = 0; col < cols; col++)
            {
                int block = options.Granularity switch
                {
                    Granularity.Tensor => 0,
                    Granularity.Group => row * blocksPerRow + (int)(col / options.GroupSize),
                    _ => row,
                };
                float value = QuantizeOracle.Dequantize(options, reference.Codes[row * cols + col], reference.ZeroPoints[block], reference.Scales[block]);
                double error = (double)source[row * cols + col] - value;
                sum += error * error;
                largest = Math.Max(largest, Math.Abs(error));
            }

            total += sum;
        }

        double mean = rows * cols == 0 ? 0 : total / ((double)rows * cols);
        if (reported.MaxAbsError != largest)
            return $"the largest error is reported as {reported.MaxAbsError:R}, it is {largest:R}";
        return reported.MeanSquaredError == mean ? null : $"the mean squared error is reported as {reported.MeanSquaredError:R}, it is {mean:R}";
    }

    private string? CheckRefusal(KernelContext context, QuantizeOptions options, byte[] source, int sourceLd, int stride, int rows, int cols)
    {
        if (rows == 0 || cols == 0)
            return null;
        byte[] bad = [.. source];
        int bytes = _spec.Way.Source.Bits() / 8;
        float poison = cols % 2 == 0 ? float.NaN : float.NegativeInfinity;
        FloatConvert.FromSingle(_spec.Way.Source, [poison], bad.AsSpan(((rows - 1) * sourceLd + cols - 1) * bytes, bytes));
        Buffers to = MakeBuffers(rows * stride, (int)Quantizer.ScaleCount(options, rows, cols));
        try
        {
            Quantize(context, options, bad, sourceLd, to, stride);
        }
        catch (KernelException exception) when (exception.Status == KernelStatus.NonFinite)
        {
            bool isClean = GemmOperands.IsUntouched(to.Codes) && GemmOperands.IsUntouched(to.Scales) && GemmOperands.IsUntouched(to.ZeroPoints);
            return isClean ? null : $"{poison} in the source was refused, but something was written";
        }

        return $"{poison} in the source was not refused";
    }
}
