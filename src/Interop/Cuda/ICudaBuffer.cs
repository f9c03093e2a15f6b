namespace Kernels;

/// <summary>A <see cref="CudaBuffer{T}"/> of whatever type.</summary>
internal interface ICudaBuffer
{
    /// <inheritdoc cref="CudaBuffer{T}.Context"/>
    CudaContext Context { get; }

    /// <inheritdoc cref="CudaBuffer{T}.Length"/>
    long Length { get; }

    /// <inheritdoc cref="CudaBuffer{T}.Bytes"/>
    long Bytes { get; }

    /// <inheritdoc cref="CudaBuffer{T}.Address"/>
    nint Address { get; }
}
