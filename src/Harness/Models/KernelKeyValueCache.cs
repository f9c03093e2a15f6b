namespace Kernels.Harness.Models;

/// <summary>Keys and values in a cache of the library, and its attention over them.</summary>
internal sealed class KernelKeyValueCache : IKeyValueCache
{
    private readonly KernelContext _context;
    private readonly KvCache _cache;
    private readonly int _heads;

    /// <summary>Makes an empty cache.</summary>
    /// <param name="context">What kernels run in.</param>
    /// <param name="config">The model.</param>
    /// <param name="options">Shape and format, of one sequence.</param>
    public KernelKeyValueCache(KernelContext context, LlamaConfig config, KvCacheOptions options)
    {
        _context = context;
        _cache = new KvCache(options);
        _heads = config.Heads;
    }

    /// <inheritdoc/>
    public int Length { get; private set; }

    /// <inheritdoc/>
    public double BytesPerToken
    {
        get
        {
            KvCacheSizes sizes = _cache.Sizes;
            long pageTokens = _cache.Options.PageTokens, pages = (_cache.Options.MaxTokens + pageTokens - 1) / pageTokens;
            return (double)(sizes.KeyCodes + sizes.ValueCodes + sizes.KeyScales + sizes.ValueScales) / (pages * pageTokens);
        }
    }

    /// <inheritdoc/>
    public void Append(int tokens, ReadOnlySpan<float> keys, ReadOnlySpan<float> values)
    {
        _cache.Append(_context, 0, tokens, keys, values);
        Length += tokens;
    }

    /// <inheritdoc/>
    public void Attend(int tokens, ReadOnlySpan<float> queries, Span<float> output) =>
        Attention.Run(_context, _cache, new AttentionOptions { Heads = _heads }, [0], [tokens], queries, output);

    /// <inheritdoc/>
    public void Clear()
    {
        _cache.Reset(0);
        Length = 0;
    }

    /// <inheritdoc/>
    public void Dispose() => _cache.Dispose();
}
