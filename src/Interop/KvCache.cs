using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Keys and values of past tokens of one layer, quantized, in pages that sequences share.</summary>
/// <remarks>Calls that only read a cache may run at once; one that changes it excludes all others, and a second one that overlaps it is an
/// <see cref="InvalidOperationException"/>. <see cref="SafeHandle.Dispose()"/> frees the memory when the last call has returned.</remarks>
[SuppressMessage("Interoperability", "CA1419", Justification = "Never made by a marshaller.")]
public sealed unsafe partial class KvCache : SafeHandle
{
    /// <summary>Readers, or -1 for a call that changes the cache.</summary>
    private int _users;

    /// <summary>Makes a cache of empty sequences.</summary>
    /// <param name="options">Shape and format.</param>
    /// <exception cref="ArgumentException">A list of scales or zero points has the wrong length.</exception>
    /// <exception cref="KernelException">An option is out of range, there is no Hadamard matrix of order HeadDim, or there is not enough
    /// memory.</exception>
    public KvCache(KvCacheOptions options)
        : base(0, ownsHandle: true)
    {
        krn_kv_cache_desc description = ToNative(options);
        Sizes = SizesOf(options);
        CheckScales(options);
        krn_kv_cache* cache = null;
        fixed (float* keyScales = options.KeyScales.Span)
        fixed (float* valueScales = options.ValueScales.Span)
        fixed (int* keyZeroPoints = options.KeyZeroPoints.Span)
        fixed (int* valueZeroPoints = options.ValueZeroPoints.Span)
        {
            description.key_scales = keyScales;
            description.value_scales = valueScales;
            description.key_zero_points = keyZeroPoints;
            description.value_zero_points = valueZeroPoints;
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_create(&description, null, 0, &cache));
        }

        SetHandle((nint)cache);
        Options = options;
        GC.AddMemoryPressure(Sizes.Total);
    }

    /// <summary>Shape and format.</summary>
    public KvCacheOptions Options { get; }

    /// <summary>Where the bytes of the cache go.</summary>
    public KvCacheSizes Sizes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The memory that a cache takes, exactly.</summary>
    /// <param name="options">Shape and format; its scales are not looked at.</param>
    /// <returns>Where the bytes go.</returns>
    /// <exception cref="KernelException">An option is out of range.</exception>
    public static KvCacheSizes SizesOf(KvCacheOptions options)
    {
        krn_kv_cache_desc description = ToNative(options);
        var sizes = new krn_kv_cache_sizes { struct_size = (uint)sizeof(krn_kv_cache_sizes) };
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_bytes(&description, &sizes));
        return new KvCacheSizes(
            sizes.key_codes, sizes.value_codes, sizes.key_scales, sizes.value_scales, sizes.tails, sizes.means, sizes.tables, sizes.padding,
            sizes.total);
    }

    /// <summary>Name of the variant that appends in a context, such as "avx512".</summary>
    /// <param name="context">The context.</param>
    /// <returns>The name.</returns>
    public static string Variant(KernelContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Required(NativeMethods.krn_kv_cache_variant(use.Pointer));
    }

    /// <summary>Quantizes tokens to the end of one sequence. Allocates nothing.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="sequence">The sequence.</param>
    /// <param name="tokens">How many, at least 0.</param>
    /// <param name="keys">[tokens][KvHeads][HeadDim], finite.</param>
    /// <param name="values">Likewise.</param>
    /// <param name="keyLd">Elements from a token's keys to the next; 0 for tokens without padding.</param>
    /// <param name="valueLd">Likewise for values.</param>
    /// <param name="rope">Rotates keys by their positions on the way in; null for keys that are rotated already, or never.</param>
    /// <param name="positions">The position of every token; empty where that is its number in its sequence, from 0.</param>
    /// <exception cref="KernelException">As for several sequences.</exception>
    public void Append<T>(
        KernelContext context, int sequence, long tokens, ReadOnlySpan<T> keys, ReadOnlySpan<T> values, long keyLd = 0, long valueLd = 0,
        RopeTable? rope = null, ReadOnlySpan<int> positions = default)
        where T : unmanaged
    {
        CheckSequence(sequence, nameof(sequence));
        Append(context, new ReadOnlySpan<int>(in sequence), new ReadOnlySpan<long>(in tokens), keys, values, keyLd, valueLd, rope, positions);
    }

    /// <summary>Quantizes tokens to the ends of several sequences. Allocates nothing.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="sequences">The sequences, none of them twice.</param>
    /// <param name="tokens">How many for each, at least 0.</param>
    /// <param name="keys">The tokens of the first sequence, then those of the second and so on: [tokens][KvHeads][HeadDim], finite.</param>
    /// <param name="values">Likewise.</param>
    /// <param name="keyLd">Elements from a token's keys to the next; 0 for tokens without padding.</param>
    /// <param name="valueLd">Likewise for values.</param>
    /// <param name="rope">Rotates keys by their positions on the way in; null for keys that are rotated already, or never.</param>
    /// <param name="positions">The position of every token; empty where that is its number in its sequence, from 0.</param>
    /// <exception cref="KernelException">A key or value is not finite (<see cref="KernelStatus.NonFinite"/>), too few pages are free
    /// (<see cref="KernelStatus.OutOfPages"/>), or a sequence would exceed MaxTokens (<see cref="KernelStatus.Shape"/>); no sequence has changed.</exception>
    public void Append<T>(
        KernelContext context, ReadOnlySpan<int> sequences, ReadOnlySpan<long> tokens, ReadOnlySpan<T> keys, ReadOnlySpan<T> values,
        long keyLd = 0, long valueLd = 0, RopeTable? rope = null, ReadOnlySpan<int> positions = default)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ElementType type = ElementTypes.Of<T>();
        if (sequences.Length != tokens.Length)
            throw new ArgumentException($"There are {sequences.Length} sequences, but {tokens.Length} numbers of tokens.", nameof(tokens));
        long rows = 0;
        for (int i = 0; i < sequences.Length; i++)
        {
            CheckSequence(sequences[i], nameof(sequences));
            ArgumentOutOfRangeException.ThrowIfNegative(tokens[i], nameof(tokens));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(tokens[i], Options.MaxTokens, nameof(tokens));
            rows = checked(rows + tokens[i]);
        }

        keyLd = Guard.LeadingDimension(keyLd, Width);
        valueLd = Guard.LeadingDimension(valueLd, Width);
        Guard.Holds(keys.Length, rows, Width, keyLd, nameof(keys));
        Guard.Holds(values.Length, rows, Width, valueLd, nameof(values));
        CheckRope(rope, positions, rows);
        krn_rope_options embedding = rope is null ? default : RopeOptions.ToNative(rope.Options);
        var options = new krn_kv_append_options
        {
            struct_size = (uint)sizeof(krn_kv_append_options),
            source_type = (int)type,
            key_ld = keyLd,
            value_ld = valueLd,
            rope = rope is null ? null : &embedding,
            first_position = rope?.FirstPosition ?? 0,
            position_count = rope?.Count ?? 0,
        };
        using ContextUse use = context.Use();
        using KvCacheUse cache = Change();
        fixed (float* cosSinPinned = rope is null ? default : rope.CosSin)
        fixed (int* positionsPinned = positions)
        fixed (int* sequencesPinned = sequences)
        fixed (long* tokensPinned = tokens)
        fixed (T* keysPinned = keys)
        fixed (T* valuesPinned = values)
        {
            options.cos_sin = cosSinPinned;
            options.positions = positionsPinned;
            use.Complete(NativeMethods.krn_kv_cache_append(
                use.Pointer, cache.Pointer, sequences.Length, sequencesPinned, tokensPinned, keysPinned, valuesPinned, &options));
        }
    }

    private void CheckRope(RopeTable? rope, ReadOnlySpan<int> positions, long rows)
    {
        if (rope is null)
        {
            if (!positions.IsEmpty)
                throw new ArgumentException("Positions are those of a rotary embedding, and there is none.", nameof(positions));
            return;
        }

        if (rope.Options.HeadDim != Options.HeadDim)
            throw new ArgumentException($"The embedding is of heads of {rope.Options.HeadDim}, the cache of heads of {Options.HeadDim}.", nameof(rope));
        if (!positions.IsEmpty && positions.Length != rows)
            throw new ArgumentException($"There are {positions.Length} positions for {rows} tokens.", nameof(positions));
        foreach (int position in positions)
        {
            if (!rope.Covers(position))
                throw new ArgumentException($"The table has no row for position {position}.", nameof(positions));
        }
    }

    /// <summary>Dequantizes tokens of a sequence, keys rotated back and with their mean. Allocates nothing.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="sequence">The sequence.</param>
    /// <param name="first">The first token.</param>
    /// <param name="count">How many.</param>
    /// <param name="keys">Receives [count][KvHeads][HeadDim] keys; empty for none.</param>
    /// <param name="values">Receives the values; empty for none.</param>
    /// <param name="keyLd">Elements from a token's keys to the next; 0 for tokens without padding.</param>
    /// <param name="valueLd">Likewise for values.</param>
    public void Read<T>(
        KernelContext context, int sequence, long first, long count, Span<T> keys, Span<T> values, long keyLd = 0, long valueLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ElementType type = ElementTypes.Of<T>();
        CheckSequence(sequence, nameof(sequence));
        using ContextUse use = context.Use();
        using KvCacheUse cache = Share();
        long length = LengthOf(cache.Pointer, sequence);
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first, length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, length - first);
        keyLd = Guard.LeadingDimension(keyLd, Width);
        valueLd = Guard.LeadingDimension(valueLd, Width);
        if (!keys.IsEmpty)
            Guard.Holds(keys.Length, count, Width, keyLd, nameof(keys));
        if (!values.IsEmpty)
            Guard.Holds(values.Length, count, Width, valueLd, nameof(values));
        fixed (T* keysPinned = keys)
        fixed (T* valuesPinned = values)
        {
            Guard.Disjoint(
                new Region(keysPinned, count, Width * sizeof(T), keyLd * sizeof(T)),
                new Region(valuesPinned, count, Width * sizeof(T), valueLd * sizeof(T)), nameof(keys), nameof(values));
            use.Complete(NativeMethods.krn_kv_cache_read(
                use.Pointer, cache.Pointer, sequence, first, count, (int)type, keysPinned, keyLd, valuesPinned, valueLd));
        }
    }

    /// <summary>The number of tokens of a sequence.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <returns>The tokens.</returns>
    public long Length(int sequence)
    {
        CheckSequence(sequence, nameof(sequence));
        using KvCacheUse cache = Share();
        return LengthOf(cache.Pointer, sequence);
    }

    /// <summary>Keeps the cache alive for a native call that reads it.</summary>
    [StackTraceHidden]
    internal KvCacheUse Share() => Use(exclusive: false);

    internal void EndUse(bool exclusive)
    {
        if (exclusive)
            Volatile.Write(ref _users, 0);
        else
            Interlocked.Decrement(ref _users);
        DangerousRelease();
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMethods.krn_kv_cache_destroy((krn_kv_cache*)handle);
        GC.RemoveMemoryPressure(Sizes.Total);
        return true;
    }

    private static long LengthOf(krn_kv_cache* cache, int sequence)
    {
        long length = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_length(cache, sequence, &length));
        return length;
    }

    internal static krn_kv_cache_desc ToNative(KvCacheOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Guard.Defined(options.KeyType, nameof(options));
        Guard.Defined(options.ValueType, nameof(options));
        Guard.Defined(options.KeyGranularity, nameof(options));
        Guard.Defined(options.ValueGranularity, nameof(options));
        return new krn_kv_cache_desc
        {
            struct_size = (uint)sizeof(krn_kv_cache_desc),
            sequences = options.Sequences,
            kv_heads = options.KvHeads,
            head_dim = options.HeadDim,
            max_tokens = options.MaxTokens,
            page_tokens = options.PageTokens,
            pages = options.Pages,
            key_type = (int)options.KeyType,
            value_type = (int)options.ValueType,
            key_granularity = (int)options.KeyGranularity,
            value_granularity = (int)options.ValueGranularity,
            key_group = options.KeyGroup,
            rotate_keys = options.RotateKeys ? 1 : 0,
            center_keys = options.CenterKeys ? 1 : 0,
        };
    }

    /// <summary>The library trusts the lengths of lists.</summary>
    internal static void CheckScales(KvCacheOptions options)
    {
        CheckScales(options, options.KeyGranularity, options.KeyScales.Length, options.KeyZeroPoints.Length, "Key");
        CheckScales(options, options.ValueGranularity, options.ValueScales.Length, options.ValueZeroPoints.Length, "Value");
    }

    private static void CheckScales(KvCacheOptions options, KvGranularity granularity, int scales, int zeroPoints, string side)
    {
        int needed = granularity == KvGranularity.Static ? options.KvHeads : 0;
        if (scales != needed)
            throw new ArgumentException($"{side}Scales has {scales} elements, but {needed} are needed.", nameof(options));
        if (zeroPoints != 0 && zeroPoints != needed)
            throw new ArgumentException($"{side}ZeroPoints has {zeroPoints} elements, neither 0 nor {needed}.", nameof(options));
    }

    private long Width => (long)Options.KvHeads * Options.HeadDim;

    private void CheckSequence(int sequence, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sequence, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(sequence, Options.Sequences, name);
    }

    [StackTraceHidden]
    private KvCacheUse Change() => Use(exclusive: true);

    [StackTraceHidden]
    private KvCacheUse Use(bool exclusive)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        bool added = false;
        DangerousAddRef(ref added);
        int users = Volatile.Read(ref _users);
        while (exclusive ? users == 0 : users >= 0)
        {
            int before = Interlocked.CompareExchange(ref _users, exclusive ? -1 : users + 1, users);
            if (before == users)
                return new KvCacheUse(this, (krn_kv_cache*)handle, exclusive);
            users = before;
        }

        DangerousRelease();
        throw new InvalidOperationException("Another call is using the cache: a call that changes it excludes all others.");
    }
}
