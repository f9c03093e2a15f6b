using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Runs loops over a device's memory.</summary>
public static unsafe class CudaCeilings
{
    /// <summary>Elements that the destination of <see cref="CudaCeiling.Read"/> has: into them goes the bitwise OR of what each warp has read.</summary>
    public const int ReadElements = NativeMethods.KRN_CUDA_CEILING_READ_BYTES / sizeof(float);

    /// <summary>Runs a loop once, on the elements of <paramref name="a"/>.</summary>
    /// <param name="ceiling">The loop.</param>
    /// <param name="to">Where to; as long as <paramref name="a"/>, or <see cref="ReadElements"/> for <see cref="CudaCeiling.Read"/>.</param>
    /// <param name="a">What is read; a multiple of four elements.</param>
    /// <param name="b">For <see cref="CudaCeiling.Triad"/>: what is read too, as long as <paramref name="a"/>. Else null.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">A buffer is too short or of another context, or <paramref name="b"/> is missing.</exception>
    public static void Run(CudaCeiling ceiling, CudaBuffer<float> to, CudaBuffer<float> a, CudaBuffer<float>? b = null, CudaStream? stream = null)
    {
        Guard.Defined(ceiling);
        ArgumentNullException.ThrowIfNull(to);
        ArgumentNullException.ThrowIfNull(a);
        const int Vector = 4;
        if (a.Length % Vector != 0)
            throw new ArgumentException($"The buffer has {a.Length} elements, which is no multiple of {Vector}.", nameof(a));
        Guard.Holds(to.Length, ceiling == CudaCeiling.Read ? ReadElements : a.Length, nameof(to));
        if (to.Context != a.Context)
            throw new ArgumentException("The buffers belong to different contexts.", nameof(to));
        if (ceiling == CudaCeiling.Triad)
        {
            ArgumentNullException.ThrowIfNull(b);
            Guard.Holds(b.Length, a.Length, nameof(b));
            if (b.Context != a.Context)
                throw new ArgumentException("The buffers belong to different contexts.", nameof(b));
        }

        using var use = new CudaUse(a.Context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_ceiling_run(
            use.Context, (int)ceiling, a.Bytes, (void*)to.Address, (void*)a.Address, b is null ? null : (void*)b.Address, use.Stream));
    }
}
