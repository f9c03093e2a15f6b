namespace Kernels.Harness.Models;

/// <summary>The keys and values of one sequence in one layer, and attention over them.</summary>
internal interface IKeyValueCache : IDisposable
{
    /// <summary>How many tokens there are.</summary>
    int Length { get; }

    /// <summary>Bytes that their keys and values take, with scales and zero points.</summary>
    long Bytes { get; }

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

/// <summary>A way to keep keys and values.</summary>
/// <param name="Name">What the command line calls it.</param>
/// <param name="Create">Makes the cache of a layer for so many tokens.</param>
internal sealed record KvScheme(string Name, Func<KernelContext, LlamaConfig, int, IKeyValueCache> Create)
{
    /// <summary>Floats, with attention in plain C#: what the others are compared with.</summary>
    public static KvScheme Float { get; } = new("f32", (_, config, capacity) => new FloatKeyValueCache(config, capacity));

    /// <summary>All ways.</summary>
    public static IReadOnlyList<KvScheme> All { get; } = [Float];
}
