using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Rotary position embedding (RoPE): rotates queries and keys by angles that grow with their
/// position.</summary>
/// <remarks>
/// Type arguments are <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>. A tensor is [tokens, heads,
/// head dimension], heads one after the other; a leading dimension is the distance from one token to the next, and 0
/// means that they follow each other without padding. Every instruction set and thread count gives the same bits.
/// </remarks>
public static unsafe class Rope
{
    /// <summary>Name of the variant that runs in a context, such as "avx512".</summary>
    /// <param name="context">The context.</param>
    /// <returns>The name.</returns>
    public static string Variant(KernelContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Required(NativeMethods.krn_rope_variant(use.Pointer));
    }

    /// <summary>Rotates a tensor where it lies. Allocates nothing.</summary>
    /// <typeparam name="T">Its type.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="table">Cosines and sines.</param>
    /// <param name="heads">Heads of a token, at least 0.</param>
    /// <param name="positions">The position of each token; the table has to cover it.</param>
    /// <param name="tensor">The tensor.</param>
    /// <param name="ld">Its leading dimension in elements.</param>
    public static void RotateInPlace<T>(
        KernelContext context, RopeTable table, long heads, ReadOnlySpan<int> positions, Span<T> tensor, long ld = 0)
        where T : unmanaged
    {
        long checkedLd = Check(context, table, heads, positions, tensor.Length, ld, nameof(tensor), nameof(ld));
        Run<T, T>(context, table, heads, positions, tensor, checkedLd, tensor, checkedLd, nameof(tensor));
    }

    /// <summary>Rotates a tensor into another. Allocates nothing.</summary>
    /// <typeparam name="TSource">The type of the source.</typeparam>
    /// <typeparam name="TTarget">The type of the target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="table">Cosines and sines.</param>
    /// <param name="heads">Heads of a token, at least 0.</param>
    /// <param name="positions">The position of each token; the table has to cover it.</param>
    /// <param name="source">The tensor.</param>
    /// <param name="target">Receives the rotated tensor; must not overlap the source, or be it, in type and leading
    /// dimension too.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    public static void Rotate<TSource, TTarget>(
        KernelContext context, RopeTable table, long heads, ReadOnlySpan<int> positions, ReadOnlySpan<TSource> source, Span<TTarget> target,
        long sourceLd = 0, long targetLd = 0)
        where TSource : unmanaged
        where TTarget : unmanaged
    {
        sourceLd = Check(context, table, heads, positions, source.Length, sourceLd, nameof(source), nameof(sourceLd));
        targetLd = Check(context, table, heads, positions, target.Length, targetLd, nameof(target), nameof(targetLd));
        Run(context, table, heads, positions, source, sourceLd, target, targetLd, nameof(target));
    }

    // One side of a call: returns its leading dimension.
    private static long Check(
        KernelContext context, RopeTable table, long heads, ReadOnlySpan<int> positions, int length, long ld, string name, string ldName)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(table);
        Guard.Dimension(heads);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(heads, Array.MaxLength);
        long width = heads * table.Options.HeadDim;
        ld = Guard.LeadingDimension(ld, width, ldName);
        Guard.Holds(length, positions.Length, width, ld, name);
        foreach (int position in positions)
        {
            if (!table.Covers(position))
            {
                throw new ArgumentOutOfRangeException(
                    nameof(positions), position, $"The table has {table.Count} positions from {table.FirstPosition}.");
            }
        }

        return ld;
    }

    private static void Run<TSource, TTarget>(
        KernelContext context, RopeTable table, long heads, ReadOnlySpan<int> positions, ReadOnlySpan<TSource> source, long sourceLd,
        Span<TTarget> target, long targetLd, string targetName)
        where TSource : unmanaged
        where TTarget : unmanaged
    {
        ElementType sourceType = ElementTypes.Of<TSource>(), targetType = ElementTypes.Of<TTarget>();
        krn_rope_options native = RopeOptions.ToNative(table.Options);
        long tokens = positions.Length, width = heads * table.Options.HeadDim;

        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (TSource* sourcePinned = source)
        fixed (TTarget* targetPinned = target)
        fixed (int* positionsPinned = positions)
        fixed (float* tablePinned = table.CosSin)
        {
            var written = new Region(targetPinned, tokens, width * sizeof(TTarget), targetLd * sizeof(TTarget));
            bool isInPlace = sourcePinned == targetPinned && sourceType == targetType && sourceLd == targetLd;
            if (!isInPlace)
                Guard.Disjoint(written, new Region(sourcePinned, tokens, width * sizeof(TSource), sourceLd * sizeof(TSource)), targetName, nameof(source));
            Guard.Disjoint(written, new Region(positionsPinned, tokens * sizeof(int)), targetName, nameof(positions));
            use.Complete(NativeMethods.krn_rope(
                use.Pointer, &native, tokens, heads, (int)sourceType, Pin.OrEmpty(sourcePinned, &nothing), sourceLd,
                Pin.OrEmpty(positionsPinned, &nothing), Pin.OrEmpty(tablePinned, &nothing), table.FirstPosition, table.Count, (int)targetType,
                Pin.OrEmpty(targetPinned, &nothing), targetLd));
        }
    }
}
