using Kernels.Harness.Benchmarks;

namespace Kernels.Harness.Accuracy;

/// <summary>Double-quantized scales: scale i is Map[Codes[i]] * Scales[i / 256] + Offset, with both roundings.</summary>
/// <param name="Codes">A byte for each scale.</param>
/// <param name="Map">What the bytes are indices to.</param>
/// <param name="Scales">One for every 256.</param>
/// <param name="Offset">Added to every scale.</param>
internal sealed record NestedScales(byte[] Codes, float[] Map, float[] Scales, float Offset)
{
    /// <summary>Scales that share a nested scale.</summary>
    public const int Block = 256;

    /// <summary>A scale in binary32.</summary>
    public float At(int index)
    {
        float product = Map[Codes[index]] * Scales[index / Block];
        return product + Offset;
    }
}

/// <summary>Quantized weights as the oracle reads them: codes, scales and zero points, nothing packed.</summary>
/// <param name="Shape">Format and sizes.</param>
/// <param name="Codes">N rows of K codes.</param>
/// <param name="StrideBytes">Bytes from a row to the next.</param>
/// <param name="Scales">[N][groups], widened from the type they are stored in.</param>
/// <param name="ZeroPoints">[N][groups], or null for formats that have none.</param>
internal sealed record OracleWeights(
    WeightsShape Shape, byte[] Codes, long StrideBytes, float[] Scales, int[]? ZeroPoints)
{
    /// <summary>[N][groups] float offsets, widened, or null.</summary>
    public float[]? Offsets { get; init; }

    /// <summary>The codebook of C4.</summary>
    public float[]? Codebook { get; init; }

    /// <summary>The group of each input, or null when groups follow each other.</summary>
    public int[]? GroupIndex { get; init; }

    /// <summary>Where <see cref="Scales"/> come from when they are double-quantized.</summary>
    public NestedScales? Nested { get; init; }

    /// <summary>Fixed outlier columns, ascending; empty when there are none.</summary>
    public int[] OutlierColumns { get; init; } = [];

    /// <summary>Their weights [N][columns], widened; null when they are those of the codes.</summary>
    public float[]? OutlierWeights { get; init; }

    /// <summary>Elements of a channel that share a scale: the group size, or all of it. Where flattened groups cross rows: the pieces that
    /// they are cut into.</summary>
    public int GroupLength => (int)(Shape.GroupSize == 0 ? Shape.K : Math.Min(IsCut ? Divisor(Shape.K, Shape.GroupSize) : Shape.GroupSize, Shape.K));

    /// <summary>Groups of a channel.</summary>
    public int Groups => GroupLength == 0 ? (Shape.GroupSize == 0 ? 1 : 0) : (int)((Shape.K + GroupLength - 1) / GroupLength);

    private bool IsCut => Shape.IsFlattened && Shape.N > 1 && Shape.K % Shape.GroupSize != 0;

    /// <summary>Reads a channel: its codes with the zero points taken off, group by group, and its scales.</summary>
    /// <param name="n">The channel.</param>
    /// <param name="entries">The type that entries of a codebook are rounded to, as kernels with products of 16 bits do.</param>
    public OracleChannel Channel(long n, ElementType entries = ElementType.F32)
    {
        var values = new int[Shape.K];
        CodeReader.Widen(Shape.Format, Codes.AsSpan(checked((int)(n * StrideBytes)), (int)Shape.Format.RowBytes(Shape.K)), values);
        // Inputs of a group keep their order: the sort is stable.
        int[]? inputs = GroupIndex is { } groupIndex ? [.. Enumerable.Range(0, values.Length).OrderBy(k => groupIndex[k])] : null;
        if (inputs is not null)
            values = Array.ConvertAll(inputs, k => values[k]);
        if (ZeroPoints is { } zeroPoints)
        {
            for (int k = 0; k < values.Length; k++)
                values[k] -= zeroPoints[ScaleIndex(n, k / GroupLength)];
        }

        int outliers = OutlierColumns.Length;
        var channel = new OracleChannel(values, OfGroups(Scales), GroupLength)
        {
            Inputs = inputs,
            Offsets = Offsets is null ? null : OfGroups(Offsets),
            Entries = Codebook is { } codebook
                ? Array.ConvertAll(values, code => FloatConvert.Round(entries, codebook[code]))
                : null,
        };
        if (outliers == 0)
            return channel;
        return channel with
        {
            Outliers = OutlierWeights is { } kept
                ? kept.AsSpan(checked((int)(n * outliers)), outliers).ToArray()
                : Array.ConvertAll(OutlierColumns, column => FloatConvert.Round(Shape.OutlierType, channel.Dequantized(column))),
        };

        float[] OfGroups(float[] all) => [.. Enumerable.Range(0, Groups).Select(g => all[ScaleIndex(n, g)])];
    }

    // The scale of a group in unpacked order.
    private int ScaleIndex(long n, int group) =>
        checked((int)(IsCut ? (n * Shape.K + (long)group * GroupLength) / Shape.GroupSize : n * Groups + group));

    private static long Divisor(long a, long b) => b == 0 ? a : Divisor(b, a % b);
}

/// <summary>A channel of quantized weights.</summary>
/// <param name="Values">Codes less zero points [K].</param>
/// <param name="Scales">Scale of each group.</param>
/// <param name="GroupLength">Elements per group; the last may be shorter.</param>
internal sealed record OracleChannel(int[] Values, float[] Scales, int GroupLength)
{
    /// <summary>The input that each value belongs to; null when they are in order.</summary>
    public int[]? Inputs { get; init; }

    /// <summary>Float offset of each group, or null.</summary>
    public float[]? Offsets { get; init; }

    /// <summary>Weights of fixed outlier columns, or null when there are none.</summary>
    public float[]? Outliers { get; init; }

    /// <summary>The codebook's entries for the values, or null when these are numbers themselves.</summary>
    public float[]? Entries { get; init; }

    /// <summary>The input of value k.</summary>
    public int InputOf(int k) => Inputs is null ? k : Inputs[k];

    /// <summary>The weight of an input in binary32, as gemm.h dequantizes it.</summary>
    public float Dequantized(int input)
    {
        int k = Inputs is null ? input : Array.IndexOf(Inputs, input), group = k / GroupLength;
        return MathF.FusedMultiplyAdd((float)NumberAt(k), Scales[group], Offsets?[group] ?? 0);
    }

    /// <summary>Value k as a number.</summary>
    public double NumberAt(int k) => Entries is null ? Values[k] : Entries[k];
}
