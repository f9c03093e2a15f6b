using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Keys and values of past tokens of one layer on a device, quantized, in pages that are those of <see cref="KvCache"/> byte for byte.</summary>
/// <remarks>Which pages a sequence has is the caller's to say, in <see cref="Tables"/>, and how many tokens, in <see cref="Lengths"/>. Calls put
/// their work on a stream and return; nothing waits and nothing is allocated. NaN and infinity set bit 0 of the flags that a call takes; a page
/// that is not in the pool, and an entry of the batch that cannot be, set bit 1; a position that a rotary embedding lacks sets bit 2, and the key is
/// not rotated by it.</remarks>
public sealed unsafe partial class CudaKvCache : IDisposable
{
    private readonly CudaBuffer<float>? _keyScales;
    private readonly CudaBuffer<float>? _valueScales;
    private readonly CudaBuffer<int>? _keyZeroPoints;
    private readonly CudaBuffer<int>? _valueZeroPoints;

    /// <summary>Makes a cache of empty sequences without pages. Waits for the default stream.</summary>
    /// <param name="context">The context.</param>
    /// <param name="options">Shape and format.</param>
    /// <exception cref="ArgumentException">A list of scales or zero points has the wrong length.</exception>
    /// <exception cref="KernelException">An option is out of range, devices do not have the format (<see cref="KernelStatus.Unsupported"/>), or there
    /// is not enough memory.</exception>
    public CudaKvCache(CudaContext context, KvCacheOptions options)
    {
        ArgumentNullException.ThrowIfNull(context);
        (PageBytes, long poolBytes) = BytesOf(options);
        KvCache.CheckScales(options);
        Context = context;
        Options = options;
        PagesPerSequence = (options.MaxTokens + options.PageTokens - 1) / options.PageTokens;
        try
        {
            Pool = new CudaBuffer<byte>(context, poolBytes);
            Tables = new CudaBuffer<int>(context, options.Sequences * PagesPerSequence);
            Lengths = new CudaBuffer<int>(context, options.Sequences);
            _keyScales = Copy(options.KeyScales.Span);
            _valueScales = Copy(options.ValueScales.Span);
            _keyZeroPoints = Copy(options.KeyZeroPoints.Span);
            _valueZeroPoints = Copy(options.ValueZeroPoints.Span);
            const byte NoPage = 0xFF;
            Tables.Fill(NoPage);
            Lengths.Fill(0);
            MakeKeyState();
            context.Synchronize();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>Shape and format.</summary>
    public KvCacheOptions Options { get; }

    /// <summary>Bytes of a page.</summary>
    public long PageBytes { get; }

    /// <summary>Entries of a sequence in <see cref="Tables"/>.</summary>
    public long PagesPerSequence { get; }

    /// <summary>The pages, one after the other, <see cref="PageBytes"/> each.</summary>
    public CudaBuffer<byte> Pool { get; }

    /// <summary>[Sequences][<see cref="PagesPerSequence"/>]: the pages of every sequence; -1 where there is none.</summary>
    public CudaBuffer<int> Tables { get; }

    /// <summary>[Sequences]: the tokens of every sequence, those that a call appends included.</summary>
    public CudaBuffer<int> Lengths { get; }

    private long Width => (long)Options.KvHeads * Options.HeadDim;

    /// <summary>The memory that the pages of a cache take.</summary>
    /// <param name="options">Shape and format; its scales are not looked at.</param>
    /// <returns>Bytes of a page and of the pool.</returns>
    /// <exception cref="KernelException">An option is out of range, or devices do not have the format.</exception>
    public static (long PageBytes, long PoolBytes) BytesOf(KvCacheOptions options)
    {
        krn_kv_cache_desc description = KvCache.ToNative(options);
        long page = 0, pool = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_kv_cache_bytes(&description, &page, &pool));
        return (page, pool);
    }

    /// <summary>Stores tokens at the ends of sequences, whose lengths count them already.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="batch">The sequences and their tokens.</param>
    /// <param name="keys">[rows][KvHeads][HeadDim].</param>
    /// <param name="values">Likewise.</param>
    /// <param name="keyLd">Elements from a token's keys to the next; 0 for tokens without padding.</param>
    /// <param name="valueLd">Likewise for values.</param>
    /// <param name="rope">Rotates keys by their positions on the way in; null for keys that are rotated already, or never.</param>
    /// <param name="positions">[rows]: the position of every token; null where that is its number in its sequence, from 0.</param>
    /// <param name="flags">Null, or a buffer into whose first element flags are ORed; see the remarks of the class.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, of another context or one that the cache writes, or the embedding is of
    /// another head dimension.</exception>
    public void Append<T>(
        CudaKvBatch batch, CudaBuffer<T> keys, CudaBuffer<T> values, long keyLd = 0, long valueLd = 0, CudaRopeTable? rope = null,
        CudaBuffer<int>? positions = null, CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        krn_cuda_kv_batch entries = ToNative(batch);
        keyLd = Guard.LeadingDimension(keyLd, Width);
        valueLd = Guard.LeadingDimension(valueLd, Width);
        Guard.Holds(keys.Length, batch.Rows, Width, keyLd, nameof(keys));
        Guard.Holds(values.Length, batch.Rows, Width, valueLd, nameof(values));
        CudaAddress.Distinct(keys, nameof(keys), Means, Tails);
        CudaAddress.Distinct(values, nameof(values), Means, Tails);
        CheckRope(rope, positions, batch.Rows);
        krn_rope_options embedding = rope is null ? default : RopeOptions.ToNative(rope.Options);
        krn_cuda_kv_tokens tokens = new()
        {
            struct_size = (uint)sizeof(krn_cuda_kv_tokens),
            type = (int)ElementTypes.Of<T>(),
            keys = CudaAddress.Of(Context, keys),
            values = CudaAddress.Of(Context, values),
            key_ld = keyLd,
            value_ld = valueLd,
            rope = rope is null ? null : &embedding,
            cos_sin = (float*)CudaAddress.Of(Context, rope?.CosSin, nameof(rope)),
            first_position = rope?.FirstPosition ?? 0,
            position_count = rope?.Count ?? 0,
            positions = (int*)CudaAddress.Of(Context, positions),
        };
        int* flag = CudaAddress.OfFlags(Context, flags);
        krn_kv_cache_desc description = KvCache.ToNative(Options);
        krn_cuda_kv_cache cache = ToNative(&description);
        using var use = new CudaUse(Context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_kv_append(use.Context, &cache, &entries, &tokens, flag, use.Stream));
    }

    /// <summary>Dequantizes the last tokens of sequences, as many of each as its entry has rows; keys come rotated back by
    /// <see cref="KvCacheOptions.RotateKeys"/> and with their mean.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="batch">The sequences and their tokens.</param>
    /// <param name="keys">Receives [rows][KvHeads][HeadDim]; null when keys are not wanted.</param>
    /// <param name="values">Likewise.</param>
    /// <param name="keyLd">Elements from a token's keys to the next; 0 for tokens without padding.</param>
    /// <param name="valueLd">Likewise for values.</param>
    /// <param name="flags">Null, or a buffer into whose first element flags are ORed; see the remarks of the class.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is too short, of another context or one of the cache's, or both are the same.</exception>
    public void Read<T>(
        CudaKvBatch batch, CudaBuffer<T>? keys, CudaBuffer<T>? values, long keyLd = 0, long valueLd = 0, CudaBuffer<int>? flags = null,
        CudaStream? stream = null)
        where T : unmanaged
    {
        krn_cuda_kv_batch entries = ToNative(batch);
        keyLd = Guard.LeadingDimension(keyLd, Width);
        valueLd = Guard.LeadingDimension(valueLd, Width);
        if (keys is not null)
            Guard.Holds(keys.Length, batch.Rows, Width, keyLd, nameof(keys));
        if (values is not null)
            Guard.Holds(values.Length, batch.Rows, Width, valueLd, nameof(values));
        if (keys is not null && keys == values)
            throw new ArgumentException("Keys and values need a buffer each.", nameof(values));
        CudaAddress.Distinct(keys, nameof(keys), Means, Tails);
        CudaAddress.Distinct(values, nameof(values), Means, Tails);
        krn_cuda_kv_target target = new()
        {
            struct_size = (uint)sizeof(krn_cuda_kv_target),
            type = (int)ElementTypes.Of<T>(),
            keys = CudaAddress.Of(Context, keys),
            values = CudaAddress.Of(Context, values),
            key_ld = keyLd,
            value_ld = valueLd,
        };
        int* flag = CudaAddress.OfFlags(Context, flags);
        krn_kv_cache_desc description = KvCache.ToNative(Options);
        krn_cuda_kv_cache cache = ToNative(&description);
        using var use = new CudaUse(Context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_kv_read(use.Context, &cache, &entries, &target, flag, use.Stream));
    }

    /// <summary>Copies a page, which a sequence that forks needs before it appends to one that it shares, in the order of the stream.</summary>
    /// <param name="source">The page.</param>
    /// <param name="target">Another page.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The pages are the same, or one is not in the pool.</exception>
    public void CopyPage(long source, long target, CudaStream? stream = null)
    {
        CheckPage(source, nameof(source));
        CheckPage(target, nameof(target));
        if (source == target)
            throw new ArgumentException("A page is not copied to itself.", nameof(target));
        Pool.CopyWithin(source * PageBytes, target * PageBytes, PageBytes, stream);
    }

    /// <summary>Frees the memory; may wait for the device.</summary>
    public void Dispose()
    {
        Pool?.Dispose();
        Tables?.Dispose();
        Lengths?.Dispose();
        _keyScales?.Dispose();
        _valueScales?.Dispose();
        _keyZeroPoints?.Dispose();
        _valueZeroPoints?.Dispose();
        Means?.Dispose();
        MeanIsSet?.Dispose();
        Tails?.Dispose();
    }

    /// <summary>The cache as a call takes it.</summary>
    internal krn_cuda_kv_cache ToNative(krn_kv_cache_desc* description) => new()
    {
        struct_size = (uint)sizeof(krn_cuda_kv_cache),
        desc = description,
        pool = (void*)Pool.Address,
        pool_bytes = Pool.Bytes,
        tables = (int*)Tables.Address,
        lengths = (int*)Lengths.Address,
        key_scales = (float*)CudaAddress.Of(Context, _keyScales),
        value_scales = (float*)CudaAddress.Of(Context, _valueScales),
        key_zero_points = (int*)CudaAddress.Of(Context, _keyZeroPoints),
        value_zero_points = (int*)CudaAddress.Of(Context, _valueZeroPoints),
        means = (float*)CudaAddress.Of(Context, Means),
        mean_is_set = (int*)CudaAddress.Of(Context, MeanIsSet),
        tails = (float*)CudaAddress.Of(Context, Tails),
    };

    /// <summary>Checks a batch.</summary>
    internal krn_cuda_kv_batch ToNative(in CudaKvBatch batch)
    {
        if (batch.Sequences is null || batch.Starts is null)
            throw new ArgumentException("The batch is empty: it needs buffers.", nameof(batch));
        const int MaxCount = 65535;
        ArgumentOutOfRangeException.ThrowIfNegative(batch.Count, "batch.Count");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(batch.Count, MaxCount, "batch.Count");
        ArgumentOutOfRangeException.ThrowIfNegative(batch.Rows, "batch.Rows");
        ArgumentOutOfRangeException.ThrowIfNegative(batch.MaxRows, "batch.MaxRows");
        ArgumentOutOfRangeException.ThrowIfNegative(batch.MaxLength, "batch.MaxLength");
        Guard.Holds(batch.Sequences.Length, batch.Count, "batch.Sequences");
        Guard.Holds(batch.Starts.Length, batch.Count + 1, "batch.Starts");
        return new krn_cuda_kv_batch
        {
            struct_size = (uint)sizeof(krn_cuda_kv_batch),
            count = batch.Count,
            sequences = (int*)CudaAddress.Of(Context, batch.Sequences),
            starts = (int*)CudaAddress.Of(Context, batch.Starts),
            rows = batch.Rows,
            max_rows = batch.MaxRows,
            max_length = batch.MaxLength,
        };
    }

    private void CheckPage(long page, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(page, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(page, Pool.Length / PageBytes, name);
    }

    private CudaBuffer<T>? Copy<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        if (values.IsEmpty)
            return null;
        var buffer = new CudaBuffer<T>(Context, values.Length);
        buffer.CopyFrom(values);
        return buffer;
    }
}
