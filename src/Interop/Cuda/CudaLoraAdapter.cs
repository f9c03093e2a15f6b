using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>A low-rank term that a GEMM on a device adds to its result: scale . (X . A^T) . B^T (Hu et al., "LoRA", 2021).</summary>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaLoraAdapter
{
    private CudaLoraAdapter(ElementType type, ICudaBuffer a, ICudaBuffer b, long rank, float scale, long aLd, long bLd)
    {
        Type = type;
        A = a;
        B = b;
        Rank = rank;
        Scale = scale;
        ALd = aLd;
        BLd = bLd;
    }

    /// <summary>F32, F16 or BF16, of both matrices.</summary>
    public ElementType Type { get; }

    /// <summary>Rows of A and columns of B, at most 65536; 0 for no adapter.</summary>
    public long Rank { get; }

    /// <summary>Factor of the term, often alpha / rank.</summary>
    public float Scale { get; }

    /// <summary>Leading dimension of A in elements; 0 for rows without padding.</summary>
    public long ALd { get; }

    /// <summary>Leading dimension of B in elements; 0 for rows without padding.</summary>
    public long BLd { get; }

    internal ICudaBuffer? A { get; }

    internal ICudaBuffer? B { get; }

    /// <summary>An adapter.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="a">A[rank, K]: one row of K for every rank.</param>
    /// <param name="b">B[N, rank]: one row of `rank` elements for every output channel.</param>
    /// <param name="rank">The rank, at least 1 and at most 65536.</param>
    /// <param name="scale">Factor of the term, often alpha / rank; finite.</param>
    /// <param name="aLd">Leading dimension of <paramref name="a"/> in elements; 0 for rows without padding.</param>
    /// <param name="bLd">Leading dimension of <paramref name="b"/> in elements; 0 for rows without padding.</param>
    /// <returns>The adapter.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="rank"/> is below 1.</exception>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static CudaLoraAdapter Of<T>(CudaBuffer<T> a, CudaBuffer<T> b, long rank, float scale, long aLd = 0, long bLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(a);
        ArgumentNullException.ThrowIfNull(b);
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        return new CudaLoraAdapter(ElementTypes.Of<T>(), a, b, rank, scale, aLd, bLd);
    }
}
