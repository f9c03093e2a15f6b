using Kernels.Harness.Benchmarks;

namespace Kernels.Harness.Accuracy;

/// <summary>Codes, scales and zero points as quantize.h prescribes them.</summary>
/// <param name="Codes">[rows * cols] as integers.</param>
/// <param name="Scales">As the granularity indexes them.</param>
/// <param name="ZeroPoints">One for each scale.</param>
internal sealed record QuantizedReference(int[] Codes, float[] Scales, int[] ZeroPoints);

/// <summary>Quantization written as quantize.h defines it, in binary32 with one rounding per operation.</summary>
internal static class QuantizeOracle
{
    // FLT_MIN: a scale below it counts as 0.
    private const float SmallestScale = 1.17549435e-38f;

    /// <summary>Quantizes a matrix without padding.</summary>
    public static QuantizedReference Quantize(QuantizeOptions options, int rows, int cols, ReadOnlySpan<float> source)
    {
        var codes = new int[rows * cols];
        var scales = new List<float>();
        var zeroPoints = new List<int>();
        switch (options.Granularity)
        {
            case Granularity.Tensor:
                (float scale, int zeroPoint) = QuantizeBlock(options, source[..codes.Length], codes);
                scales.Add(scale);
                zeroPoints.Add(zeroPoint);
                break;
            default:
                int length = options.Granularity == Granularity.Group ? (int)Math.Min(options.GroupSize, cols) : cols;
                for (int row = 0; row < rows; row++)
                {
                    int first = row * cols;
                    // A row without elements has a scale of its own, except with groups: then it has no group.
                    if (cols == 0 && options.Granularity != Granularity.Group)
                        Add(QuantizeBlock(options, [], []));
                    for (int begin = 0; begin < cols; begin += length)
                    {
                        int count = Math.Min(length, cols - begin);
                        Add(QuantizeBlock(options, source.Slice(first + begin, count), codes.AsSpan(first + begin, count)));
                    }
                }

                break;
        }

        return new QuantizedReference(codes, [.. scales], [.. zeroPoints]);

        void Add((float Scale, int ZeroPoint) block)
        {
            scales.Add(block.Scale);
            zeroPoints.Add(block.ZeroPoint);
        }
    }

    /// <summary>The value of a code: (q - zero) * scale or codebook[q] * scale, one rounding.</summary>
    public static float Dequantize(QuantizeOptions options, int code, int zeroPoint, float scale) =>
        (options.Type == ElementType.C4 ? EntriesOf(options)[code] : code - zeroPoint) * scale;

    private static ReadOnlySpan<float> EntriesOf(QuantizeOptions options) => (options.Codebook ?? Kernels.Codebook.NF4).Entries;

    private static float Stored(QuantizeOptions options, float scale) =>
        scale < SmallestScale ? 0 : MathF.Min(FloatConvert.Round(options.ScaleType, scale), options.ScaleType switch
        {
            ElementType.F16 => 65504,
            ElementType.BF16 => 3.3895314e38f,
            _ => float.MaxValue,
        });

    private static float QuantizeToEntries(QuantizeOptions options, ReadOnlySpan<float> source, Span<int> codes)
    {
        ReadOnlySpan<float> entries = EntriesOf(options);
        float largest = 0;
        foreach (float x in source)
            largest = MathF.Max(largest, MathF.Abs(x));
        float scale = Stored(options, largest * options.ClipRatio / MathF.Max(MathF.Abs(entries[0]), MathF.Abs(entries[^1])));
        float inverse = scale == 0 ? 0 : 1 / scale;
        for (int i = 0; i < source.Length; i++)
        {
            codes[i] = 0;
            while (codes[i] < entries.Length - 1 && source[i] * inverse > (float)(((double)entries[codes[i]] + entries[codes[i] + 1]) / 2))
                codes[i]++;
        }

        return scale;
    }

    private static (float Scale, int ZeroPoint) QuantizeBlock(QuantizeOptions options, ReadOnlySpan<float> source, Span<int> codes)
    {
        if (options.Type == ElementType.C4)
            return (QuantizeToEntries(options, source, codes), 0);
        bool isUnsigned = options.Type is ElementType.U8 or ElementType.U4;
        int bits = options.Type.Bits();
        int qMin = isUnsigned ? 0 : -(1 << (bits - 1));
        int qMax = isUnsigned ? (1 << bits) - 1 : (1 << (bits - 1)) - 1;

        float scale;
        int zeroPoint;
        int low, high;
        if (options.Asymmetric)
        {
            float lo = 0, hi = 0;
            foreach (float x in source)
            {
                lo = MathF.Min(lo, x);
                hi = MathF.Max(hi, x);
            }

            lo *= options.ClipRatio;
            hi *= options.ClipRatio;
            scale = Stored(options, (float)(((double)hi - lo) / (qMax - qMin)));
            low = qMin;
            high = qMax;
            // As for all-zero input, for which lo * inv is 0, when the scale counts as 0.
            zeroPoint = scale < SmallestScale ? qMin : (int)Math.Clamp(qMin - MathF.Round(lo * (1 / scale)), qMin, qMax);
        }
        else
        {
            float largest = 0;
            foreach (float x in source)
                largest = MathF.Max(largest, MathF.Abs(x));
            int q = (1 << (bits - 1)) - 1;
            scale = Stored(options, largest * options.ClipRatio / q);
            zeroPoint = isUnsigned ? 1 << (bits - 1) : 0;
            low = zeroPoint - q;
            high = zeroPoint + q;
        }

        if (scale < SmallestScale)
        {
            codes.Fill(zeroPoint);
            return (0, zeroPoint);
        }

        float inverse = 1 / scale;
        for (int i = 0; i < source.Length; i++)
        {
            float clamped = Math.Clamp(source[i] * inverse, low - zeroPoint, high - zeroPoint);
            codes[i] = (int)MathF.Round(clamped, MidpointRounding.ToEven) + zeroPoint;
        }

        return (scale, zeroPoint);
    }
}
