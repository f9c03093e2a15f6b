using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>What attention on a device computes. Scores are scaled, capped, biased and masked in this order.</summary>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaAttentionOptions
{
    /// <inheritdoc cref="AttentionOptions.Heads"/>
    public required int Heads { get; init; }

    /// <inheritdoc cref="AttentionOptions.Scale"/>
    public float Scale { get; init; }

    /// <inheritdoc cref="AttentionOptions.Full"/>
    public bool Full { get; init; }

    /// <inheritdoc cref="AttentionOptions.Window"/>
    public long Window { get; init; }

    /// <inheritdoc cref="AttentionOptions.SinkTokens"/>
    public long SinkTokens { get; init; }

    /// <inheritdoc cref="AttentionOptions.SoftCap"/>
    public float SoftCap { get; init; }

    /// <summary>Logits that join the denominator, one for every query head; null for none. Not checked.</summary>
    public CudaBuffer<float>? SinkLogits { get; init; }

    /// <summary>ALiBi slopes, one for every query head; null for none. Not checked.</summary>
    public CudaBuffer<float>? AlibiSlopes { get; init; }
}
