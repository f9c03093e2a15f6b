using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>What a norm on a device is of: x[rows, cols], or x + residual.</summary>
/// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
/// <param name="data">x.</param>
/// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaNormInput<T>(CudaBuffer<T> data, long ld = 0)
    where T : unmanaged
{
    /// <summary>x.</summary>
    public CudaBuffer<T> Data { get; } = data;

    /// <summary>Leading dimension in elements; 0 for rows without padding.</summary>
    public long Ld { get; } = ld;

    /// <summary>Added to x before the norm; null for none.</summary>
    public CudaBuffer<T>? Residual { get; init; }

    /// <summary>Leading dimension of <see cref="Residual"/> in elements; 0 for rows without padding.</summary>
    public long ResidualLd { get; init; }

    /// <summary>Receives x + residual; required with a residual, else null. May be the residual or x itself, with the same leading dimension.</summary>
    public CudaBuffer<T>? Sum { get; init; }

    /// <summary>Leading dimension of <see cref="Sum"/> in elements; 0 for rows without padding.</summary>
    public long SumLd { get; init; }
}
