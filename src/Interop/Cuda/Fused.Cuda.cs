using Kernels.Native;

namespace Kernels;

/// <content>Fused steps on CUDA devices: the same bits as on the CPU.</content>
/// <remarks>Calls put their work on the stream and return; nothing waits, nothing is allocated, and there is no workspace. A row that is not
/// finite cannot be an exception: it sets a flag.</remarks>
public static unsafe partial class Fused
{
    /// <summary>Codes of rmsnorm(x) or rmsnorm(x + residual), on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void RmsNormQuantize<T>(
        CudaContext context, long rows, long cols, CudaNormInput<T> input, CudaNormWeights weights, CudaFusedCodes codes, CudaBuffer<int>? flags = null,
        CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaNorm(context, rows, cols, input, weights, default, false, stream)
            .Quantize(&NativeMethods.krn_cuda_rmsnorm_quantize, codes, flags);

    /// <summary>Codes of layernorm(x) or layernorm(x + residual), on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void LayerNormQuantize<T>(
        CudaContext context, long rows, long cols, CudaNormInput<T> input, CudaNormWeights weights, CudaFusedCodes codes, CudaBuffer<int>? flags = null,
        CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaNorm(context, rows, cols, input, weights, default, false, stream)
            .Quantize(&NativeMethods.krn_cuda_layernorm_quantize, codes, flags);

    /// <summary>Codes of silu(gate) * up, on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void SiluMulQuantize<T>(
        CudaContext context, long rows, long cols, CudaGateInput<T> input, CudaFusedCodes codes, CudaBuffer<int>? flags = null,
        CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaGate(context, rows, cols, input, false, default, false, stream)
            .Quantize(&NativeMethods.krn_cuda_silu_mul_quantize, codes, flags);

    /// <summary>Codes of gelu(gate) * up, on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="tanh">Whether gelu is the form with tanh rather than that with erf.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void GeluMulQuantize<T>(
        CudaContext context, long rows, long cols, CudaGateInput<T> input, CudaFusedCodes codes, bool tanh = false, CudaBuffer<int>? flags = null,
        CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaGate(context, rows, cols, input, tanh, default, false, stream)
            .Quantize(&NativeMethods.krn_cuda_gelu_mul_quantize, codes, flags);

    /// <summary>Codes of x * factors, on a device.</summary>
    /// <typeparam name="T">The type of x.</typeparam>
    /// <typeparam name="TFactor">The type of the factors.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="source">x.</param>
    /// <param name="factors">One factor per column.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="sourceLd">Leading dimension of x in elements; 0 for rows without padding.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void SmoothQuantize<T, TFactor>(
        CudaContext context, long rows, long cols, CudaBuffer<T> source, CudaBuffer<TFactor> factors, CudaFusedCodes codes, long sourceLd = 0,
        CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where T : unmanaged
        where TFactor : unmanaged =>
        OfCudaProduct(context, rows, cols, source, sourceLd, factors, stream).Quantize(&NativeMethods.krn_cuda_smooth_quantize, codes, flags);

    /// <summary>Codes of x, rotated, on a device.</summary>
    /// <typeparam name="T">The type of x.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="source">x.</param>
    /// <param name="rotation">The rotation.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="sourceLd">Leading dimension of x in elements; 0 for rows without padding.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void HadamardQuantize<T>(
        CudaContext context, long rows, long cols, CudaBuffer<T> source, CudaHadamardOptions rotation, CudaFusedCodes codes, long sourceLd = 0,
        CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaSource(context, rows, cols, source, sourceLd, rotation, stream).Quantize(&NativeMethods.krn_cuda_hadamard_quantize, codes, flags);

    /// <summary>Codes of rmsnorm(x) or rmsnorm(x + residual), rotated, on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="rotation">The rotation.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void RmsNormHadamardQuantize<T>(
        CudaContext context, long rows, long cols, CudaNormInput<T> input, CudaNormWeights weights, CudaHadamardOptions rotation,
        CudaFusedCodes codes, CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaNorm(context, rows, cols, input, weights, rotation, true, stream)
            .Quantize(&NativeMethods.krn_cuda_rmsnorm_hadamard_quantize, codes, flags);

    /// <summary>Codes of silu(gate) * up, rotated, on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="rotation">The rotation.</param>
    /// <param name="codes">Receives codes, scales and zero points; must not overlap the input.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when a row is not finite; such rows have scales of NaN unless they
    /// are static, and all other rows are right.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void SiluMulHadamardQuantize<T>(
        CudaContext context, long rows, long cols, CudaGateInput<T> input, CudaHadamardOptions rotation, CudaFusedCodes codes,
        CudaBuffer<int>? flags = null, CudaStream? stream = null)
        where T : unmanaged =>
        OfCudaGate(context, rows, cols, input, false, rotation, true, stream)
            .Quantize(&NativeMethods.krn_cuda_silu_mul_hadamard_quantize, codes, flags);

    /// <summary>rmsnorm(x) or rmsnorm(x + residual), on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="target">Receives the result; a buffer of its own, or a matrix of the input itself with its leading dimension.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void RmsNorm<T, TResult>(
        CudaContext context, long rows, long cols, CudaNormInput<T> input, CudaNormWeights weights, CudaBuffer<TResult> target, long targetLd = 0,
        CudaStream? stream = null)
        where T : unmanaged
        where TResult : unmanaged =>
        OfCudaNorm(context, rows, cols, input, weights, default, false, stream)
            .Apply(&NativeMethods.krn_cuda_rmsnorm, target, targetLd);

    /// <summary>layernorm(x) or layernorm(x + residual), on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">x, and what is added to it.</param>
    /// <param name="weights">Weight, bias and epsilon.</param>
    /// <param name="target">Receives the result; a buffer of its own, or a matrix of the input itself with its leading dimension.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void LayerNorm<T, TResult>(
        CudaContext context, long rows, long cols, CudaNormInput<T> input, CudaNormWeights weights, CudaBuffer<TResult> target, long targetLd = 0,
        CudaStream? stream = null)
        where T : unmanaged
        where TResult : unmanaged =>
        OfCudaNorm(context, rows, cols, input, weights, default, false, stream)
            .Apply(&NativeMethods.krn_cuda_layernorm, target, targetLd);

    /// <summary>silu(gate) * up, on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="target">Receives the result; a buffer of its own, or a matrix of the input itself with its leading dimension.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void SiluMul<T, TResult>(
        CudaContext context, long rows, long cols, CudaGateInput<T> input, CudaBuffer<TResult> target, long targetLd = 0,
        CudaStream? stream = null)
        where T : unmanaged
        where TResult : unmanaged =>
        OfCudaGate(context, rows, cols, input, false, default, false, stream)
            .Apply(&NativeMethods.krn_cuda_silu_mul, target, targetLd);

    /// <summary>gelu(gate) * up, on a device.</summary>
    /// <typeparam name="T">The type of the input.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="input">Gates and ups.</param>
    /// <param name="target">Receives the result; a buffer of its own, or a matrix of the input itself with its leading dimension.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="tanh">Whether gelu is the form with tanh rather than that with erf.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void GeluMul<T, TResult>(
        CudaContext context, long rows, long cols, CudaGateInput<T> input, CudaBuffer<TResult> target, long targetLd = 0, bool tanh = false,
        CudaStream? stream = null)
        where T : unmanaged
        where TResult : unmanaged =>
        OfCudaGate(context, rows, cols, input, tanh, default, false, stream)
            .Apply(&NativeMethods.krn_cuda_gelu_mul, target, targetLd);

    /// <summary>x * factors, a vector along the rows, on a device.</summary>
    /// <typeparam name="T">The type of x.</typeparam>
    /// <typeparam name="TFactor">The type of the factors.</typeparam>
    /// <typeparam name="TResult">The type of the result.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row of the result, at least 0.</param>
    /// <param name="source">x.</param>
    /// <param name="factors">One factor per column.</param>
    /// <param name="target">Receives the result; a buffer of its own, or a matrix of the input itself with its leading dimension.</param>
    /// <param name="targetLd">Leading dimension of the target in elements; 0 for rows without padding.</param>
    /// <param name="sourceLd">Leading dimension of x in elements; 0 for rows without padding.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    /// <exception cref="KernelException">The device does not have this step for rows of this length.</exception>
    public static void Multiply<T, TFactor, TResult>(
        CudaContext context, long rows, long cols, CudaBuffer<T> source, CudaBuffer<TFactor> factors, CudaBuffer<TResult> target, long targetLd = 0,
        long sourceLd = 0, CudaStream? stream = null)
        where T : unmanaged
        where TFactor : unmanaged
        where TResult : unmanaged =>
        OfCudaProduct(context, rows, cols, source, sourceLd, factors, stream).Apply(&NativeMethods.krn_cuda_multiply, target, targetLd);

    private static FusedCudaCall<T> OfCudaNorm<T>(
        CudaContext context, long rows, long cols, in CudaNormInput<T> input, in CudaNormWeights weights, in CudaHadamardOptions rotation, bool rotates,
        CudaStream? stream)
        where T : unmanaged
    {
        if (weights.Type == default)
            throw new ArgumentException("The weights are empty: make them with CudaNormWeights.Of.", nameof(weights));
        if (weights.Epsilon is not (> 0 and <= float.MaxValue))
            throw new ArgumentOutOfRangeException(nameof(weights), weights.Epsilon, "Epsilon must be positive and finite.");
        return new FusedCudaCall<T>
        {
            Context = context,
            Rows = rows,
            Cols = cols,
            Stream = stream,
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
        };
    }

    private static FusedCudaCall<T> OfCudaGate<T>(
        CudaContext context, long rows, long cols, in CudaGateInput<T> input, bool tanh, in CudaHadamardOptions rotation, bool rotates,
        CudaStream? stream)
        where T : unmanaged => new()
        {
            Context = context,
            Rows = rows,
            Cols = cols,
            Stream = stream,
            Source = input.Gate,
            SourceLd = input.GateLd,
            SourceWidth = input.Layout == GateLayout.Separate ? cols : unchecked(2 * cols),
            SourceName = "input.Gate",
            SourceLdName = "input.GateLd",
            Up = input.Up,
            UpLd = input.UpLd,
            Layout = input.Layout,
            GeluTanh = tanh,
            WeightName = "weights.Weight",
            Rotation = rotation,
            Rotates = rotates,
        };

    private static FusedCudaCall<T> OfCudaProduct<T, TFactor>(
        CudaContext context, long rows, long cols, CudaBuffer<T> source, long sourceLd, CudaBuffer<TFactor> factors, CudaStream? stream)
        where T : unmanaged
        where TFactor : unmanaged
    {
        ArgumentNullException.ThrowIfNull(factors);
        FusedCudaCall<T> call = OfCudaSource(context, rows, cols, source, sourceLd, default, stream);
        call.Rotates = false;
        call.Vectors = CudaNormWeights.Of(factors, 0);
        return call;
    }

    private static FusedCudaCall<T> OfCudaSource<T>(
        CudaContext context, long rows, long cols, CudaBuffer<T> source, long sourceLd, in CudaHadamardOptions rotation, CudaStream? stream)
        where T : unmanaged => new()
        {
            Context = context,
            Rows = rows,
            Cols = cols,
            Stream = stream,
            Source = source,
            SourceLd = sourceLd,
            SourceWidth = cols,
            SourceName = nameof(source),
            SourceLdName = nameof(sourceLd),
            WeightName = "factors",
            Rotation = rotation,
            Rotates = true,
        };
}
