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
            x.Clear();
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
