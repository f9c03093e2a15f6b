namespace Kernels;

/// <summary>What <see cref="Attention"/> computes. Scores are scaled, capped, biased and masked in this order.</summary>
public readonly ref struct AttentionOptions
{
    /// <summary>Query heads, a multiple of the cache's KV heads: equal for MHA, more for GQA, all on one KV head for MQA.</summary>
    public required int Heads { get; init; }

    /// <summary>Factor of the scores; 0 for 1 / sqrt(HeadDim).</summary>
    public float Scale { get; init; }

    /// <summary>Whether every token of the sequence is visible, not only those up to the query token's own.</summary>
    public bool Full { get; init; }

    /// <summary>Tokens that a query token sees, itself included; 0 for no window.</summary>
    public long Window { get; init; }

    /// <summary>First tokens of a sequence that stay visible beyond the window (StreamingLLM).</summary>
    public long SinkTokens { get; init; }

    /// <summary>Bound of the scores: cap * tanh(score / cap); 0 for none.</summary>
    public float SoftCap { get; init; }

    /// <summary>Logits that join the denominator, one for every query head, finite or negative infinity; empty for none.</summary>
    public ReadOnlySpan<float> SinkLogits { get; init; }

    /// <summary>ALiBi slopes, one for every query head; empty for none.</summary>
    public ReadOnlySpan<float> AlibiSlopes { get; init; }
}
