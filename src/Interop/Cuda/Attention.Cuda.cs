using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <content>Attention on CUDA devices: the same bits as on the CPU.</content>
public static unsafe partial class Attention
{
    /// <summary>Bytes of device memory that a call needs as a workspace.</summary>
    /// <param name="cache">Keys and values.</param>
    /// <param name="options">What to compute.</param>
    /// <param name="batch">The sequences and their query tokens.</param>
    /// <returns>The bytes.</returns>
    /// <exception cref="KernelException">The options are wrong, or the device lacks a kernel for the cache.</exception>
    public static long WorkspaceBytes(CudaKvCache cache, in CudaAttentionOptions options, in CudaKvBatch batch)
    {
        ArgumentNullException.ThrowIfNull(cache);
        krn_attention_options native = ToNative(cache.Context, options);
        krn_cuda_kv_batch entries = cache.ToNative(batch);
        krn_kv_cache_desc description = KvCache.ToNative(cache.Options);
        krn_cuda_kv_cache pages = cache.ToNative(&description);
        using var use = new CudaUse(cache.Context, null);
        return WorkspaceBytes(&pages, &native, &entries);
    }

    /// <summary>Attends on a device, in the order of the stream. Waits for nothing and allocates nothing.</summary>
    /// <typeparam name="TQuery">The type of the query: <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <typeparam name="TOutput">The type of the output, one of these too.</typeparam>
    /// <param name="context">The context of the cache.</param>
    /// <param name="cache">Keys and values.</param>
    /// <param name="options">What to compute.</param>
    /// <param name="batch">The rows of an entry are the last tokens of its sequence.</param>
    /// <param name="query">[rows][Heads][HeadDim].</param>
    /// <param name="output">Receives [rows][Heads][HeadDim].</param>
    /// <param name="logSumExp">Receives [rows][Heads] logarithms of the softmax's denominators; null when they are not wanted.</param>
    /// <param name="queryLd">Elements from a query token to the next; 0 for tokens without padding.</param>
    /// <param name="outputLd">Likewise for the output.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes(CudaKvCache, in CudaAttentionOptions, in CudaKvBatch)"/> bytes; may be null for 0.
    /// Calls on different streams must not share one.</param>
    /// <param name="flags">Null, or a buffer into whose first element flags are ORed; see the remarks of <see cref="CudaKvCache"/>.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The options are wrong, or the device lacks a kernel for the cache.</exception>
    public static void Run<TQuery, TOutput>(
        CudaContext context, CudaKvCache cache, in CudaAttentionOptions options, in CudaKvBatch batch, CudaBuffer<TQuery> query,
        CudaBuffer<TOutput> output, CudaBuffer<float>? logSumExp = null, long queryLd = 0, long outputLd = 0, CudaBuffer<byte>? workspace = null,
        CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where TQuery : unmanaged
        where TOutput : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(cache);
        ArgumentNullException.ThrowIfNull(query);
        ArgumentNullException.ThrowIfNull(output);
        if (cache.Context != context)
            throw new ArgumentException("The cache belongs to another context.", nameof(cache));
        ElementType queryType = ElementTypes.Of<TQuery>(), outputType = ElementTypes.Of<TOutput>();
        krn_attention_options native = ToNative(context, options);
        krn_cuda_kv_batch entries = cache.ToNative(batch);
        long width = (long)options.Heads * cache.Options.HeadDim;
        queryLd = Guard.LeadingDimension(queryLd, width);
        outputLd = Guard.LeadingDimension(outputLd, width);
        Guard.Holds(query.Length, batch.Rows, width, queryLd, nameof(query));
        Guard.Holds(output.Length, batch.Rows, width, outputLd, nameof(output));
        if (logSumExp is not null)
            Guard.Holds(logSumExp.Length, (long)batch.Rows * options.Heads, nameof(logSumExp));
        CudaAddress.Distinct(output, nameof(output), query, options.SinkLogits, options.AlibiSlopes, cache.Means, cache.Tails);
        CudaAddress.Distinct(logSumExp, nameof(logSumExp), query, output, options.SinkLogits, options.AlibiSlopes, cache.Means, cache.Tails);
        CudaAddress.Distinct(workspace, nameof(workspace), cache.Pool);
        krn_attention_query source = new()
        {
            struct_size = (uint)sizeof(krn_attention_query),
            type = (int)queryType,
            data = CudaAddress.Of(context, query),
            ld = queryLd,
        };
        krn_attention_output target = OutputOf(
            outputType, CudaAddress.Of(context, output), outputLd, (float*)CudaAddress.Of(context, logSumExp));
        int* flag = CudaAddress.OfFlags(context, flags);
        krn_kv_cache_desc description = KvCache.ToNative(cache.Options);
        krn_cuda_kv_cache pages = cache.ToNative(&description);
        using var use = new CudaUse(context, stream);
        void* space = CudaAddress.OfWorkspace(context, workspace, WorkspaceBytes(&pages, &native, &entries));
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_attention(
            use.Context, &pages, &native, &entries, &source, &target, space, workspace?.Bytes ?? 0, flag, use.Stream));
    }

    private static long WorkspaceBytes(krn_cuda_kv_cache* pages, krn_attention_options* options, krn_cuda_kv_batch* batch)
    {
        long bytes = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_attention_workspace_size(pages, options, batch, &bytes));
        return bytes;
    }

    private static krn_attention_options ToNative(CudaContext context, in CudaAttentionOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Heads, 1, "options.Heads");
        if (options.SinkLogits is { } sinkLogits)
            Guard.Holds(sinkLogits.Length, options.Heads, "options.SinkLogits");
        if (options.AlibiSlopes is { } alibiSlopes)
            Guard.Holds(alibiSlopes.Length, options.Heads, "options.AlibiSlopes");
        return new krn_attention_options
        {
            struct_size = (uint)sizeof(krn_attention_options),
            heads = options.Heads,
            scale = options.Scale,
            full = options.Full ? 1 : 0,
            window = options.Window,
            sink_tokens = options.SinkTokens,
            softcap = options.SoftCap,
            sink_logits = (float*)CudaAddress.Of(context, options.SinkLogits),
            alibi_slopes = (float*)CudaAddress.Of(context, options.AlibiSlopes),
        };
    }
}
