namespace Kernels;

/// <summary>Shape and format of a <see cref="KvCache"/>.</summary>
/// <param name="Sequences">Sequences at most, 1 to 2^20.</param>
/// <param name="KvHeads">Heads that keys and values have, 1 to 4096.</param>
/// <param name="HeadDim">Elements of a head, a multiple of 8 in 8..512.</param>
/// <param name="MaxTokens">Tokens of a sequence at most, 1 to 2^30.</param>
public sealed record KvCacheOptions(int Sequences, int KvHeads, int HeadDim, long MaxTokens)
{
    /// <summary>Tokens of a page: 16, 32, 64 or 128; or a multiple of 16 that is at least <see cref="MaxTokens"/>: then every sequence is one
    /// contiguous page.</summary>
    public long PageTokens { get; init; } = 64;

    /// <summary>Pages in the pool; 0 for as many as all sequences need at their longest.</summary>
    public long Pages { get; init; }

    /// <summary>What keys are kept in: F32, BF16, S8, S4, U4 or F8E4M3.</summary>
    public ElementType KeyType { get; init; } = ElementType.S8;

    /// <summary>What values are kept in.</summary>
    public ElementType ValueType { get; init; } = ElementType.S8;

    /// <summary>Which elements of keys share a scale.</summary>
    public KvGranularity KeyGranularity { get; init; }

    /// <summary>Which elements of values share a scale: <see cref="KvGranularity.Token"/> or <see cref="KvGranularity.Static"/>.</summary>
    public KvGranularity ValueGranularity { get; init; }

    /// <summary>With <see cref="KvGranularity.Channel"/> the tokens of a group: a multiple of 16 that divides <see cref="PageTokens"/>, at most
    /// 128. Else 0.</summary>
    public int KeyGroup { get; init; }

    /// <summary>Whether keys are rotated by a Hadamard matrix (QuaRot) before they are quantized. Attention rotates queries likewise.</summary>
    public bool RotateKeys { get; init; }

    /// <summary>Whether the mean of a sequence's keys is subtracted from them (SageAttention), which attention takes account of exactly.</summary>
    public bool CenterKeys { get; init; }

    /// <summary>With <see cref="KvGranularity.Static"/> a scale per head, finite and at least 2^-126; copied.</summary>
    public ReadOnlyMemory<float> KeyScales { get; init; }

    /// <summary>Likewise for values.</summary>
    public ReadOnlyMemory<float> ValueScales { get; init; }

    /// <summary>Static U4: a zero point in 0..15 per head; empty for 8.</summary>
    public ReadOnlyMemory<int> KeyZeroPoints { get; init; }

    /// <summary>Likewise for values.</summary>
    public ReadOnlyMemory<int> ValueZeroPoints { get; init; }
}
