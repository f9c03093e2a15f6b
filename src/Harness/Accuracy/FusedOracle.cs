using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Accuracy;

/// <summary>A row of a fused step in float64, and how far binary32 may be from it by the operations of fused.h.</summary>
/// <param name="Values">The row before it is quantized.</param>
/// <param name="Bounds">The bound on each value.</param>
internal sealed record FusedRow(double[] Values, double[] Bounds)
{
    // Half a unit in the last place of 1: the relative error of one rounding.
    private const double Unit = 1.0 / (1 << 24);

    // Below the smallest normal number roundings are absolute.
    private const double Tiny = 1e-42;

    /// <summary>Computes a row.</summary>
    /// <param name="scheme">The step.</param>
    /// <param name="source">x, gates, or the sum with the residual as it was written.</param>
    /// <param name="up">The ups of a gate.</param>
    /// <param name="weight">Weight of a norm, or the smoothing vector.</param>
    /// <param name="bias">Bias of a norm; may be empty.</param>
    public static FusedRow Of(FusedScheme scheme, ReadOnlySpan<float> source, ReadOnlySpan<float> up, ReadOnlySpan<float> weight, ReadOnlySpan<float> bias)
    {
        FusedRow row = scheme.IsNorm ? Norm(scheme.Step is FusedStep.LayerNorm or FusedStep.LayerNormBias, source, weight, bias)
            : scheme.IsGate ? Gate(scheme.Step, source, up)
            : Product(source, scheme.Step == FusedStep.Smooth ? weight : default);
        if (scheme.Rotates)
            row.Rotate(FusedOperands.RotationOf(source.Length));
        return row;
    }

    /// <summary>How far the value of a code may be from the exact one: half a step, and what the values before and the scale's own roundings
    /// allow.</summary>
    public double BoundOfCode(int col, double scale, bool isAsymmetric) =>
        (0.5 + 1e-3) * scale + Bounds[col] * (1 + 1e-3) + Math.Abs(Values[col]) * 4 * Unit + (isAsymmetric ? scale : 0);

    private static FusedRow Norm(bool isCentred, ReadOnlySpan<float> x, ReadOnlySpan<float> weight, ReadOnlySpan<float> bias)
    {
        int n = x.Length;
        double mean = 0, magnitude = 0, variance = 0;
        foreach (float value in x)
        {
            mean += isCentred ? (double)value / n : 0;
            magnitude += isCentred ? Math.Abs((double)value) / n : 0;
        }

        foreach (float value in x)
            variance += (value - mean) * (value - mean) / n;
        double inverse = 1 / Math.Sqrt(variance + FusedOperands.Epsilon);
        // Sums run in 64 lanes and a tree of six additions.
        double additions = n / 64.0 + 8, meanError = (additions + 1) * Unit * magnitude;
        double inverseError = ((additions + 4) * Unit + meanError * meanError * inverse * inverse) / 2 * 1.01 + 3 * Unit;
        var row = new FusedRow(new double[n], new double[n]);
        for (int i = 0; i < n; i++)
        {
            double d = x[i] - mean, y = d * weight[i] * inverse, b = bias.IsEmpty ? 0 : bias[i];
            row.Values[i] = y + b;
            row.Bounds[i] = Math.Abs(weight[i]) * inverse * (meanError + Unit * Math.Abs(d)) * 1.1 + Math.Abs(y) * (inverseError + 3 * Unit)
                + Math.Abs(y + b) * Unit * 1.1 + Tiny;
        }

        return row;
    }

    private static FusedRow Gate(FusedStep step, ReadOnlySpan<float> gate, ReadOnlySpan<float> up)
    {
        var row = new FusedRow(new double[gate.Length], new double[gate.Length]);
        for (int i = 0; i < gate.Length; i++)
        {
            double g = gate[i];
            double share = step switch
            {
                FusedStep.GeluMul => NormalDistribution(g),
                FusedStep.GeluTanhMul => 1 / (1 + Math.Exp(-2 * Math.Sqrt(2 / Math.PI) * (g + 0.044715 * g * g * g))),
                _ => 1 / (1 + Math.Exp(-g)),
            };
            row.Values[i] = g * share * up[i];
            // What fused.h says of the gates, and the product.
            row.Bounds[i] = 2.5 * Unit * Math.Abs(g * up[i]) + Math.Abs(row.Values[i]) * Unit * 1.01 + Tiny;
        }

        return row;
    }

    // By the integral of the density from 0, in steps so small that Simpson's rule leaves 1e-13.
    private static double NormalDistribution(double x)
    {
        double end = Math.Min(Math.Abs(x), 9);
        const int Steps = 400;
        double width = end / Steps, sum = 1 + Math.Exp(-end * end / 2);
        for (int i = 1; i < Steps; i++)
            sum += (i % 2 == 1 ? 4 : 2) * Math.Exp(-(i * width) * (i * width) / 2);
        double half = sum * width / 3 / Math.Sqrt(2 * Math.PI);
        return x < 0 ? 0.5 - half : 0.5 + half;
    }

    private static FusedRow Product(ReadOnlySpan<float> x, ReadOnlySpan<float> factors)
    {
        var row = new FusedRow(new double[x.Length], new double[x.Length]);
        for (int i = 0; i < x.Length; i++)
        {
            row.Values[i] = (double)x[i] * (factors.IsEmpty ? 1 : factors[i]);
            row.Bounds[i] = Math.Abs(row.Values[i]) * Unit + Tiny;
        }

        return row;
    }

    // Sylvester's matrix, scaled by 1 / sqrt(n). Every addition rounds a number of at most the sum of magnitudes.
    private void Rotate(long block)
    {
        int n = (int)block;
        double levels = Math.Log2(n), scale = 1 / Math.Sqrt(n);
        for (int first = 0; first < Values.Length; first += n)
        {
            Span<double> values = Values.AsSpan(first, n), bounds = Bounds.AsSpan(first, n);
            double magnitude = 0, bound = 0;
            for (int i = 0; i < n; i++)
            {
                magnitude += Math.Abs(values[i]);
                bound += bounds[i];
            }

            for (int h = 1; h < n; h *= 2)
            {
                for (int i = 0; i < n; i++)
                {
                    if ((i & h) == 0)
                        (values[i], values[i + h]) = (values[i] + values[i + h], values[i] - values[i + h]);
                }
            }

            for (int i = 0; i < n; i++)
            {
                values[i] *= scale;
                bounds[i] = (bound + (levels + 2) * Unit * magnitude) * scale;
            }
        }
    }
}
