using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Y[M,N] = X[M,K] . W[N,K]^T (+ bias[N]) (+ residual[M,N]) on packed weights.</summary>
/// <remarks>Quantized activations are multiplied exactly, in integers, and give the same bits on every instruction set and thread count.
/// Float activations are multiplied with weights that are dequantized on the fly. The order of operations is that of native/include/kernels/gemm.h.
/// NaN and infinity in floats propagate.</remarks>
public static unsafe partial class Gemm
{
    /// <summary>Tells whether a context has a kernel for a pair of formats.</summary>
    /// <param name="context">The context.</param>
    /// <param name="weightFormat">Format of the weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <param name="compute">What float activations are quantized to inside the call (<see cref="GemmOptions.Compute"/>), or null.</param>
    /// <returns>Whether <see cref="Run{T}(KernelContext, PackedWeights, long, Activations, GemmOutput{T}, GemmOptions)"/> accepts the pair.</returns>
    public static bool IsSupported(KernelContext context, ElementType weightFormat, ElementType activationType, ElementType? compute = null)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeMethods.krn_gemm_supported(use.Pointer, (int)weightFormat, (int)activationType, (int)compute.GetValueOrDefault()) != 0;
    }

    /// <summary>Name of the variant that runs a pair of formats, such as "avx512vnni".</summary>
    /// <param name="context">The context.</param>
    /// <param name="weightFormat">Format of the weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <param name="compute">What float activations are quantized to inside the call (<see cref="GemmOptions.Compute"/>), or null.</param>
    /// <returns>The name, or null if the pair is not supported.</returns>
    public static string? Variant(KernelContext context, ElementType weightFormat, ElementType activationType, ElementType? compute = null)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Optional(
            NativeMethods.krn_gemm_variant(use.Pointer, (int)weightFormat, (int)activationType, (int)compute.GetValueOrDefault()));
    }

    /// <summary>Bytes of workspace that a call needs.</summary>
    /// <param name="context">The context.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <param name="m">The most rows that the workspace is to serve.</param>
    /// <param name="options">The options of the call; of an adapter only the rank counts.</param>
    /// <returns>The bytes.</returns>
    /// <exception cref="KernelException">The pair of formats is not supported, or the options are wrong.</exception>
    public static long WorkspaceBytes(
        KernelContext context, PackedWeights weights, ElementType activationType, long m, GemmOptions options = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(weights);
        Guard.Dimension(m);
        using WeightsUse weightsUse = weights.Use();
        using ContextUse use = context.Share();
        krn_lora lora = new() { struct_size = (uint)sizeof(krn_lora), rank = options.Lora.Rank };
        krn_gemm_options native = NativeOptions(options, &lora);
        return WorkspaceBytes(use, weightsUse, activationType, &native, m);
    }

    /// <summary>Multiplies, with a workspace that the context keeps: it grows when a call needs more than any before, and other calls
    /// allocate nothing.</summary>
    /// <typeparam name="T">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="weights">W[N,K].</param>
    /// <param name="m">Rows M of activations and result, at least 0.</param>
    /// <param name="activations">X[M,K].</param>
    /// <param name="output">Y[M,N], bias and residual. Y must not overlap the inputs.</param>
    /// <exception cref="KernelException">The pair of formats is not supported.</exception>
    public static void Run<T>(KernelContext context, PackedWeights weights, long m, Activations activations, GemmOutput<T> output)
        where T : unmanaged =>
        Run(context, weights, m, activations, output, default, default, useOwnWorkspace: true);

    /// <summary>Multiplies with options, with a workspace that the context keeps.</summary>
    /// <typeparam name="T">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="weights">W[N,K].</param>
    /// <param name="m">Rows M of activations and result, at least 0.</param>
    /// <param name="activations">X[M,K].</param>
    /// <param name="output">Y[M,N], bias and residual. Y must not overlap the inputs.</param>
    /// <param name="options">Quantization inside the call, outliers, a low-rank term.</param>
    /// <exception cref="KernelException">The pair of formats is not supported, the options are wrong, or activations that are to be quantized
    /// are not finite; then nothing was written.</exception>
    public static void Run<T>(
        KernelContext context, PackedWeights weights, long m, Activations activations, GemmOutput<T> output, GemmOptions options)
        where T : unmanaged =>
        Run(context, weights, m, activations, output, options, default, useOwnWorkspace: true);

    /// <summary>Multiplies, with a workspace of the caller's. Allocates nothing.</summary>
    /// <typeparam name="T">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="weights">W[N,K].</param>
    /// <param name="m">Rows M of activations and result, at least 0.</param>
    /// <param name="activations">X[M,K].</param>
    /// <param name="output">Y[M,N], bias and residual. Y must not overlap the inputs.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes(KernelContext, PackedWeights, ElementType, long, GemmOptions)"/> bytes, aligned to
    /// 64, as in an <see cref="AlignedBuffer"/>.</param>
    /// <exception cref="KernelException">The pair of formats is not supported.</exception>
    public static void Run<T>(
        KernelContext context, PackedWeights weights, long m, Activations activations, GemmOutput<T> output, Span<byte> workspace)
        where T : unmanaged =>
        Run(context, weights, m, activations, output, default, workspace, useOwnWorkspace: false);

    /// <summary>Multiplies with options, with a workspace of the caller's. Allocates nothing.</summary>
    /// <typeparam name="T">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="weights">W[N,K].</param>
    /// <param name="m">Rows M of activations and result, at least 0.</param>
    /// <param name="activations">X[M,K].</param>
    /// <param name="output">Y[M,N], bias and residual. Y must not overlap the inputs.</param>
    /// <param name="options">Quantization inside the call, outliers, a low-rank term.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes(KernelContext, PackedWeights, ElementType, long, GemmOptions)"/> bytes with the same
    /// options, aligned to 64.</param>
    /// <exception cref="KernelException">The pair of formats is not supported, the options are wrong, or activations that are to be quantized
    /// are not finite; then nothing was written.</exception>
    public static void Run<T>(
        KernelContext context, PackedWeights weights, long m, Activations activations, GemmOutput<T> output, GemmOptions options, Span<byte> workspace)
        where T : unmanaged =>
        Run(context, weights, m, activations, output, options, workspace, useOwnWorkspace: false);

    private static krn_gemm_options NativeOptions(in GemmOptions options, krn_lora* lora) => new()
    {
        struct_size = (uint)sizeof(krn_gemm_options),
        compute = (int)options.Compute.GetValueOrDefault(),
        outlier_threshold = options.OutlierThreshold,
        lora = options.Lora.Rank == 0 ? null : lora,
    };

    private static long WorkspaceBytes(
        in ContextUse context, in WeightsUse weights, ElementType activationType, krn_gemm_options* options, long m)
    {
        long bytes = 0;
        KernelException.ThrowIfFailed(
            NativeMethods.krn_gemm_workspace_bytes(context.Pointer, weights.Pointer, (int)activationType, options, m, &bytes));
        return bytes;
    }

    private static void Run<T>(
        KernelContext context, PackedWeights weights, long m, in Activations x, in GemmOutput<T> y, in GemmOptions options, Span<byte> workspace,
        bool useOwnWorkspace)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(weights);
        Guard.Dimension(m);
        ElementType outputType = ElementTypes.Of<T>();
        WeightsShape shape = weights.Shape;
        long xLd = CheckActivations(x, m, shape.K);
        long yLd = Guard.LeadingDimension(y.Ld, shape.N, "output.Ld");
        long residualLd = y.Residual.IsEmpty ? 0 : Guard.LeadingDimension(y.ResidualLd, shape.N, "output.ResidualLd");
        Guard.Holds(y.Data.Length, m, shape.N, yLd, "output.Data");
        if (!y.Bias.IsEmpty)
            Guard.Holds(y.Bias.Length, shape.N, "output.Bias");
        if (!y.Residual.IsEmpty)
            Guard.Holds(y.Residual.Length, m, shape.N, residualLd, "output.Residual");
        (long aLd, long bLd) = CheckLora(options.Lora, shape);

        using WeightsUse weightsUse = weights.Use();
        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (byte* data = &x.Data)
        fixed (float* scales = x.Scales)
        fixed (int* zeroPoints = x.ZeroPoints)
        fixed (T* result = y.Data)
        fixed (float* bias = y.Bias)
        fixed (T* residual = y.Residual)
        fixed (byte* a = &options.Lora.A)
        fixed (byte* b = &options.Lora.B)
        fixed (byte* callersWorkspace = workspace)
        {
            krn_activations activations = new()
            {
                struct_size = (uint)sizeof(krn_activations),
                type = (int)x.Type,
                data = Pin.OrEmpty(data, &nothing),
                ld = xLd,
                scales = x.Type.IsFloat() ? null : Pin.OrEmpty(scales, &nothing),
                zero_points = x.Type == ElementType.U8 ? Pin.OrEmpty(zeroPoints, &nothing) : null,
            };
            krn_gemm_output output = new()
            {
                struct_size = (uint)sizeof(krn_gemm_output),
                type = (int)outputType,
                data = Pin.OrEmpty(result, &nothing),
                ld = yLd,
                bias = bias,
                residual = residual,
                residual_ld = residualLd,
            };
            krn_lora lora = new()
            {
                struct_size = (uint)sizeof(krn_lora),
                type = (int)options.Lora.Type,
                rank = options.Lora.Rank,
                a = Pin.OrEmpty(a, &nothing),
                a_ld = aLd,
                b = Pin.OrEmpty(b, &nothing),
                b_ld = bLd,
                scale = options.Lora.Scale,
            };
            krn_gemm_options nativeOptions = NativeOptions(options, &lora);
            long workspaceBytes = WorkspaceBytes(use, weightsUse, x.Type, &nativeOptions, m);
            if (!useOwnWorkspace)
            {
                Guard.Holds(workspace.Length, workspaceBytes, nameof(workspace));
                Guard.Aligned(callersWorkspace, nameof(workspace));
            }

            GemmRegions regions = new(activations, output, nativeOptions, new Region(callersWorkspace, workspace.Length), m, shape);
            regions.CheckOverlap();
            void* usedWorkspace = useOwnWorkspace ? context.Handle.Workspace(workspaceBytes) : callersWorkspace;
            use.Complete(NativeMethods.krn_gemm(
                use.Pointer, weightsUse.Pointer, m, &activations, &output, &nativeOptions, usedWorkspace,
                useOwnWorkspace ? workspaceBytes : workspace.Length));
        }
    }

    private static long CheckActivations(in Activations activations, long m, long k)
    {
        ElementType type = activations.Type;
        if (!type.IsFloat() && type is not (ElementType.S8 or ElementType.U8 or ElementType.S4))
            throw new ArgumentException("The activations are empty: make them with Activations.Of, S8, S4 or U8.", nameof(activations));
        long ld = Guard.LeadingDimension(activations.Ld, k);
        if (type == ElementType.S4)
            Guard.Holds(activations.Elements, m, type.RowBytes(k), type.RowBytes(ld), nameof(activations));
        else
            Guard.Holds(activations.Elements, m, k, ld, nameof(activations));
        if (!type.IsFloat())
            Guard.Holds(activations.Scales.Length, m, "activations.Scales");
        if (type == ElementType.U8)
            Guard.Holds(activations.ZeroPoints.Length, m, "activations.ZeroPoints");
        return ld;
    }

    private static (long ALd, long BLd) CheckLora(in LoraAdapter lora, WeightsShape shape)
    {
        if (lora.Rank == 0)
            return default;
        long aLd = Guard.LeadingDimension(lora.ALd, shape.K, "options.Lora.ALd");
        long bLd = Guard.LeadingDimension(lora.BLd, lora.Rank, "options.Lora.BLd");
        Guard.Holds(lora.AElements, lora.Rank, shape.K, aLd, "options.Lora.A");
        Guard.Holds(lora.BElements, shape.N, lora.Rank, bLd, "options.Lora.B");
        return (aLd, bLd);
    }
}
