using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy;

/// <summary>Between weights as the oracle reads them and as the library stores them.</summary>
internal static class WeightStorage
{
    private const int MapSize = 256;

    /// <summary>Gives weights what their scheme stores besides codes: scales rounded or double-quantized, offsets, a codebook.</summary>
    /// <param name="scheme">The format.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="codes">N rows of K codes, as the checkpoint has them.</param>
    /// <param name="stride">Bytes from a row to the next.</param>
    /// <param name="scales">[N][groups].</param>
    /// <param name="zeroPoints">[N][groups] for U4: stored as they are, or turned to offsets.</param>
    /// <param name="groupIndex">The group of each input, if the scheme is ordered.</param>
    public static OracleWeights Make(
        WeightScheme scheme, WeightsShape shape, byte[] codes, long stride, float[] scales, int[]? zeroPoints, int[]? groupIndex)
    {
        NestedScales? nested = scheme.ScaleType == ElementType.U8 ? DoubleQuantize(scales) : null;
        float[] stored = nested is null
            ? Array.ConvertAll(scales, scale => FloatConvert.Round(scheme.ScaleType, scale))
            : [.. Enumerable.Range(0, scales.Length).Select(nested.At)];
        float[]? offsets = shape.ZeroType is { } type
            ? [.. stored.Select((scale, i) => FloatConvert.Round(type, -(zeroPoints![i] * scale)))]
            : null;
        return new OracleWeights(shape, codes, stride, stored, scheme.HasZeroPoints ? zeroPoints : null)
        {
            Offsets = offsets,
            Codebook = scheme.Format == ElementType.C4 ? Kernels.Codebook.NF4.Entries.ToArray() : null,
            GroupIndex = groupIndex,
            Nested = nested,
        };
    }

    /// <summary>A group for each input, in no order; null for schemes without activation order.</summary>
    public static int[]? GroupIndexOf(WeightScheme scheme, int k)
    {
        if (!scheme.IsOrdered)
            return null;
        int length = scheme.GroupSize == 0 ? Math.Max(1, k) : (int)scheme.GroupSize;
        int[] index = [.. Enumerable.Range(0, k).Select(i => i / length)];
        var random = new Xoshiro256((ulong)k, 1);
        for (int i = k - 1; i > 0; i--)
        {
            int other = (int)random.NextBelow(i + 1);
            (index[i], index[other]) = (index[other], index[i]);
        }

        return index;
    }

    /// <summary>Packs weights.</summary>
    public static PackedWeights Pack(KernelContext context, OracleWeights weights) => PackedWeights.Pack(context, weights.Shape, new WeightsSource
    {
        Codes = weights.Codes,
        CodesLdBytes = weights.StrideBytes,
        Scales = ScaleBytes(weights),
        ZeroPoints = weights.ZeroPoints,
        ZeroOffsets = weights.Offsets is { } offsets ? Bytes(weights.Shape.ZeroType!.Value, offsets) : default,
        Codebook = weights.Codebook,
        GroupIndex = weights.GroupIndex,
        ScaleMap = weights.Nested?.Map,
        NestedScales = weights.Nested?.Scales,
        ScaleOffset = weights.Nested?.Offset ?? 0,
        OutlierColumns = weights.OutlierColumns,
        OutlierWeights = weights.OutlierWeights is { } kept ? Bytes(weights.Shape.OutlierType, kept) : default,
    });

    /// <summary>What unpacking gives back differently; null when all is as it was.</summary>
    /// <param name="context">The context.</param>
    /// <param name="packed">The packed weights.</param>
    /// <param name="weights">What was packed.</param>
    /// <param name="fill">What lies between rows of codes.</param>
    public static string? CompareUnpacked(KernelContext context, PackedWeights packed, OracleWeights weights, byte fill)
    {
        // Channels without inputs have no groups, so that there is nothing to give back.
        int count = (int)PackedWeights.ScaleCountOf(weights.Shape);
        var codes = new byte[weights.Codes.Length];
        codes.AsSpan().Fill(fill);
        ReadOnlySpan<byte> scales = ScaleBytes(weights);
        var scalesBack = new byte[count * (weights.Shape.ScaleType.Bits() / 8)];
        var zeroPoints = new int[weights.ZeroPoints is null ? 0 : count];
        byte[] offsets = weights.Offsets is { } floats ? Bytes(weights.Shape.ZeroType!.Value, floats.AsSpan(0, count)) : [];
        var offsetsBack = new byte[offsets.Length];
        var groupIndex = new int[weights.GroupIndex?.Length ?? 0];
        var codebook = new float[weights.Codebook?.Length ?? 0];
        byte[] outliers = weights.OutlierWeights is { } kept ? Bytes(weights.Shape.OutlierType, kept) : [];
        var outliersBack = new byte[outliers.Length];
        var columns = new int[weights.OutlierColumns.Length];
        packed.Unpack(context, new WeightsParts
        {
            Codes = codes,
            CodesLdBytes = weights.StrideBytes,
            Scales = scalesBack,
            ZeroPoints = zeroPoints,
            ZeroOffsets = offsetsBack,
            GroupIndex = groupIndex,
            Codebook = codebook,
            OutlierColumns = columns,
            OutlierWeights = outliersBack,
        });
        if (!columns.AsSpan().SequenceEqual(weights.OutlierColumns) || !outliers.AsSpan().SequenceEqual(outliersBack))
            return "unpacking gives other outlier columns than were packed";
        if (!codes.AsSpan().SequenceEqual(weights.Codes))
            return "unpacking gives other codes than were packed";
        if (!scales[..scalesBack.Length].SequenceEqual(scalesBack))
            return "unpacking gives other scales than were packed";
        if (!zeroPoints.AsSpan().SequenceEqual(weights.ZeroPoints.AsSpan(0, zeroPoints.Length)))
            return "unpacking gives other zero points than were packed";
        if (!offsets.AsSpan().SequenceEqual(offsetsBack))
            return "unpacking gives other offsets than were packed";
        if (!groupIndex.AsSpan().SequenceEqual(weights.GroupIndex))
            return "unpacking gives other groups of inputs than were packed";
        return codebook.AsSpan().SequenceEqual(weights.Codebook) ? null : "unpacking gives another codebook than was packed";
    }

    private static ReadOnlySpan<byte> ScaleBytes(OracleWeights weights) =>
        weights.Nested is { } nested ? nested.Codes : Bytes(weights.Shape.ScaleType, weights.Scales);

    private static byte[] Bytes(ElementType type, ReadOnlySpan<float> values)
    {
        var bytes = new byte[values.Length * (type.Bits() / 8)];
        FloatConvert.FromSingle(type, values, bytes);
        return bytes;
    }

    // The mean is taken off, then 8 bits by rounding to the nearest of 256 even steps, with a scale for every 256. QLoRA's map has uneven steps;
    // to the kernels all maps are alike.
    private static NestedScales DoubleQuantize(float[] scales)
    {
        float offset = scales.Length == 0 ? 0 : (float)scales.Average(scale => (double)scale);
        float[] map = [.. Enumerable.Range(0, MapSize).Select(i => (i - 127.5f) / 127.5f)];
        var nested = new float[(scales.Length + NestedScales.Block - 1) / NestedScales.Block];
        var codes = new byte[scales.Length];
        for (int i = 0; i < scales.Length; i++)
            nested[i / NestedScales.Block] = Math.Max(nested[i / NestedScales.Block], Math.Abs(scales[i] - offset));
        for (int i = 0; i < scales.Length; i++)
        {
            float scale = nested[i / NestedScales.Block];
            codes[i] = scale == 0 ? (byte)(MapSize / 2) : (byte)Math.Clamp(MathF.Round((scales[i] - offset) / scale * 127.5f + 127.5f), 0, MapSize - 1);
        }

        return new NestedScales(codes, map, nested, offset);
    }
}
