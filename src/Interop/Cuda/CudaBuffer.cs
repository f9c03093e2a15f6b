using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Device memory.</summary>
/// <typeparam name="T">The type of its elements.</typeparam>
/// <remarks>Work that uses a buffer must have ended before it is disposed: synchronize the stream first.</remarks>
public sealed unsafe class CudaBuffer<T> : ICudaBuffer, IDisposable
    where T : unmanaged
{
    private readonly CudaMemoryHandle _handle;

    /// <summary>Allocates device memory, which holds whatever was there. May wait for the device.</summary>
    /// <param name="context">The context.</param>
    /// <param name="length">How many elements, at least 0.</param>
    /// <exception cref="KernelException">There is not so much (<see cref="KernelStatus.OutOfMemory"/>).</exception>
    public CudaBuffer(CudaContext context, long length)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, long.MaxValue / sizeof(T));
        context.ThrowIfDisposed();
        Context = context;
        Length = length;
        _handle = new CudaMemoryHandle(context.Handle, length * sizeof(T));
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>The number of elements.</summary>
    public long Length { get; }

    /// <summary>The number of bytes.</summary>
    public long Bytes => Length * sizeof(T);

    /// <summary>The address on the device; 0 for a buffer without elements.</summary>
    /// <exception cref="ObjectDisposedException">The buffer has been disposed.</exception>
    public nint Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(Length != 0 && _handle.IsClosed, this);
            return (nint)_handle.Pointer;
        }
    }

    /// <summary>Copies to the device, in the order of the stream. The span is free for use when the call returns.</summary>
    /// <param name="source">What to copy; no longer than the buffer behind <paramref name="start"/>.</param>
    /// <param name="start">The first element of the buffer to write.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The span does not fit.</exception>
    public void CopyFrom(ReadOnlySpan<T> source, long start = 0, CudaStream? stream = null)
    {
        CheckRange(source.Length, start, nameof(source));
        using var use = new CudaUse(Context, stream);
        fixed (T* from = source)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_cuda_memory_copy_to_device(
                use.Context, (T*)Address + start, from, (long)source.Length * sizeof(T), use.Stream));
        }
    }

    /// <summary>Copies from the device when the work before it on the stream has ended, and waits for that.</summary>
    /// <param name="destination">Where to; no longer than the buffer behind <paramref name="start"/>.</param>
    /// <param name="start">The first element of the buffer to read.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The span is longer than the buffer.</exception>
    public void CopyTo(Span<T> destination, long start = 0, CudaStream? stream = null)
    {
        CheckRange(destination.Length, start, nameof(destination));
        using var use = new CudaUse(Context, stream);
        fixed (T* to = destination)
        {
            // The span is pinned until the copy has been made.
            int status = NativeMethods.krn_cuda_memory_copy_to_host(
                use.Context, to, (T*)Address + start, (long)destination.Length * sizeof(T), use.Stream);
            if (status == 0)
                status = NativeMethods.krn_cuda_stream_synchronize(use.Context, use.Stream);
            KernelException.ThrowIfFailed(status);
        }
    }

    /// <summary>Copies from another buffer of the same length, in the order of the stream.</summary>
    /// <param name="source">The other buffer.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The lengths differ, or the buffers are of two contexts.</exception>
    public void CopyFrom(CudaBuffer<T> source, CudaStream? stream = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.Context != Context)
            throw new ArgumentException("The buffer belongs to another context.", nameof(source));
        if (source.Length != Length)
            throw new ArgumentException($"The buffer has {source.Length} elements, this one {Length}.", nameof(source));
        using var use = new CudaUse(Context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_memory_copy_on_device(
            use.Context, (void*)Address, (void*)source.Address, Bytes, use.Stream));
    }

    /// <summary>Copies elements to another place of the buffer, which they must not overlap, in the order of the stream.</summary>
    internal void CopyWithin(long from, long to, long count, CudaStream? stream)
    {
        using var use = new CudaUse(Context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_memory_copy_on_device(
            use.Context, (T*)Address + to, (T*)Address + from, count * sizeof(T), use.Stream));
    }

    /// <summary>Sets every byte, in the order of the stream.</summary>
    /// <param name="value">The byte.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    public void Fill(byte value, CudaStream? stream = null)
    {
        using var use = new CudaUse(Context, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_memory_set(use.Context, (void*)Address, value, Bytes, use.Stream));
    }

    /// <summary>Frees the memory; may wait for the device.</summary>
    public void Dispose() => _handle.Dispose();

    private void CheckRange(int length, long start, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Length);
        if (length > Length - start)
            throw new ArgumentException($"The span has {length} elements, but the buffer has {Length - start} from {start} on.", name);
    }
}
