using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>What runs between two quantized GEMMs - norms, gated activations, smoothing, rotation - in one pass that ends in codes and
/// scales, and the same steps with a float result.</summary>
/// <remarks>
/// Type arguments are <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>. Every instruction set and thread count gives the same
/// bits, and a step that quantizes gives those of <see cref="Quantizer"/> on its float result. The order of operations is that of
/// native/include/kernels/fused.h. Without a workspace of the caller's, that of the context is used: it grows when a call needs more than any
/// before, and other calls allocate nothing.
/// <para>A row that holds NaN or infinity, or runs into them, makes a quantizing step throw with <see cref="KernelStatus.NonFinite"/>. Other than
/// elsewhere, what it wrote stays written: such rows have scales of NaN unless they are static, and all other rows are right.</para>
/// </remarks>
public static unsafe partial class Fused
{
    /// <summary>Bytes of workspace that any step takes.</summary>
    /// <param name="context">The context.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <returns>The bytes, for any number of rows.</returns>
    public static long WorkspaceBytes(KernelContext context, long cols)
    {
        ArgumentNullException.ThrowIfNull(context);
        Guard.Dimension(cols);
        using ContextUse use = context.Share();
        long bytes = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_fused_workspace_size(use.Pointer, cols, &bytes));
        return bytes;
    }

    /// <summary>Name of the variant that runs in a context, such as "avx512".</summary>
    /// <param name="context">The context.</param>
    /// <returns>The name.</returns>
    public static string Variant(KernelContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Required(NativeMethods.krn_fused_variant(use.Pointer));
    }

    /// <summary>Codes of rmsnorm(x) or rmsnorm(x + residual).</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void RmsNormQuantize<T>(
        KernelContext context, long rows, long cols, NormInput<T> input, NormWeights weights, FusedCodes codes, Span<byte> workspace = default)
        where T : unmanaged =>
        OfNorm(context, rows, cols, input, weights, default, false, workspace)
            .Quantize(&NativeMethods.krn_rmsnorm_quantize, codes);

    /// <summary>Codes of layernorm(x) or layernorm(x + residual).</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void LayerNormQuantize<T>(
        KernelContext context, long rows, long cols, NormInput<T> input, NormWeights weights, FusedCodes codes, Span<byte> workspace = default)
        where T : unmanaged =>
        OfNorm(context, rows, cols, input, weights, default, false, workspace)
            .Quantize(&NativeMethods.krn_layernorm_quantize, codes);

    /// <summary>Codes of silu(gate) * up, as SwiGLU has it.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void SiluMulQuantize<T>(
        KernelContext context, long rows, long cols, GateInput<T> input, FusedCodes codes, Span<byte> workspace = default)
        where T : unmanaged =>
        OfGate(context, rows, cols, input, false, default, false, workspace)
            .Quantize(&NativeMethods.krn_silu_mul_quantize, codes);

    /// <summary>Codes of gelu(gate) * up.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="tanh">Whether gelu is the form with tanh rather than that with erf.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void GeluMulQuantize<T>(
        KernelContext context, long rows, long cols, GateInput<T> input, FusedCodes codes, bool tanh = false, Span<byte> workspace = default)
        where T : unmanaged =>
        OfGate(context, rows, cols, input, tanh, default, false, workspace)
            .Quantize(&NativeMethods.krn_gelu_mul_quantize, codes);

    /// <summary>Codes of x * factors, a smoothing vector such as that of SmoothQuant.</summary>
    /// <typeparam name="T">The type of x.</typeparam>
    /// <typeparam name="TFactor">The type of the factors.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="source">x.</param>
    /// <param name="factors">One factor per column.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="sourceLd">Leading dimension of x in elements; 0 for rows without padding.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void SmoothQuantize<T, TFactor>(
        KernelContext context, long rows, long cols, ReadOnlySpan<T> source, ReadOnlySpan<TFactor> factors, FusedCodes codes, long sourceLd = 0,
        Span<byte> workspace = default)
        where T : unmanaged
        where TFactor : unmanaged =>
        OfProduct(context, rows, cols, source, sourceLd, factors, workspace).Quantize(&NativeMethods.krn_smooth_quantize, codes);

    /// <summary>Codes of x, rotated.</summary>
    /// <typeparam name="T">The type of x.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="source">x.</param>
    /// <param name="rotation">The rotation.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="sourceLd">Leading dimension of x in elements; 0 for rows without padding.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void HadamardQuantize<T>(
        KernelContext context, long rows, long cols, ReadOnlySpan<T> source, HadamardOptions rotation, FusedCodes codes, long sourceLd = 0,
        Span<byte> workspace = default)
        where T : unmanaged =>
        OfSource(context, rows, cols, source, sourceLd, rotation, workspace).Quantize(&NativeMethods.krn_hadamard_quantize, codes);

    /// <summary>Codes of rmsnorm(x) or rmsnorm(x + residual), rotated.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="rotation">The rotation.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void RmsNormHadamardQuantize<T>(
        KernelContext context, long rows, long cols, NormInput<T> input, NormWeights weights, HadamardOptions rotation, FusedCodes codes, Span<byte> workspace = default)
        where T : unmanaged =>
        OfNorm(context, rows, cols, input, weights, rotation, true, workspace)
            .Quantize(&NativeMethods.krn_rmsnorm_hadamard_quantize, codes);

    /// <summary>Codes of silu(gate) * up, rotated.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="rotation">The rotation.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    /// <exception cref="KernelException">A row is not finite (<see cref="KernelStatus.NonFinite"/>); see the remarks of the class.</exception>
    public static void SiluMulHadamardQuantize<T>(
        KernelContext context, long rows, long cols, GateInput<T> input, HadamardOptions rotation, FusedCodes codes, Span<byte> workspace = default)
        where T : unmanaged =>
        OfGate(context, rows, cols, input, false, rotation, true, workspace)
            .Quantize(&NativeMethods.krn_silu_mul_hadamard_quantize, codes);

    /// <summary>rmsnorm(x) or rmsnorm(x + residual).</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="target">Receives the result; without overlap, or a matrix of the input itself.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    public static void RmsNorm<T, TResult>(
        KernelContext context, long rows, long cols, NormInput<T> input, NormWeights weights, Span<TResult> target, long targetLd = 0, Span<byte> workspace = default)
        where T : unmanaged
        where TResult : unmanaged =>
        OfNorm(context, rows, cols, input, weights, default, false, workspace)
            .Apply(&NativeMethods.krn_rmsnorm, target, targetLd);

    /// <summary>layernorm(x) or layernorm(x + residual).</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="target">Receives the result; without overlap, or a matrix of the input itself.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    public static void LayerNorm<T, TResult>(
        KernelContext context, long rows, long cols, NormInput<T> input, NormWeights weights, Span<TResult> target, long targetLd = 0, Span<byte> workspace = default)
        where T : unmanaged
        where TResult : unmanaged =>
        OfNorm(context, rows, cols, input, weights, default, false, workspace)
            .Apply(&NativeMethods.krn_layernorm, target, targetLd);

    /// <summary>silu(gate) * up.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="target">Receives the result; without overlap, or a matrix of the input itself.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    public static void SiluMul<T, TResult>(
        KernelContext context, long rows, long cols, GateInput<T> input, Span<TResult> target, long targetLd = 0, Span<byte> workspace = default)
        where T : unmanaged
        where TResult : unmanaged =>
        OfGate(context, rows, cols, input, false, default, false, workspace)
            .Apply(&NativeMethods.krn_silu_mul, target, targetLd);

    /// <summary>gelu(gate) * up.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="target">Receives the result; without overlap, or a matrix of the input itself.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="tanh">Whether gelu is the form with tanh rather than that with erf.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    public static void GeluMul<T, TResult>(
        KernelContext context, long rows, long cols, GateInput<T> input, Span<TResult> target, long targetLd = 0, bool tanh = false, Span<byte> workspace = default)
        where T : unmanaged
        where TResult : unmanaged =>
        OfGate(context, rows, cols, input, tanh, default, false, workspace)
            .Apply(&NativeMethods.krn_gelu_mul, target, targetLd);

    /// <summary>x * factors, a vector along the rows.</summary>
    /// <typeparam name="T">The type of x.</typeparam>
    /// <typeparam name="TFactor">The type of the factors.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="source">x.</param>
    /// <param name="factors">One factor per column.</param>
    /// <param name="target">Receives the result; without overlap, or a matrix of the input itself.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="sourceLd">Leading dimension of x in elements; 0 for rows without padding.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/> bytes, aligned to 64; empty for that of the context.</param>
    public static void Multiply<T, TFactor, TResult>(
        KernelContext context, long rows, long cols, ReadOnlySpan<T> source, ReadOnlySpan<TFactor> factors, Span<TResult> target, long targetLd = 0,
        long sourceLd = 0, Span<byte> workspace = default)
        where T : unmanaged
        where TFactor : unmanaged
        where TResult : unmanaged =>
        OfProduct(context, rows, cols, source, sourceLd, factors, workspace).Apply(&NativeMethods.krn_multiply, target, targetLd);

    private static FusedCall<T> OfNorm<T>(
        KernelContext context, long rows, long cols, NormInput<T> input, NormWeights weights, HadamardOptions rotation, bool rotates, Span<byte> workspace)
        where T : unmanaged
    {
        if (weights.Type == default)
            throw new ArgumentException("The weights are empty: make them with NormWeights.Of.", nameof(weights));
        if (weights.Epsilon is not (> 0 and <= float.MaxValue))
            throw new ArgumentOutOfRangeException(nameof(weights), weights.Epsilon, "Epsilon must be positive and finite.");
        return new FusedCall<T>
        {
            Context = context,
            Rows = rows,
            Cols = cols,
            Source = input.Data,
            SourceLd = input.Ld,
            SourceWidth = cols,
            SourceName = "input.Data",
            SourceLdName = "input.Ld",
            Residual = input.Residual,
            ResidualLd = input.ResidualLd,
            Sum = input.Sum,
            SumLd = input.SumLd,
            Vectors = weights,
            WeightName = "weights.Weight",
            Rotation = rotation,
            Rotates = rotates,
            Workspace = workspace,
        };
    }

    private static FusedCall<T> OfGate<T>(
        KernelContext context, long rows, long cols, GateInput<T> input, bool tanh, HadamardOptions rotation, bool rotates, Span<byte> workspace)
        where T : unmanaged => new()
        {
            Context = context,
            Rows = rows,
            Cols = cols,
            Source = input.Gate,
            SourceLd = input.GateLd,
            SourceWidth = input.Layout == GateLayout.Separate ? cols : unchecked(2 * cols),
            SourceName = "input.Gate",
            SourceLdName = "input.GateLd",
            HasUp = input.Layout == GateLayout.Separate,
            Up = input.Up,
            UpLd = input.UpLd,
            Layout = input.Layout,
            GeluTanh = tanh,
            WeightName = "weights.Weight",
            Rotation = rotation,
            Rotates = rotates,
            Workspace = workspace,
        };

    private static FusedCall<T> OfProduct<T, TFactor>(
        KernelContext context, long rows, long cols, ReadOnlySpan<T> source, long sourceLd, ReadOnlySpan<TFactor> factors, Span<byte> workspace)
        where T : unmanaged
        where TFactor : unmanaged
    {
        FusedCall<T> call = OfSource(context, rows, cols, source, sourceLd, default, workspace);
        call.Rotates = false;
        call.Vectors = NormWeights.Of(factors, 0);
        call.NeedsWeight = true;
        call.WeightName = nameof(factors);
        return call;
    }

    private static FusedCall<T> OfSource<T>(
        KernelContext context, long rows, long cols, ReadOnlySpan<T> source, long sourceLd, HadamardOptions rotation, Span<byte> workspace)
        where T : unmanaged => new()
        {
            Context = context,
            Rows = rows,
            Cols = cols,
            Source = source,
            SourceLd = sourceLd,
            SourceWidth = cols,
            SourceName = nameof(source),
            SourceLdName = nameof(sourceLd),
            WeightName = "factors",
            Rotation = rotation,
            Rotates = true,
            Workspace = workspace,
        };
}
