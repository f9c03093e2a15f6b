namespace Kernels.Harness.Models;

/// <summary>The keys and values of one sequence in one layer, and attention over them.</summary>
internal interface IKeyValueCache : IDisposable
{
    /// <summary>How many tokens there are.</summary>
    int Length { get; }

    /// <summary>Bytes that the key and the value of a token take, with scales and zero points, without what a
    /// sequence has once.</summary>
    double BytesPerToken { get; }

    /// <summary>Appends tokens.</summary>
    /// <param name="tokens">How many.</param>
    /// <param name="keys">tokens * KV heads * head dimension floats, rotated.</param>
    /// <param name="values">As many.</param>
    void Append(int tokens, ReadOnlySpan<float> keys, ReadOnlySpan<float> values);

    /// <summary>Causal attention of the last tokens: each sees the tokens before it and itself.</summary>
    /// <param name="tokens">How many of them, at most <see cref="Length"/>.</param>
    /// <param name="queries">tokens * heads * head dimension floats, rotated.</param>
    /// <param name="output">Receives as many.</param>
    void Attend(int tokens, ReadOnlySpan<float> queries, Span<float> output);

    /// <summary>Forgets all tokens.</summary>
    void Clear();
}
