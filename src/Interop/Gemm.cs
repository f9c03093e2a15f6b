using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Y[M,N] = X[M,K] . W[N,K]^T (+ bias[N]) (+ residual[M,N]) on packed weights.</summary>
/// <remarks>Quantized activations are multiplied exactly, in integers, and give the same bits on every instruction set and thread count.
/// Float activations are multiplied with weights that are dequantized on the fly. The order of operations is that of native/include/kernels/gemm.h.
/// NaN and infinity in floats propagate.</remarks>
public static unsafe class Gemm
{
    /// <summary>Tells whether a context has a kernel for a pair of formats.</summary>
    /// <param name="context">The context.</param>
    /// <param name="weightFormat">Format of the weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <returns>Whether <see cref="Run{T}(KernelContext, PackedWeights, long, Activations, GemmOutput{T})"/> accepts the pair.</returns>
    public static bool IsSupported(KernelContext context, ElementType weightFormat, ElementType activationType)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeMethods.krn_gemm_supported(use.Pointer, (int)weightFormat, (int)activationType) != 0;
    }

    /// <summary>Name of the variant that runs a pair of formats, such as "avx512vnni".</summary>
    /// <param name="context">The context.</param>
    /// <param name="weightFormat">Format of the weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <returns>The name, or null if the pair is not supported.</returns>
    public static string? Variant(KernelContext context, ElementType weightFormat, ElementType activationType)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Optional(NativeMethods.krn_gemm_variant(use.Pointer, (int)weightFormat, (int)activationType));
    }

    /// <summary>Bytes of workspace that a call needs.</summary>
    /// <param name="context">The context.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="activationType">Type of the activations.</param>
    /// <param name="m">The most rows that the workspace is to serve.</param>
    /// <returns>The bytes.</returns>
    /// <exception cref="KernelException">The pair of formats is not supported.</exception>
    public static long WorkspaceBytes(KernelContext context, PackedWeights weights, ElementType activationType, long m)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(weights);
        Guard.Dimension(m);
        using WeightsUse weightsUse = weights.Use();
        using ContextUse use = context.Share();
        return WorkspaceBytes(use, weightsUse, activationType, m);
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
        Run(context, weights, m, activations, output, default, useOwnWorkspace: true);

    /// <summary>Multiplies, with a workspace of the caller's. Allocates nothing.</summary>
    /// <typeparam name="T">Type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="weights">W[N,K].</param>
    /// <param name="m">Rows M of activations and result, at least 0.</param>
    /// <param name="activations">X[M,K].</param>
    /// <param name="output">Y[M,N], bias and residual. Y must not overlap the inputs.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes(KernelContext, PackedWeights, ElementType, long)"/> bytes, aligned to 64, as in an
    /// <see cref="AlignedBuffer"/>.</param>
    /// <exception cref="KernelException">The pair of formats is not supported.</exception>
    public static void Run<T>(
        KernelContext context, PackedWeights weights, long m, Activations activations, GemmOutput<T> output, Span<byte> workspace)
        where T : unmanaged =>
        Run(context, weights, m, activations, output, workspace, useOwnWorkspace: false);

    private static long WorkspaceBytes(in ContextUse context, in WeightsUse weights, ElementType activationType, long m)
    {
        long bytes = 0;
        KernelException.ThrowIfFailed(
            NativeMethods.krn_gemm_workspace_bytes(context.Pointer, weights.Pointer, (int)activationType, m, &bytes));
        return bytes;
    }

    private static void Run<T>(
        KernelContext context, PackedWeights weights, long m, in Activations x, in GemmOutput<T> y, Span<byte> workspace, bool useOwnWorkspace)
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

        using WeightsUse weightsUse = weights.Use();
        using ContextUse use = context.Use();
        long workspaceBytes = WorkspaceBytes(use, weightsUse, x.Type, m);
        if (!useOwnWorkspace)
            Guard.Holds(workspace.Length, workspaceBytes, nameof(workspace));

        long nothing = 0;
        fixed (byte* data = &x.Data)
        fixed (float* scales = x.Scales)
        fixed (int* zeroPoints = x.ZeroPoints)
        fixed (T* result = y.Data)
        fixed (float* bias = y.Bias)
        fixed (T* residual = y.Residual)
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
            if (!useOwnWorkspace)
                Guard.Aligned(callersWorkspace, nameof(workspace));
            CheckOverlap(activations, output, new Region(callersWorkspace, workspace.Length), m, shape, x.Type.Bits() / 8, sizeof(T));
            void* usedWorkspace = useOwnWorkspace ? context.Handle.Workspace(workspaceBytes) : callersWorkspace;
            use.Complete(NativeMethods.krn_gemm(
                use.Pointer, weightsUse.Pointer, m, &activations, &output, usedWorkspace, useOwnWorkspace ? workspaceBytes : workspace.Length));
        }
    }

    private static long CheckActivations(in Activations activations, long m, long k)
    {
        ElementType type = activations.Type;
        if (!type.IsFloat() && type is not (ElementType.S8 or ElementType.U8))
            throw new ArgumentException("The activations are empty: make them with Activations.Of, S8 or U8.", nameof(activations));
        long ld = Guard.LeadingDimension(activations.Ld, k);
        Guard.Holds(activations.Elements, m, k, ld, nameof(activations));
        if (!type.IsFloat())
            Guard.Holds(activations.Scales.Length, m, "activations.Scales");
        if (type == ElementType.U8)
            Guard.Holds(activations.ZeroPoints.Length, m, "activations.ZeroPoints");
        return ld;
    }

    private static void CheckOverlap(
        in krn_activations x, in krn_gemm_output y, in Region workspace, long m, WeightsShape shape, int activationBytes, int outputBytes)
    {
        const string Output = "output.Data";
        var data = new Region(x.data, m, shape.K * activationBytes, x.ld * activationBytes);
        var scales = new Region(x.scales, m * sizeof(float));
        var zeroPoints = new Region(x.zero_points, m * sizeof(int));
        var bias = new Region(y.bias, shape.N * sizeof(float));
        var residual = new Region(y.residual, m, shape.N * outputBytes, y.residual_ld * outputBytes);
        var result = new Region(y.data, m, shape.N * outputBytes, y.ld * outputBytes);
        Guard.Disjoint(result, data, Output, "activations");
        Guard.Disjoint(result, scales, Output, "activations.Scales");
        Guard.Disjoint(result, zeroPoints, Output, "activations.ZeroPoints");
        Guard.Disjoint(result, bias, Output, "output.Bias");
        if (y.residual != y.data || y.residual_ld != y.ld)
            Guard.Disjoint(result, residual, Output, "output.Residual");

        Guard.Disjoint(workspace, result, nameof(workspace), Output);
        Guard.Disjoint(workspace, data, nameof(workspace), "activations");
        Guard.Disjoint(workspace, scales, nameof(workspace), "activations.Scales");
        Guard.Disjoint(workspace, zeroPoints, nameof(workspace), "activations.ZeroPoints");
        Guard.Disjoint(workspace, bias, nameof(workspace), "output.Bias");
        Guard.Disjoint(workspace, residual, nameof(workspace), "output.Residual");
    }
}
