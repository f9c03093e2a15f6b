namespace Kernels.Harness.Models;

/// <summary>Keys and values in a cache of the library. Attention reads them back as floats, so that what shows is the
/// error of the cache alone.</summary>
internal sealed class KernelKeyValueCache : IKeyValueCache
{
    private readonly KernelContext _context;
    private readonly KvCache _cache;
    private readonly PlainAttention _attention;
    private readonly float[] _keys;
    private readonly float[] _values;

    /// <summary>Makes an empty cache.</summary>
    /// <param name="context">What kernels run in.</param>
    /// <param name="config">The model.</param>
    /// <param name="options">Shape and format, of one sequence.</param>
    public KernelKeyValueCache(KernelContext context, LlamaConfig config, KvCacheOptions options)
    {
        int capacity = (int)options.MaxTokens;
        _context = context;
        _cache = new KvCache(options);
        _attention = new PlainAttention(config, capacity);
        _keys = new float[capacity * config.KvDim];
        _values = new float[capacity * config.KvDim];
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
    public void Attend(int tokens, ReadOnlySpan<float> queries, Span<float> output)
    {
        // All of them again: a group of keys changes when it fills up and is quantized.
        _cache.Read(_context, 0, 0, Length, _keys.AsSpan(), _values);
        _attention.Attend(Length, _keys, _values, tokens, queries, output);
    }

    /// <inheritdoc/>
    public void Clear()
    {
        _cache.Reset(0);
        Length = 0;
    }

    /// <inheritdoc/>
    public void Dispose() => _cache.Dispose();
}
