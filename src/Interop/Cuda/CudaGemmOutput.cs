using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>The result Y[M,N] of a GEMM on a device, row-major, and what is added to it.</summary>
/// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
/// <param name="data">Receives M rows of N.</param>
/// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaGemmOutput<T>(CudaBuffer<T> data, long ld = 0)
    where T : unmanaged
{
    /// <summary>Receives M rows of N.</summary>
    public CudaBuffer<T> Data { get; } = data;

    /// <summary>Leading dimension in elements; 0 for rows without padding.</summary>
    public long Ld { get; } = ld;

    /// <summary>Added to every row: N floats; null for none.</summary>
    public CudaBuffer<float>? Bias { get; init; }

    /// <summary>Added last: M rows of N; null for none. May be <see cref="Data"/> itself, with the same leading dimension.</summary>
    public CudaBuffer<T>? Residual { get; init; }

    /// <summary>Leading dimension of <see cref="Residual"/> in elements; 0 for rows without padding.</summary>
    public long ResidualLd { get; init; }
}
