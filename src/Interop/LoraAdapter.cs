using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Kernels;

/// <summary>A low-rank term that a GEMM adds to its result: scale . (X . A^T) . B^T (Hu et al., "LoRA", 2021).</summary>
public readonly ref struct LoraAdapter
{
    private readonly ref readonly byte _a;
    private readonly ref readonly byte _b;

    private LoraAdapter(
        ElementType type, ref readonly byte a, long aElements, ref readonly byte b, long bElements, long rank, float scale, long aLd, long bLd)
    {
        Type = type;
        _a = ref a;
        _b = ref b;
        AElements = aElements;
        BElements = bElements;
        Rank = rank;
        Scale = scale;
        ALd = aLd;
        BLd = bLd;
    }

    /// <summary>F32, F16 or BF16, of both matrices.</summary>
    public ElementType Type { get; }

    /// <summary>Rows of A and columns of B; 0 for no adapter.</summary>
    public long Rank { get; }

    /// <summary>Factor of the term, often alpha / rank.</summary>
    public float Scale { get; }

    /// <summary>Leading dimension of A in elements; 0 for rows without padding.</summary>
    public long ALd { get; }

    /// <summary>Leading dimension of B in elements; 0 for rows without padding.</summary>
    public long BLd { get; }

    /// <summary>The number of elements that the caller's spans hold.</summary>
    internal long AElements { get; }

    /// <inheritdoc cref="AElements"/>
    internal long BElements { get; }

    /// <summary>The first element; a null reference if there is none.</summary>
    internal ref readonly byte A => ref _a;

    /// <inheritdoc cref="A"/>
    internal ref readonly byte B => ref _b;

    /// <summary>An adapter.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="a">A[rank, K]: one row of K for every rank.</param>
    /// <param name="b">B[N, rank]: one row of `rank` elements for every output channel.</param>
    /// <param name="rank">The rank, at least 1.</param>
    /// <param name="scale">Factor of the term, often alpha / rank; finite.</param>
    /// <param name="aLd">Leading dimension of <paramref name="a"/> in elements; 0 for rows without padding.</param>
    /// <param name="bLd">Leading dimension of <paramref name="b"/> in elements; 0 for rows without padding.</param>
    /// <returns>The adapter.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="rank"/> is below 1.</exception>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static LoraAdapter Of<T>(ReadOnlySpan<T> a, ReadOnlySpan<T> b, long rank, float scale, long aLd = 0, long bLd = 0)
        where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        return new(
            ElementTypes.Of<T>(), ref Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(a)), a.Length,
            ref Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(b)), b.Length, rank, scale, aLd, bLd);
    }
}
