using System.Diagnostics.CodeAnalysis;
using Kernels.Handles;

namespace Kernels;

/// <summary>A queue of work of a device. Where a call takes no stream, or null, it uses the default stream.</summary>
[SuppressMessage("Naming", "CA1711", Justification = "It is what CUDA calls a stream, not one of bytes.")]
public sealed class CudaStream : IDisposable
{
    /// <summary>Makes a stream that does not wait for the default stream.</summary>
    /// <param name="context">The context.</param>
    /// <exception cref="KernelException">The driver reports an error.</exception>
    public CudaStream(CudaContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.ThrowIfDisposed();
        Context = context;
        Handle = new CudaStreamHandle(context.Handle);
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>The driver's stream (CUstream), for other libraries that take one.</summary>
    /// <exception cref="ObjectDisposedException">The stream has been disposed.</exception>
    public unsafe nint Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(Handle.IsClosed, this);
            return (nint)Handle.Pointer;
        }
    }

    internal CudaStreamHandle Handle { get; }

    /// <summary>Waits until all work of the stream has ended.</summary>
    /// <exception cref="KernelException">A kernel failed (<see cref="KernelStatus.Device"/>, on the emulator
    /// <see cref="KernelStatus.KernelFault"/>).</exception>
    public void Synchronize() => Context.Synchronize(this);

    /// <summary>Ends the stream. Work that is on it is finished first.</summary>
    public void Dispose() => Handle.Dispose();
}
