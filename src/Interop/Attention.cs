using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Attention of query tokens over a <see cref="KvCache"/>: softmax(scale Q K^T) V in one pass, for decoding and for prompts.</summary>
/// <remarks>Query tokens are the last ones of their sequence: append comes first. Queries and results are [tokens][heads][HeadDim], the tokens of
/// the batch's sequences one after the other. Type arguments are <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>. A leading
/// dimension is the distance from one token to the next; 0 means that tokens follow each other without padding. The arithmetic is that of
/// native/include/kernels/attention.h; thread counts, pages and the rest of a batch change no bit.</remarks>
public static unsafe partial class Attention
{
    /// <summary>Name of the variant that runs over a cache, such as "avx512vnni".</summary>
    /// <param name="context">The context.</param>
    /// <param name="keyType">What keys are kept in.</param>
    /// <param name="valueType">What values are kept in.</param>
    /// <returns>The name, or null for a type that a cache cannot have.</returns>
    public static string? Variant(KernelContext context, ElementType keyType, ElementType valueType)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Optional(NativeMethods.krn_attention_variant(use.Pointer, (int)keyType, (int)valueType));
    }

    /// <summary>Bytes of workspace that a call needs with the sequences at their present lengths.</summary>
    /// <param name="context">The context.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="options">What is computed.</param>
    /// <param name="sequences">Sequences of the batch.</param>
    /// <param name="queryTokens">Query tokens of each.</param>
    /// <returns>The bytes.</returns>
    /// <exception cref="KernelException">An option is wrong, or a sequence has fewer tokens than queries.</exception>
    public static long WorkspaceBytes(
        KernelContext context, KvCache cache, in AttentionOptions options, ReadOnlySpan<int> sequences, ReadOnlySpan<long> queryTokens)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(cache);
        CheckOptions(options);
        _ = CheckBatch(cache, sequences, queryTokens);
        using ContextUse use = context.Share();
        using KvCacheUse cacheUse = cache.Share();
        long bytes = 0;
        fixed (float* sinkLogits = options.SinkLogits)
        fixed (float* alibiSlopes = options.AlibiSlopes)
        fixed (int* sequencesPinned = sequences)
        fixed (long* tokensPinned = queryTokens)
        {
            krn_attention_options native = ToNative(options, sinkLogits, alibiSlopes);
            krn_attention_batch batch = BatchOf(sequences.Length, sequencesPinned, tokensPinned);
            KernelException.ThrowIfFailed(
                NativeMethods.krn_attention_workspace_size(use.Pointer, cacheUse.Pointer, &native, &batch, &bytes));
        }

        return bytes;
    }

    /// <summary>Attends, with a workspace that the context keeps: it grows when a call needs more than any before, and other calls allocate
    /// nothing.</summary>
    /// <typeparam name="TQuery">Type of the query.</typeparam>
    /// <typeparam name="TOutput">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="options">What is computed.</param>
    /// <param name="sequences">Sequences of the batch.</param>
    /// <param name="queryTokens">Query tokens of each, at most its length.</param>
    /// <param name="query">[tokens][heads][HeadDim], finite.</param>
    /// <param name="output">Receives [tokens][heads][HeadDim]; must not overlap the query.</param>
    /// <param name="logSumExp">Receives [tokens][heads] logarithms of denominators; empty when they are not wanted.</param>
    /// <param name="queryLd">Elements from a token's query to the next; 0 for tokens without padding.</param>
    /// <param name="outputLd">Likewise for the result.</param>
    /// <exception cref="KernelException">The query is not finite (<see cref="KernelStatus.NonFinite"/>), longer than its sequence
    /// (<see cref="KernelStatus.Shape"/>), or an option is wrong; nothing was written.</exception>
    public static void Run<TQuery, TOutput>(
        KernelContext context, KvCache cache, in AttentionOptions options, ReadOnlySpan<int> sequences, ReadOnlySpan<long> queryTokens,
        ReadOnlySpan<TQuery> query, Span<TOutput> output, Span<float> logSumExp = default, long queryLd = 0, long outputLd = 0)
        where TQuery : unmanaged
        where TOutput : unmanaged =>
        Run(context, cache, options, sequences, queryTokens, query, output, logSumExp, queryLd, outputLd, default, useOwnWorkspace: true);

    /// <summary>Attends, with a workspace of the caller's. Allocates nothing.</summary>
    /// <typeparam name="TQuery">Type of the query.</typeparam>
    /// <typeparam name="TOutput">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="options">What is computed.</param>
    /// <param name="sequences">Sequences of the batch.</param>
    /// <param name="queryTokens">Query tokens of each, at most its length.</param>
    /// <param name="query">[tokens][heads][HeadDim], finite.</param>
    /// <param name="output">Receives [tokens][heads][HeadDim]; must not overlap the query.</param>
    /// <param name="logSumExp">Receives [tokens][heads] logarithms of denominators; empty when they are not wanted.</param>
    /// <param name="queryLd">Elements from a token's query to the next; 0 for tokens without padding.</param>
    /// <param name="outputLd">Likewise for the result.</param>
    /// <param name="workspace">At least
    /// <see cref="WorkspaceBytes(KernelContext, KvCache, in AttentionOptions, ReadOnlySpan{int}, ReadOnlySpan{long})"/> bytes, aligned to 64, as in an
    /// <see cref="AlignedBuffer"/>.</param>
    /// <exception cref="KernelException">The query is not finite (<see cref="KernelStatus.NonFinite"/>), longer than its sequence
    /// (<see cref="KernelStatus.Shape"/>), or an option is wrong; nothing was written.</exception>
    public static void Run<TQuery, TOutput>(
        KernelContext context, KvCache cache, in AttentionOptions options, ReadOnlySpan<int> sequences, ReadOnlySpan<long> queryTokens,
        ReadOnlySpan<TQuery> query, Span<TOutput> output, Span<float> logSumExp, long queryLd, long outputLd, Span<byte> workspace)
        where TQuery : unmanaged
        where TOutput : unmanaged =>
        Run(context, cache, options, sequences, queryTokens, query, output, logSumExp, queryLd, outputLd, workspace, useOwnWorkspace: false);

    /// <summary>Merges results over disjoint sets of tokens, of the same queries, weighted by their log-sum-exp. A part whose log-sum-exp is
    /// negative infinity counts for nothing. A sink logit belongs into one part alone.</summary>
    /// <typeparam name="TOutput">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="tokens">Query tokens, at least 0.</param>
    /// <param name="heads">Query heads, at least 1.</param>
    /// <param name="headDim">Elements of a head, at least 1.</param>
    /// <param name="parts">[parts][tokens][heads][headDim], at most 64 parts.</param>
    /// <param name="logSumExp">[parts][tokens][heads].</param>
    /// <param name="output">Receives [tokens][heads][headDim]; must not overlap the parts.</param>
    /// <param name="mergedLogSumExp">Receives [tokens][heads]; empty when it is not wanted.</param>
    public static void Merge<TOutput>(
        KernelContext context, int tokens, int heads, int headDim, ReadOnlySpan<float> parts, ReadOnlySpan<float> logSumExp, Span<TOutput> output,
        Span<float> mergedLogSumExp = default)
        where TOutput : unmanaged
    {
        const int MaxParts = 64;
        ArgumentNullException.ThrowIfNull(context);
        ElementType type = ElementTypes.Of<TOutput>();
        ArgumentOutOfRangeException.ThrowIfNegative(tokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(heads, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(headDim, 1);
        long rows = (long)tokens * heads, width = (long)heads * headDim;
        if (tokens == 0)
            return;
        long count = logSumExp.Length / rows;
        if (count is 0 or > MaxParts || count * rows != logSumExp.Length)
            throw new ArgumentException($"The span has {logSumExp.Length} elements, not those of 1 to {MaxParts} parts of {rows}.", nameof(logSumExp));
        Guard.Holds(parts.Length, count * tokens, width, width, nameof(parts));
        Guard.Holds(output.Length, tokens, width, width, nameof(output));
        if (!mergedLogSumExp.IsEmpty)
            Guard.Holds(mergedLogSumExp.Length, rows, nameof(mergedLogSumExp));
        krn_attention_part* native = stackalloc krn_attention_part[MaxParts];
        using ContextUse use = context.Use();
        fixed (float* partsPinned = parts)
        fixed (float* lsePinned = logSumExp)
        fixed (TOutput* outputPinned = output)
        fixed (float* mergedPinned = mergedLogSumExp)
        {
            var target = new Region(outputPinned, output.Length * sizeof(TOutput));
            Guard.Disjoint(target, new Region(partsPinned, parts.Length * sizeof(float)), nameof(output), nameof(parts));
            Guard.Disjoint(target, new Region(lsePinned, logSumExp.Length * sizeof(float)), nameof(output), nameof(logSumExp));
            for (int i = 0; i < count; i++)
                native[i] = new krn_attention_part { data = partsPinned + (i * tokens * width), ld = width, lse = lsePinned + (i * rows) };
            krn_attention_output merged = OutputOf(type, outputPinned, width, mergedPinned);
            use.Complete(NativeMethods.krn_attention_merge(use.Pointer, (int)count, native, tokens, heads, headDim, &merged));
        }
    }

    private static void Run<TQuery, TOutput>(
        KernelContext context, KvCache cache, in AttentionOptions options, ReadOnlySpan<int> sequences, ReadOnlySpan<long> queryTokens,
        ReadOnlySpan<TQuery> query, Span<TOutput> output, Span<float> logSumExp, long queryLd, long outputLd, Span<byte> workspace,
        bool useOwnWorkspace)
        where TQuery : unmanaged
        where TOutput : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(cache);
        ElementType queryType = ElementTypes.Of<TQuery>(), outputType = ElementTypes.Of<TOutput>();
        CheckOptions(options);
        long tokens = CheckBatch(cache, sequences, queryTokens), width = (long)options.Heads * cache.Options.HeadDim;
        queryLd = Guard.LeadingDimension(queryLd, width);
        outputLd = Guard.LeadingDimension(outputLd, width);
        Guard.Holds(query.Length, tokens, width, queryLd, nameof(query));
        Guard.Holds(output.Length, tokens, width, outputLd, nameof(output));
        if (!logSumExp.IsEmpty)
            Guard.Holds(logSumExp.Length, tokens * options.Heads, nameof(logSumExp));

        using ContextUse use = context.Use();
        using KvCacheUse cacheUse = cache.Share();
        long nothing = 0;
        fixed (float* sinkLogits = options.SinkLogits)
        fixed (float* alibiSlopes = options.AlibiSlopes)
        fixed (int* sequencesPinned = sequences)
        fixed (long* tokensPinned = queryTokens)
        fixed (TQuery* queryPinned = query)
        fixed (TOutput* outputPinned = output)
        fixed (float* lsePinned = logSumExp)
        fixed (byte* callersWorkspace = workspace)
        {
            krn_attention_options native = ToNative(options, sinkLogits, alibiSlopes);
            krn_attention_batch batch = BatchOf(sequences.Length, sequencesPinned, tokensPinned);
            krn_attention_query source = new()
            {
                struct_size = (uint)sizeof(krn_attention_query),
                type = (int)queryType,
                data = Pin.OrEmpty(queryPinned, &nothing),
                ld = queryLd,
            };
            krn_attention_output target = OutputOf(outputType, Pin.OrEmpty(outputPinned, &nothing), outputLd, lsePinned);
            long bytes = 0;
            KernelException.ThrowIfFailed(
                NativeMethods.krn_attention_workspace_size(use.Pointer, cacheUse.Pointer, &native, &batch, &bytes));
            if (!useOwnWorkspace)
            {
                Guard.Holds(workspace.Length, bytes, nameof(workspace));
                Guard.Aligned(callersWorkspace, nameof(workspace));
            }

            CheckOverlap(
                new Region(queryPinned, tokens, width * sizeof(TQuery), queryLd * sizeof(TQuery)),
                new Region(outputPinned, tokens, width * sizeof(TOutput), outputLd * sizeof(TOutput)),
                new Region(lsePinned, logSumExp.Length * sizeof(float)), new Region(callersWorkspace, workspace.Length));
            void* usedWorkspace = useOwnWorkspace ? context.Handle.Workspace(bytes) : callersWorkspace;
            use.Complete(NativeMethods.krn_attention(
                use.Pointer, cacheUse.Pointer, &native, &batch, &source, &target, usedWorkspace, useOwnWorkspace ? bytes : workspace.Length));
        }
    }

    private static void CheckOverlap(in Region query, in Region output, in Region logSumExp, in Region workspace)
    {
        Guard.Disjoint(output, query, nameof(output), nameof(query));
        Guard.Disjoint(logSumExp, query, nameof(logSumExp), nameof(query));
        Guard.Disjoint(logSumExp, output, nameof(logSumExp), nameof(output));
        Guard.Disjoint(workspace, query, nameof(workspace), nameof(query));
        Guard.Disjoint(workspace, output, nameof(workspace), nameof(output));
        Guard.Disjoint(workspace, logSumExp, nameof(workspace), nameof(logSumExp));
    }

    private static void CheckOptions(in AttentionOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Heads, 1, "options.Heads");
        if (!options.SinkLogits.IsEmpty)
            Guard.Holds(options.SinkLogits.Length, options.Heads, "options.SinkLogits");
        if (!options.AlibiSlopes.IsEmpty)
            Guard.Holds(options.AlibiSlopes.Length, options.Heads, "options.AlibiSlopes");
    }

    /// <summary>All query tokens.</summary>
    private static long CheckBatch(KvCache cache, ReadOnlySpan<int> sequences, ReadOnlySpan<long> queryTokens)
    {
        if (sequences.Length != queryTokens.Length)
            throw new ArgumentException($"There are {sequences.Length} sequences, but {queryTokens.Length} numbers of tokens.", nameof(queryTokens));
        long tokens = 0;
        for (int i = 0; i < sequences.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(sequences[i], nameof(sequences));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(sequences[i], cache.Options.Sequences, nameof(sequences));
            ArgumentOutOfRangeException.ThrowIfNegative(queryTokens[i], nameof(queryTokens));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(queryTokens[i], cache.Options.MaxTokens, nameof(queryTokens));
            tokens = checked(tokens + queryTokens[i]);
        }

        return tokens;
    }

    private static krn_attention_options ToNative(in AttentionOptions options, float* sinkLogits, float* alibiSlopes) => new()
    {
        struct_size = (uint)sizeof(krn_attention_options),
        heads = options.Heads,
        scale = options.Scale,
        full = options.Full ? 1 : 0,
        window = options.Window,
        sink_tokens = options.SinkTokens,
        softcap = options.SoftCap,
        sink_logits = sinkLogits,
        alibi_slopes = alibiSlopes,
    };

    private static krn_attention_batch BatchOf(int count, int* sequences, long* queryTokens) => new()
    {
        struct_size = (uint)sizeof(krn_attention_batch),
        count = count,
        sequences = sequences,
        query_tokens = queryTokens,
    };

    private static krn_attention_output OutputOf(ElementType type, void* data, long ld, float* logSumExp) => new()
    {
        struct_size = (uint)sizeof(krn_attention_output),
        type = (int)type,
        data = data,
        ld = ld,
        lse = logSumExp,
    };
}
