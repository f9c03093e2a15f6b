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
            case Granularity.Tensor when codes.Length == 0:
                break;
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
                    for (int begin = 0; begin < cols; begin += length)
                    {
                        int count = Math.Min(length, cols - begin);
                        (float blockScale, int blockZeroPoint) =
                            QuantizeBlock(options, source.Slice(first + begin, count), codes.AsSpan(first + begin, count));
                        scales.Add(blockScale);
                        zeroPoints.Add(blockZeroPoint);
                    }
                }

                break;
        }

        return new QuantizedReference(codes, [.. scales], [.. zeroPoints]);
    }

    /// <summary>The value of a code: (q - zero) * scale, one rounding.</summary>
    public static float Dequantize(int code, int zeroPoint, float scale) => (float)(code - zeroPoint) * scale;

    private static (float Scale, int ZeroPoint) QuantizeBlock(QuantizeOptions options, ReadOnlySpan<float> source, Span<int> codes)
    {
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
            scale = (float)(((double)hi - lo) / (qMax - qMin));
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
            scale = largest * options.ClipRatio / q;
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
