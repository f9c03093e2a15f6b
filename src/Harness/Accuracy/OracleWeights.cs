namespace Kernels.Harness.Accuracy;

/// <summary>Quantized weights as the oracle reads them: codes, scales and zero points, nothing packed.</summary>
/// <param name="Shape">Format and sizes.</param>
/// <param name="Codes">N rows of K codes.</param>
/// <param name="StrideBytes">Bytes from a row to the next.</param>
/// <param name="Scales">[N][groups].</param>
/// <param name="ZeroPoints">[N][groups], or null for formats that have none.</param>
internal sealed record OracleWeights(
    WeightsShape Shape, byte[] Codes, long StrideBytes, float[] Scales, int[]? ZeroPoints)
{
    /// <summary>Elements that share a scale: the group size, or all of a channel.</summary>
    public int GroupLength => (int)(Shape.GroupSize == 0 ? Shape.K : Math.Min(Shape.GroupSize, Shape.K));

    /// <summary>Groups of a channel.</summary>
    public int Groups => Shape.GroupSize == 0 ? 1 : (int)((Shape.K + Shape.GroupSize - 1) / Shape.GroupSize);

    /// <summary>Reads a channel: its codes with the zero points taken off, and its scales.</summary>
    public OracleChannel Channel(long n)
    {
        var values = new int[Shape.K];
        CodeReader.Widen(Shape.Format, Codes.AsSpan(checked((int)(n * StrideBytes)), (int)Shape.Format.RowBytes(Shape.K)), values);
        int first = checked((int)(n * Groups));
        float[] scales = Scales.AsSpan(first, Groups).ToArray();
        if (ZeroPoints is { } zeroPoints)
        {
            for (int k = 0; k < values.Length; k++)
                values[k] -= zeroPoints[first + k / GroupLength];
        }

        return new OracleChannel(values, scales, GroupLength);
    }
}

/// <summary>A channel of quantized weights.</summary>
/// <param name="Values">Codes less zero points [K].</param>
/// <param name="Scales">Scale of each group.</param>
/// <param name="GroupLength">Elements per group; the last may be shorter.</param>
internal sealed record OracleChannel(int[] Values, float[] Scales, int GroupLength);
