using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <content>GEMM on CUDA devices: for integers the same bits as on the CPU.</content>
public static unsafe partial class Gemm
{
    /// <summary>Tells whether a device has a kernel for a pair of formats.</summary>
    /// <param name="context">The context.</param>
    /// <param name="weightFormat">Format of the weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <param name="compute">What float activations are quantized to inside the call (<see cref="CudaGemmOptions.Compute"/>), or null.</param>
    /// <returns>Whether
    /// <see cref="Run{T}(CudaContext, CudaPackedWeights, long, CudaActivations, CudaGemmOutput{T}, CudaGemmOptions, CudaBuffer{byte}, CudaBuffer{int}, CudaStream)"/>
    /// accepts the pair.</returns>
    public static bool IsSupported(CudaContext context, ElementType weightFormat, ElementType activationType, ElementType? compute = null)
    {
        using var use = new CudaUse(context, null);
        return NativeMethods.krn_cuda_gemm_supported(use.Context, (int)weightFormat, (int)activationType, (int)compute.GetValueOrDefault()) != 0;
    }

    /// <summary>Bytes of device memory that a call needs as a workspace.</summary>
    /// <param name="context">The context.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <param name="m">The most rows that the workspace is to serve.</param>
    /// <param name="options">The options of the call; of an adapter only the rank counts.</param>
    /// <returns>The bytes.</returns>
    /// <exception cref="KernelException">The pair of formats is not supported, or the options are wrong.</exception>
    public static long WorkspaceBytes(
        CudaContext context, CudaPackedWeights weights, ElementType activationType, long m, CudaGemmOptions options = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(weights);
        Guard.Dimension(m);
        using CudaWeightsUse weightsUse = weights.Use(context, nameof(weights));
        using var use = new CudaUse(context, null);
        krn_lora lora = new() { struct_size = (uint)sizeof(krn_lora), rank = options.Lora.Rank };
        krn_gemm_options native = ToNative(options, &lora);
        return WorkspaceBytes(use, weightsUse, activationType, &native, m);
    }

    /// <summary>Multiplies on a device, in the order of the stream. Waits for nothing and allocates nothing.</summary>
    /// <typeparam name="T">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="weights">W[N,K].</param>
    /// <param name="m">Rows M of activations and result, at least 0.</param>
    /// <param name="activations">X[M,K].</param>
    /// <param name="output">Y[M,N], bias and residual. Y must not overlap the inputs.</param>
    /// <param name="options">Quantization inside the call, outliers, a low-rank term.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes(CudaContext, CudaPackedWeights, ElementType, long, CudaGemmOptions)"/> bytes with the
    /// same options. Calls on different streams must not share one.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when activations that are quantized hold NaN or infinity; their
    /// rows of Y are then undefined.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The pair of formats is not supported, or the options are wrong.</exception>
    public static void Run<T>(
        CudaContext context, CudaPackedWeights weights, long m, CudaActivations activations, CudaGemmOutput<T> output, CudaGemmOptions options = default,
        CudaBuffer<byte>? workspace = null, CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(weights);
        Guard.Dimension(m);
        WeightsShape shape = weights.Shape;
        krn_activations x = ToNative(context, activations, m, shape.K);
        krn_gemm_output y = ToNative(context, output, m, shape.N);
        krn_lora lora = ToNative(context, options.Lora, shape);
        krn_gemm_options nativeOptions = ToNative(options, &lora);

        using CudaWeightsUse weightsUse = weights.Use(context, nameof(weights));
        using var use = new CudaUse(context, stream);
        long workspaceBytes = WorkspaceBytes(use, weightsUse, activations.Type, &nativeOptions, m);
        void* space = CudaAddress.OfWorkspace(context, workspace, workspaceBytes);
        int* flag = CudaAddress.OfFlags(context, flags);
        GemmRegions regions = new(x, y, nativeOptions, new Region(space, workspace?.Bytes ?? 0), m, shape);
        regions.CheckOverlap();
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_gemm(
            use.Context, weightsUse.Pointer, m, &x, &y, &nativeOptions, space, workspace?.Bytes ?? 0, flag, use.Stream));
    }

    private static long WorkspaceBytes(
        in CudaUse use, in CudaWeightsUse weights, ElementType activationType, krn_gemm_options* options, long m)
    {
        long bytes = 0;
        KernelException.ThrowIfFailed(
            NativeMethods.krn_cuda_gemm_workspace_bytes(use.Context, weights.Pointer, (int)activationType, options, m, &bytes));
        return bytes;
    }

    private static krn_gemm_options ToNative(in CudaGemmOptions options, krn_lora* lora) => new()
    {
        struct_size = (uint)sizeof(krn_gemm_options),
        compute = (int)options.Compute.GetValueOrDefault(),
        outlier_threshold = options.OutlierThreshold,
        lora = options.Lora.Rank == 0 ? null : lora,
    };

    private static krn_lora ToNative(CudaContext context, in CudaLoraAdapter lora, WeightsShape shape)
    {
        if (lora.A is not { } a || lora.B is not { } b)
            return default;
        long aLd = Guard.LeadingDimension(lora.ALd, shape.K, "options.Lora.ALd");
        long bLd = Guard.LeadingDimension(lora.BLd, lora.Rank, "options.Lora.BLd");
        Guard.Holds(a.Length, lora.Rank, shape.K, aLd, "options.Lora.A");
        Guard.Holds(b.Length, shape.N, lora.Rank, bLd, "options.Lora.B");
        return new krn_lora
        {
            struct_size = (uint)sizeof(krn_lora),
            type = (int)lora.Type,
            rank = lora.Rank,
            a = CudaAddress.Of(context, a, "options.Lora.A"),
            a_ld = aLd,
            b = CudaAddress.Of(context, b, "options.Lora.B"),
            b_ld = bLd,
            scale = lora.Scale,
        };
    }

    private static krn_activations ToNative(CudaContext context, in CudaActivations activations, long m, long k)
    {
        ElementType type = activations.Type;
        if (activations.Data is not { } data)
            throw new ArgumentException("The activations are empty: make them with CudaActivations.Of, S8, S4 or U8.", nameof(activations));
        long ld = Guard.LeadingDimension(activations.Ld, k, "activations.Ld");
        if (type == ElementType.S4)
            Guard.Holds(data.Length, m, type.RowBytes(k), type.RowBytes(ld), nameof(activations));
        else
            Guard.Holds(data.Length, m, k, ld, nameof(activations));
        if (activations.Scales is { } scales)
            Guard.Holds(scales.Length, m, "activations.Scales");
        if (activations.ZeroPoints is { } zeroPoints)
            Guard.Holds(zeroPoints.Length, m, "activations.ZeroPoints");
        return new krn_activations
        {
            struct_size = (uint)sizeof(krn_activations),
            type = (int)type,
            data = CudaAddress.Of(context, data, nameof(activations)),
            ld = ld,
            scales = (float*)CudaAddress.Of(context, activations.Scales),
            zero_points = (int*)CudaAddress.Of(context, activations.ZeroPoints),
        };
    }

    private static krn_gemm_output ToNative<T>(CudaContext context, in CudaGemmOutput<T> output, long m, long n)
        where T : unmanaged
    {
        ElementType type = ElementTypes.Of<T>();
        if (output.Data is not { } data)
            throw new ArgumentException("The output is empty: it needs a buffer.", nameof(output));
        long ld = Guard.LeadingDimension(output.Ld, n, "output.Ld");
        Guard.Holds(data.Length, m, n, ld, "output.Data");
        if (output.Bias is { } bias)
            Guard.Holds(bias.Length, n, "output.Bias");
        long residualLd = 0;
        if (output.Residual is { } residual)
        {
            residualLd = Guard.LeadingDimension(output.ResidualLd, n, "output.ResidualLd");
            Guard.Holds(residual.Length, m, n, residualLd, "output.Residual");
        }

        return new krn_gemm_output
        {
            struct_size = (uint)sizeof(krn_gemm_output),
            type = (int)type,
            data = CudaAddress.Of(context, output.Data),
            ld = ld,
            bias = (float*)CudaAddress.Of(context, output.Bias),
            residual = CudaAddress.Of(context, output.Residual),
            residual_ld = residualLd,
        };
    }
}
