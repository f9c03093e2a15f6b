namespace Kernels;

/// <summary>What a norm is of: x[rows, cols], or x + residual.</summary>
/// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
/// <param name="data">x.</param>
/// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
public readonly ref struct NormInput<T>(ReadOnlySpan<T> data, long ld = 0)
    where T : unmanaged
{
    /// <summary>x.</summary>
    public ReadOnlySpan<T> Data { get; } = data;

    /// <summary>Leading dimension in elements; 0 for rows without padding.</summary>
    public long Ld { get; } = ld;

    /// <summary>Added to x before the norm; empty for none.</summary>
    public ReadOnlySpan<T> Residual { get; init; }

    /// <summary>Leading dimension of <see cref="Residual"/> in elements; 0 for rows without padding.</summary>
    public long ResidualLd { get; init; }

    /// <summary>Receives x + residual; required with a residual, else empty. May be the residual or x itself, with the same leading dimension.</summary>
    public Span<T> Sum { get; init; }

    /// <summary>Leading dimension of <see cref="Sum"/> in elements; 0 for rows without padding.</summary>
    public long SumLd { get; init; }
}
