using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Accuracy;

/// <summary>What a KV cache gives back, written as kv_cache.h defines it.</summary>
internal static class KvOracle
{
    private const float LargestF8 = 448, LargestBF16 = 3.3895314e38f, SmallestScale = 1.17549435e-38f;

    /// <summary>Keys [tokens][heads][dim] as they come back.</summary>
    public static float[] Keys(KvScheme way, int heads, int dim, ReadOnlySpan<float> keys)
    {
        if (way.Granularity != KvGranularity.Channel)
            return Values(way, heads, dim, keys);
        int width = heads * dim, tokens = keys.Length / width;
        // The last, incomplete group is kept as it is.
        float[] kept = keys.ToArray();
        var group = new float[way.KeyGroup];
        for (int first = 0; first + way.KeyGroup <= tokens; first += way.KeyGroup)
        {
            for (int channel = 0; channel < width; channel++)
            {
                for (int i = 0; i < group.Length; i++)
                    group[i] = keys[(first + i) * width + channel];
                QuantizeBlock(way.Type, group);
                for (int i = 0; i < group.Length; i++)
                    kept[(first + i) * width + channel] = group[i];
            }
        }

        return kept;
    }

    /// <summary>Values [tokens][heads][dim] as they come back, and keys that are quantized like them.</summary>
    public static float[] Values(KvScheme way, int heads, int dim, ReadOnlySpan<float> values)
    {
        (float[] scales, int[] zeroPoints) = way.StaticScales(heads);
        float[] kept = values.ToArray();
        for (int row = 0; row < kept.Length / dim; row++)
        {
            Span<float> head = kept.AsSpan(row * dim, dim);
            if (way.Granularity == KvGranularity.Static)
                QuantizeStatic(way.Type, head, scales[row % heads], zeroPoints.Length == 0 ? 8 : zeroPoints[row % heads]);
            else
                QuantizeBlock(way.Type, head);
        }

        return kept;
    }

    /// <summary>What is wrong with the mean of keys; null when nothing is.</summary>
    /// <param name="mean">[width].</param>
    /// <param name="keys">[tokens][width], of which it is the mean.</param>
    public static string? CheckMean(ReadOnlySpan<float> mean, ReadOnlySpan<float> keys)
    {
        int width = mean.Length, tokens = keys.Length / width;
        for (int c = 0; c < width; c++)
        {
            double sum = 0, magnitudes = 0;
            for (int t = 0; t < tokens; t++)
            {
                sum += keys[(t * width) + c];
                magnitudes += Math.Abs(keys[(t * width) + c]);
            }

            // A rounding for every addition, and one of the division.
            double bound = (tokens + 1) * GemmOracle.UnitRoundoff * 1.001 * magnitudes / tokens;
            if (!(Math.Abs(mean[c] - (sum / tokens)) <= bound))
                return $"the mean of channel {c} is {mean[c]:R}, not {sum / tokens:R}";
        }

        return null;
    }

    /// <summary>Keys of a cache that rotates them, per token: rotated again in float64, they are as near to the exact rotation as rounding to the
    /// format of the cache lets them be, and the additions of both rotations.</summary>
    /// <param name="type">What the cache keeps.</param>
    /// <param name="dim">Elements of a head.</param>
    /// <param name="keys">[tokens][heads][dim], before the mean is subtracted.</param>
    /// <param name="mean">[heads][dim]; zeros for none.</param>
    /// <param name="read">As they come back.</param>
    /// <param name="meter">Is told of every element.</param>
    public static void CompareRotated(
        ElementType type, int dim, ReadOnlySpan<float> keys, ReadOnlySpan<float> mean, ReadOnlySpan<float> read, KernelErrorMeter meter)
    {
        var oracle = new HadamardOracle(dim);
        var source = new double[dim];
        var back = new double[dim];
        for (int at = 0; at < keys.Length; at += dim)
        {
            ReadOnlySpan<float> center = mean.Slice(at % mean.Length, dim);
            double added = 0;
            for (int i = 0; i < dim; i++)
            {
                source[i] = (float)(keys[at + i] - center[i]);
                back[i] = (double)read[at + i] - center[i];
                added += Math.Abs(read[at + i]) * GemmOracle.UnitRoundoff;
            }

            double[] exact = oracle.Rotate(source), kept = oracle.Rotate(back);
            double rounding = oracle.BoundFor(source);
            // The rotation back rounds every element by as much at most; rotated again, they may add up.
            double all = rounding + (((oracle.BoundFor(kept) * dim) + added) / Math.Sqrt(dim));
            double low = Math.Min(0, exact.Min()) - rounding, high = Math.Max(0, exact.Max()) + rounding, largest = Math.Max(-low, high);
            for (int i = 0; i < dim; i++)
            {
                double magnitude = Math.Abs(exact[i]) + rounding;
                // Of a zero point as much again as of a code; scale and quotient are rounded, too.
                double step = type switch
                {
                    ElementType.S8 => largest / 127 / 2,
                    ElementType.S4 => largest / 7 / 2,
                    ElementType.U4 => (high - low) / 15,
                    ElementType.BF16 => magnitude / 256,
                    ElementType.F8E4M3 => (magnitude / 16) + (largest / LargestF8 / 1024),
                    _ => 0,
                };
                double bound = all + (step * (1 + (8 * GemmOracle.UnitRoundoff))) + (4 * GemmOracle.UnitRoundoff * largest);
                int channel = i, row = at / dim;
                meter.AddBounded((float)kept[i], exact[i], bound, () => $"element {channel} of row {row} of the rotated keys");
            }
        }
    }

    /// <summary>The nearest OCP E4M3 number, the even one of two, and no further than 448.</summary>
    public static float NearestF8(float x)
    {
        // In binary64 every step but the rounding is exact.
        double magnitude = Math.Min(Math.Abs((double)x), LargestF8);
        int exponent = magnitude == 0 ? -6 : Math.Max(Math.ILogB(magnitude), -6);
        double unit = Math.ScaleB(1, exponent - 3);
        double nearest = Math.Round(magnitude / unit, MidpointRounding.ToEven) * unit;
        return (float)Math.CopySign(nearest, x);
    }

    private static void QuantizeBlock(ElementType type, Span<float> x)
    {
        switch (type)
        {
            case ElementType.F32:
                return;
            case ElementType.BF16:
                foreach (ref float element in x)
                    element = FloatConvert.Round(ElementType.BF16, Math.Clamp(element, -LargestBF16, LargestBF16));
                return;
            case ElementType.F8E4M3:
                float largest = 0;
                foreach (float element in x)
                    largest = MathF.Max(largest, MathF.Abs(element));
                QuantizeStatic(type, x, largest / LargestF8, 0);
                return;
            default:
                var options = new QuantizeOptions(type, Granularity.Token, type == ElementType.U4);
                QuantizedReference reference = QuantizeOracle.Quantize(options, 1, x.Length, x);
                for (int i = 0; i < x.Length; i++)
                    x[i] = QuantizeOracle.Dequantize(options, reference.Codes[i], reference.ZeroPoints[0], reference.Scales[0]);
                return;
        }
    }

    private static void QuantizeStatic(ElementType type, Span<float> x, float scale, int zeroPoint)
    {
        if (scale < SmallestScale)
        {
            // Codes of FP8 have a zero of either sign.
            foreach (ref float element in x)
                element = type == ElementType.F8E4M3 ? element * 0 : 0;
            return;
        }

        float inverse = 1 / scale;
        (float low, float high) = type switch
        {
            ElementType.S8 => (-127f, 127f),
            ElementType.S4 => (-7f, 7f),
            _ => (-zeroPoint, 15f - zeroPoint),
        };
        foreach (ref float element in x)
        {
            float scaled = element * inverse;
            element = type == ElementType.F8E4M3
                ? NearestF8(scaled) * scale
                : (int)MathF.Round(Math.Clamp(scaled, low, high), MidpointRounding.ToEven) * scale;
        }
    }
}
