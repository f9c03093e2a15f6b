using Kernels.Native;

namespace Kernels;

/// <summary>Zeroed memory aligned to 64 bytes; from 2 MiB on aligned to huge pages, which the operating system is asked to use.</summary>
/// <remarks>A span does not keep the buffer alive, so memory is freed by <see cref="Dispose"/> alone and never by the garbage collector:
/// a buffer that is not disposed leaks. Spans must not be used after <see cref="Dispose"/>.</remarks>
public sealed unsafe class AlignedBuffer : IDisposable
{
    private readonly nint _memory;
    private int _disposed;

    /// <summary>Allocates memory.</summary>
    /// <param name="bytes">How many bytes, at least 0.</param>
    /// <exception cref="KernelException">There is not so much (<see cref="KernelStatus.OutOfMemory"/>).</exception>
    public AlignedBuffer(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        void* memory = null;
        KernelException.ThrowIfFailed(NativeMethods.krn_memory_allocate(bytes, &memory));
        _memory = (nint)memory;
        Length = bytes;
    }

    /// <summary>The number of bytes.</summary>
    public long Length { get; }

    /// <summary>All bytes.</summary>
    /// <exception cref="InvalidOperationException">There are more than a span can hold; use <see cref="Slice{T}"/>.</exception>
    public Span<byte> Span => AsSpan<byte>();

    /// <summary>All elements of a type that fit.</summary>
    /// <typeparam name="T">The type of the elements.</typeparam>
    /// <returns>A span over the memory.</returns>
    /// <exception cref="InvalidOperationException">There are more than a span can hold; use <see cref="Slice{T}"/>.</exception>
    public Span<T> AsSpan<T>()
        where T : unmanaged
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        long elements = Length / sizeof(T);
        return elements <= int.MaxValue
            ? new Span<T>((T*)_memory, (int)elements)
            : throw new InvalidOperationException($"The buffer holds {elements} elements, more than a span can.");
    }

    /// <summary>Some elements of a type.</summary>
    /// <typeparam name="T">The type of the elements.</typeparam>
    /// <param name="start">Index of the first, in elements.</param>
    /// <param name="length">How many.</param>
    /// <returns>A span over them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">They do not all lie in the buffer.</exception>
    public Span<T> Slice<T>(long start, int length)
        where T : unmanaged
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        long elements = Length / sizeof(T);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, elements);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, elements - start);
        return new Span<T>((T*)_memory + start, length);
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            NativeMethods.krn_memory_free((void*)_memory);
    }
}
