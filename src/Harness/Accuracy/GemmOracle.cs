namespace Kernels.Harness.Accuracy;

/// <summary>One output of a GEMM in float64.</summary>
/// <param name="Value">The result on the quantized operands.</param>
/// <param name="Magnitude">Sum of |x||w| over k, which the error bound is made of, |w| being |code * scale| + |offset|; bias and residual
/// included.</param>
internal readonly record struct OracleOutput(double Value, double Magnitude);

/// <summary>A row of integer activations.</summary>
/// <param name="Values">Codes less the zero point [K].</param>
/// <param name="Scale">The scale of the token.</param>
internal sealed record IntegerRow(int[] Values, float Scale);

/// <summary>The GEMM written as gemm.h defines it, one output at a time: what every kernel is held against.</summary>
internal static class GemmOracle
{
    /// <summary>2^-24, the unit roundoff of binary32.</summary>
    public const double UnitRoundoff = 1.0 / (1 << 24);
    private const string NeonBf16 = "neon_bf16";

    /// <summary>An output with integer activations as the numeric contract prescribes it, bit for bit, in binary32 before it is rounded
    /// to the output type.</summary>
    public static float ExactInteger(IntegerRow row, OracleChannel channel, float? bias, float? residual, float? side = null)
    {
        float t = 0;
        for (int g = 0; channel.Offsets is not null && g < channel.Offsets.Length; g++)
            t = MathF.FusedMultiplyAdd((float)(double)SumOfGroup(row.Values, channel, g), channel.Offsets[g], t);
        for (int g = 0; g < channel.Scales.Length; g++)
        {
            // A sum of K products of at most 2^8 * 2^8 fits 64 bits for any K that fits memory; and below 2^53 the step through
            // double is exact, so that the only rounding is the last.
            double sum = DotOfGroup(row.Values, channel, g);
            t = MathF.FusedMultiplyAdd((float)sum, channel.Scales[g], t);
        }

        t *= row.Scale;
        if (side is { } s)
            t += s;
        if (bias is { } b)
            t += b;
        if (residual is { } r)
            t += r;
        return t;
    }

    /// <summary>The same output in float64.</summary>
    public static OracleOutput Integer(
        IntegerRow row, OracleChannel channel, float? bias, float? residual, OracleOutput side = default)
    {
        double value = 0, magnitude = 0;
        for (int g = 0; g < channel.Scales.Length; g++)
        {
            (int begin, int end) = GroupRange(channel, g);
            long dot = 0, absolute = 0, sum = 0, absoluteSum = 0;
            for (int k = begin; k < end; k++)
            {
                int x = row.Values[channel.InputOf(k)], product = x * channel.Values[k];
                dot += product;
                absolute += Math.Abs(product);
                sum += x;
                absoluteSum += Math.Abs(x);
            }

            double offset = channel.Offsets?[g] ?? 0;
            value += dot * (double)channel.Scales[g] + sum * offset;
            magnitude += absolute * Math.Abs((double)channel.Scales[g]) + absoluteSum * Math.Abs(offset);
        }

        return Finish(value * row.Scale, magnitude * Math.Abs((double)row.Scale), bias, residual, side);
    }

    /// <summary>An output with float activations in float64.</summary>
    public static OracleOutput Float(
        ReadOnlySpan<float> row, OracleChannel channel, float? bias, float? residual, OracleOutput side = default)
    {
        double value = 0, magnitude = 0;
        for (int g = 0; g < channel.Scales.Length; g++)
        {
            (int begin, int end) = GroupRange(channel, g);
            double dot = 0, absolute = 0, sum = 0, absoluteSum = 0;
            for (int k = begin; k < end; k++)
            {
                double x = row[channel.InputOf(k)], product = x * channel.NumberAt(k);
                dot += product;
                absolute += Math.Abs(product);
                sum += x;
                absoluteSum += Math.Abs(x);
            }

            double offset = channel.Offsets?[g] ?? 0;
            value += dot * channel.Scales[g] + sum * offset;
            magnitude += absolute * Math.Abs((double)channel.Scales[g]) + absoluteSum * Math.Abs(offset);
        }

        return Finish(value, magnitude, bias, residual, side);
    }

    /// <summary>The unquantized product in float64.</summary>
    public static double Unquantized(ReadOnlySpan<float> row, ReadOnlySpan<float> channel)
    {
        double sum = 0;
        for (int k = 0; k < row.Length; k++)
            sum += (double)row[k] * channel[k];
        return sum;
    }

    /// <summary>Whether products of a variant are bf16, and so are the entries of a codebook.</summary>
    public static bool HasBf16Products(string variant) => variant is "avx512bf16" or NeonBf16;

    /// <summary>The type of the entries of a codebook in the products of a variant.</summary>
    public static ElementType EntriesOf(string variant) => HasBf16Products(variant) ? ElementType.BF16 : ElementType.F32;

    /// <summary>The bound of gemm.h on the error of a float cell: (K + 8) * eps * sum |x||w|, and half a unit in the last place of an
    /// output type narrower than binary32. With an adapter, K / 16 + rank + 12 roundings of its term are less than those of K + rank + 12
    /// taken for both. A variant that rounds to odd has half as many roundings, each of up to two of these, and 8 more.</summary>
    public static double Bound(in OracleOutput exact, long k, ElementType output, long rank = 0, string variant = "ref")
    {
        double bound = (k + (rank == 0 ? 8 : rank + 12) + (variant == NeonBf16 ? 8 : 0)) * UnitRoundoff * exact.Magnitude;
        double largest = Math.Abs(exact.Value) + bound;
        // Relative half unit of the type, and half of its smallest subnormal.
        return output switch
        {
            ElementType.F16 => bound + Math.Max(largest * Math.ScaleB(1, -11), Math.ScaleB(1, -25)),
            ElementType.BF16 => bound + Math.Max(largest * Math.ScaleB(1, -8), Math.ScaleB(1, -134)),
            _ => bound + Math.ScaleB(1, -150),
        };
    }

    private static OracleOutput Finish(double value, double magnitude, float? bias, float? residual, OracleOutput side) => new(
        value + side.Value + (bias ?? 0) + (residual ?? 0),
        magnitude + side.Magnitude + Math.Abs((double)(bias ?? 0)) + Math.Abs((double)(residual ?? 0)));

    private static long DotOfGroup(int[] x, OracleChannel channel, int group)
    {
        (int begin, int end) = GroupRange(channel, group);
        long sum = 0;
        for (int k = begin; k < end; k++)
            sum += x[channel.InputOf(k)] * channel.Values[k];
        return sum;
    }

    private static long SumOfGroup(int[] x, OracleChannel channel, int group)
    {
        (int begin, int end) = GroupRange(channel, group);
        long sum = 0;
        for (int k = begin; k < end; k++)
            sum += x[channel.InputOf(k)];
        return sum;
    }

    private static (int Begin, int End) GroupRange(OracleChannel channel, int group)
    {
        int begin = group * channel.GroupLength;
        return (begin, Math.Min(begin + channel.GroupLength, channel.Values.Length));
    }
}
