using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Runs the loops that measure what this machine could do at most. The caller takes the time, on as many threads as it
/// likes, and divides.</summary>
public static unsafe class Ceilings
{
    private const int BufferGranularity = 4096;

    /// <summary>Name of the instruction sequence that a ceiling runs, such as "avx512vnni".</summary>
    /// <param name="context">The context.</param>
    /// <param name="ceiling">The ceiling.</param>
    /// <returns>The name, or null when the context's instruction set has none.</returns>
    public static string? Variant(KernelContext context, Ceiling ceiling)
    {
        ArgumentNullException.ThrowIfNull(context);
        Guard.Defined(ceiling);
        using ContextUse use = context.Share();
        return NativeText.Optional(NativeMethods.krn_ceiling_variant(use.Pointer, (int)ceiling));
    }

    /// <summary>Runs a ceiling's loop on the calling thread.</summary>
    /// <param name="context">The context; any number of threads may use it here at once.</param>
    /// <param name="ceiling">The ceiling.</param>
    /// <param name="buffer">For <see cref="Ceiling.Read"/>, <see cref="Ceiling.Copy"/> and <see cref="Ceiling.Narrow"/>: a multiple of 4096 bytes, aligned to 64, as in an
    /// <see cref="AlignedBuffer"/>; otherwise ignored.</param>
    /// <param name="iterations">Passes over the buffer, or turns of the register loop, each of a few hundred operations; at least 1.</param>
    /// <returns>The work done: operations or bytes, as the ceiling says.</returns>
    /// <exception cref="KernelException">The context has no such loop (<see cref="KernelStatus.Unsupported"/>).</exception>
    public static double Run(KernelContext context, Ceiling ceiling, Span<byte> buffer, long iterations)
    {
        ArgumentNullException.ThrowIfNull(context);
        Guard.Defined(ceiling);
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        bool usesBuffer = ceiling is Ceiling.Read or Ceiling.Copy or Ceiling.Narrow;
        if (usesBuffer && (buffer.IsEmpty || buffer.Length % BufferGranularity != 0))
            throw new ArgumentException($"The buffer has {buffer.Length} bytes; a multiple of {BufferGranularity} is needed.", nameof(buffer));

        using ContextUse use = context.Share();
        double work = 0;
        fixed (byte* pinned = buffer)
        {
            if (usesBuffer)
                Guard.Aligned(pinned, nameof(buffer));
            KernelException.ThrowIfFailed(NativeMethods.krn_ceiling_run(
                use.Pointer, (int)ceiling, usesBuffer ? pinned : null, usesBuffer ? buffer.Length : 0, iterations, &work));
        }

        return work;
    }
}
