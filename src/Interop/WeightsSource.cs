namespace Kernels;

/// <summary>Quantized weights as a checkpoint holds them. What a shape does not have stays empty.</summary>
public readonly ref struct WeightsSource
{
    /// <summary>N rows of K codes.</summary>
    public ReadOnlySpan<byte> Codes { get; init; }

    /// <summary>Bytes from one row of codes to the next; 0 for rows without padding.</summary>
    public long CodesLdBytes { get; init; }

    /// <summary>Of two 4-bit codes in a byte the first is the high nibble, as bitsandbytes has it, and not the low one.</summary>
    public bool HighNibbleFirst { get; init; }

    /// <summary>The bytes of the scales, which are of <see cref="WeightsShape.ScaleType"/> and as many as
    /// <see cref="PackedWeights.ScaleCountOf"/> says.</summary>
    public ReadOnlySpan<byte> Scales { get; init; }

    /// <summary>As many zero points in 0..15, with <see cref="WeightsShape.HasZeroPoints"/>.</summary>
    public ReadOnlySpan<int> ZeroPoints { get; init; }

    /// <summary>The bytes of as many offsets of <see cref="WeightsShape.ZeroType"/>.</summary>
    public ReadOnlySpan<byte> ZeroOffsets { get; init; }

    /// <summary>The 16 floats of a codebook, for C4.</summary>
    public ReadOnlySpan<float> Codebook { get; init; }

    /// <summary>The group of each input [K], with <see cref="WeightsShape.IsOrdered"/>. Every group has as many inputs as the group size
    /// says, the last one what is left.</summary>
    public ReadOnlySpan<int> GroupIndex { get; init; }

    /// <summary>256 floats that double-quantized scales are indices to.</summary>
    public ReadOnlySpan<float> ScaleMap { get; init; }

    /// <summary>One float for every 256 double-quantized scales.</summary>
    public ReadOnlySpan<float> NestedScales { get; init; }

    /// <summary>Added to a double-quantized scale; else 0.</summary>
    public float ScaleOffset { get; init; }

    /// <summary>The inputs that are outlier columns, ascending, <see cref="WeightsShape.OutlierCount"/> of them.</summary>
    public ReadOnlySpan<int> OutlierColumns { get; init; }

    /// <summary>The bytes of the weights [N][<see cref="WeightsShape.OutlierCount"/>] of these columns, of
    /// <see cref="WeightsShape.OutlierType"/>, as they were before they were quantized; empty to take the codes, dequantized.</summary>
    public ReadOnlySpan<byte> OutlierWeights { get; init; }
}

/// <summary>Where <see cref="PackedWeights.Unpack(KernelContext, WeightsParts)"/> puts what a <see cref="WeightsSource"/> held, in the same
/// types and sizes. What is empty is left out.</summary>
public readonly ref struct WeightsParts
{
    /// <summary>Receives N rows of K codes.</summary>
    public Span<byte> Codes { get; init; }

    /// <summary>Bytes from one row of codes to the next; 0 for rows without padding.</summary>
    public long CodesLdBytes { get; init; }

    /// <summary>Of two 4-bit codes in a byte the first is the high nibble.</summary>
    public bool HighNibbleFirst { get; init; }

    /// <summary>Receives the bytes of the scales.</summary>
    public Span<byte> Scales { get; init; }

    /// <summary>Receives zero points.</summary>
    public Span<int> ZeroPoints { get; init; }

    /// <summary>Receives the bytes of float offsets.</summary>
    public Span<byte> ZeroOffsets { get; init; }

    /// <summary>Receives the 16 floats of a codebook.</summary>
    public Span<float> Codebook { get; init; }

    /// <summary>Receives the group of each input.</summary>
    public Span<int> GroupIndex { get; init; }

    /// <summary>Receives the 256 floats that double-quantized scales are indices to.</summary>
    public Span<float> ScaleMap { get; init; }

    /// <summary>Receives a float for every 256 double-quantized scales.</summary>
    public Span<float> NestedScales { get; init; }

    /// <summary>Receives the one offset of double-quantized scales.</summary>
    public Span<float> ScaleOffset { get; init; }

    /// <summary>Receives the outlier columns.</summary>
    public Span<int> OutlierColumns { get; init; }

    /// <summary>Receives the bytes of their weights, also where they were made from codes.</summary>
    public Span<byte> OutlierWeights { get; init; }
}
