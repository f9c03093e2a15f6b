using System.Diagnostics;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <content>Rotation on CUDA devices: the same bits as on the CPU, unless <see cref="CudaHadamardOptions.TensorCores"/> gives them up.</content>
public static unsafe partial class Hadamard
{
    /// <summary>Rotates a matrix on a device, in the order of the stream. Waits for nothing, allocates nothing, and needs no workspace.</summary>
    /// <typeparam name="T">The type of source and target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">The rotation.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row: a multiple of <see cref="CudaHadamardOptions.N"/>.</param>
    /// <param name="source">The matrix.</param>
    /// <param name="target">Receives the result; may be the source, with the same leading dimension.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is too short or of another context, or the shape does not go with the rotation.</exception>
    /// <exception cref="KernelException">There is no matrix of this order for this device (<see cref="KernelStatus.Unsupported"/>).</exception>
    public static void Rotate<T>(
        CudaContext context, in CudaHadamardOptions options, long rows, long cols, CudaBuffer<T> source, CudaBuffer<T> target, long sourceLd = 0,
        long targetLd = 0, CudaStream? stream = null)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(target);
        ElementType type = FloatType<T>();
        krn_hadamard_options native = ToNative(context, options, nameof(options), takesTensorCores: true);
        Guard.Dimension(rows);
        Guard.Dimension(cols);
        CheckMultiple(cols, options.N, nameof(cols));
        sourceLd = Guard.LeadingDimension(sourceLd, cols);
        targetLd = Guard.LeadingDimension(targetLd, cols);
        Guard.Holds(source.Length, rows, cols, sourceLd, nameof(source));
        Guard.Holds(target.Length, rows, cols, targetLd, nameof(target));
        T* from = (T*)CudaAddress.Of(context, source), to = (T*)CudaAddress.Of(context, target);
        CheckOverlap(from, sourceLd, to, targetLd, rows, cols, nameof(source));
        using var use = new CudaUse(context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_hadamard(
            use.Context, &native, rows, cols, (int)type, from, sourceLd, to, targetLd, use.Stream));
    }

    /// <summary>Checks a rotation on a device.</summary>
    [StackTraceHidden]
    internal static krn_hadamard_options ToNative(CudaContext context, in CudaHadamardOptions options, string name, bool takesTensorCores)
    {
        CheckN(options.N, name);
        if (options.TensorCores && !takesTensorCores)
            throw new ArgumentException("Steps that rotate do so without tensor cores.", name);
        return new krn_hadamard_options
        {
            struct_size = (uint)sizeof(krn_hadamard_options),
            normalized = options.Normalized ? 1 : 0,
            n = options.N,
            inverse = options.Inverse ? 1 : 0,
            flags = options.TensorCores ? (int)krn_cuda_hadamard_flag.KRN_CUDA_HADAMARD_TENSOR_CORES : 0,
            signs_before = Signs(context, options.SignsBefore, options.N, name),
            signs_after = Signs(context, options.SignsAfter, options.N, name),
        };
    }

    [StackTraceHidden]
    private static byte* Signs(CudaContext context, CudaBuffer<byte>? signs, long n, string name)
    {
        if (signs is not null)
            Guard.Holds(signs.Length, (n + 7) / 8, name);
        return (byte*)CudaAddress.Of(context, signs, name);
    }
}
