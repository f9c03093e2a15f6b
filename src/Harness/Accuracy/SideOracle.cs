namespace Kernels.Harness.Accuracy;

/// <summary>An adapter for the oracle and the library, without padding.</summary>
/// <param name="Rank">Rows of A and columns of B.</param>
/// <param name="Scale">Factor of the product.</param>
/// <param name="A">[rank, K].</param>
/// <param name="B">[N, rank].</param>
internal sealed record LoraOperand(int Rank, float Scale, float[] A, float[] B);

/// <summary>What a row of activations brings to the side term: outliers, then projections.</summary>
/// <param name="P">In binary32, as gemm.h prescribes it.</param>
/// <param name="Exact">In binary64.</param>
/// <param name="Magnitudes">Sums of magnitudes behind <paramref name="Exact"/>.</param>
internal sealed record SideRow(float[] P, double[] Exact, double[] Magnitudes);

/// <summary>The side term of gemm.h: outlier columns in binary32, and a low-rank adapter.</summary>
/// <param name="outliers">The outlier columns, ascending.</param>
/// <param name="lora">The adapter, or null.</param>
internal sealed class SideOracle(int[] outliers, LoraOperand? lora)
{
    // Partial sums of a projection.
    private const int Lanes = 16;

    /// <summary>The columns in which any row holds a magnitude above a threshold.</summary>
    public static int[] FindOutliers(IEnumerable<float[]> rows, int columns, float threshold)
    {
        var isOutlier = new bool[columns];
        foreach (float[] row in rows)
        {
            for (int k = 0; k < columns; k++)
                isOutlier[k] |= MathF.Abs(row[k]) > threshold;
        }

        return [.. Enumerable.Range(0, columns).Where(k => isOutlier[k])];
    }

    /// <summary>A row as it is quantized: outliers count as 0.</summary>
    public float[] WithoutOutliers(float[] x)
    {
        float[] rest = [.. x];
        foreach (int k in outliers)
            rest[k] = 0;
        return rest;
    }

    /// <summary>A row of activations, quantized per token as the call does it.</summary>
    public IntegerRow Quantize(ElementType compute, float[] x)
    {
        var options = new QuantizeOptions(compute, Granularity.Token, Asymmetric: compute == ElementType.U8);
        QuantizedReference row = QuantizeOracle.Quantize(options, 1, x.Length, WithoutOutliers(x));
        return new IntegerRow([.. row.Codes.Select(code => code - row.ZeroPoints[0])], row.Scales[0]);
    }

    /// <summary>The part of the term that depends on the row alone.</summary>
    public SideRow Row(float[] x)
    {
        int rank = lora?.Rank ?? 0;
        var row = new SideRow(new float[outliers.Length + rank], new double[outliers.Length + rank], new double[outliers.Length + rank]);
        for (int j = 0; j < outliers.Length; j++)
        {
            row.P[j] = x[outliers[j]];
            row.Exact[j] = x[outliers[j]];
            row.Magnitudes[j] = Math.Abs(row.Exact[j]);
        }

        for (int j = 0; j < rank; j++)
        {
            int to = outliers.Length + j;
            ReadOnlySpan<float> a = lora!.A.AsSpan(j * x.Length, x.Length);
            row.P[to] = Project(x, a) * lora.Scale;
            for (int k = 0; k < x.Length; k++)
            {
                double product = (double)x[k] * a[k] * lora.Scale;
                row.Exact[to] += product;
                row.Magnitudes[to] += Math.Abs(product);
            }
        }

        return row;
    }

    /// <summary>The term in binary32, bit for bit; null when there is none to add.</summary>
    public float? Bits(SideRow row, OracleChannel channel, long n)
    {
        if (row.P.Length == 0)
            return null;
        float side = 0;
        for (int j = 0; j < row.P.Length; j++)
            side = MathF.FusedMultiplyAdd(row.P[j], Factor(channel, n, j), side);
        return side;
    }

    /// <summary>The term in binary64.</summary>
    public OracleOutput Exact(SideRow row, OracleChannel channel, long n)
    {
        double value = 0, magnitude = 0;
        for (int j = 0; j < row.P.Length; j++)
        {
            value += row.Exact[j] * Factor(channel, n, j);
            magnitude += row.Magnitudes[j] * Math.Abs((double)Factor(channel, n, j));
        }

        return new OracleOutput(value, magnitude);
    }

    private float Factor(OracleChannel channel, long n, int j)
    {
        if (j >= outliers.Length)
            return lora!.B[(n * lora.Rank) + j - outliers.Length];
        return channel.Outliers is { } kept ? kept[j] : channel.Dequantized(outliers[j]);
    }

    private static float Project(ReadOnlySpan<float> x, ReadOnlySpan<float> a)
    {
        Span<float> lanes = stackalloc float[Lanes];
        lanes.Clear();
        for (int k = 0; k < x.Length; k++)
            lanes[k % Lanes] = MathF.FusedMultiplyAdd(x[k], a[k], lanes[k % Lanes]);
        for (int half = Lanes / 2; half > 0; half /= 2)
        {
            for (int l = 0; l < half; l++)
                lanes[l] += lanes[l + half];
        }

        return lanes[0];
    }
}
