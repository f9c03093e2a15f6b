using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>A device with the kernels loaded onto it.</summary>
/// <remarks>Calls that take a context put their work on a stream and return; nothing waits but what says so. Several threads may use one
/// context at once. Buffers, streams, events and graphs keep their context alive until they are disposed.</remarks>
public sealed unsafe class CudaContext : IDisposable
{
    private volatile bool _disposed;

    /// <summary>Makes a context.</summary>
    /// <param name="device">The device.</param>
    /// <param name="architecture">The class of kernels to use. Asking for one that the device lacks is an error, never a silent fallback.</param>
    /// <exception cref="KernelException">The device is too old (<see cref="KernelStatus.Unsupported"/>), lacks the class
    /// (<see cref="KernelStatus.IsaUnavailable"/>), or the driver reports an error.</exception>
    public CudaContext(CudaDevice device, CudaClass architecture = CudaClass.Auto)
    {
        ArgumentNullException.ThrowIfNull(device);
        Guard.Defined(architecture);
        Device = device;
        Handle = new CudaContextHandle(device.Backend, device.Ordinal, architecture);
        Class = (CudaClass)NativeMethods.krn_cuda_context_class(Handle.Pointer);
        Properties = ReadProperties(Handle.Pointer);
    }

    /// <summary>The device.</summary>
    public CudaDevice Device { get; }

    /// <summary>The class of kernels that runs; never <see cref="CudaClass.Auto"/>.</summary>
    public CudaClass Class { get; }

    /// <summary>What the device has.</summary>
    public CudaProperties Properties { get; }

    internal CudaContextHandle Handle { get; }

    /// <summary>The name of a class in case ids and on command lines: "auto", "sm80", "sm90a".</summary>
    /// <param name="architecture">The class.</param>
    /// <returns>Its lower-case name.</returns>
    public static string NameOf(CudaClass architecture)
    {
        Guard.Defined(architecture);
        return NativeText.Required(NativeMethods.krn_cuda_class_name((int)architecture));
    }

    /// <summary>Makes the device's primary CUDA context current on the calling thread, as other libraries that work on it want (the CUDA
    /// runtime, cuBLASLt). Calls of this library need no such thing.</summary>
    /// <returns>What puts the thread's own context back when it is disposed, on the same thread.</returns>
    /// <exception cref="NotSupportedException">The context is the emulator's.</exception>
    /// <exception cref="KernelException">The driver reports an error.</exception>
    public CudaCurrentContext MakeCurrent() => new(this);

    /// <summary>Waits until all work of the default stream has ended.</summary>
    /// <exception cref="KernelException">A kernel failed (<see cref="KernelStatus.Device"/>, on the emulator
    /// <see cref="KernelStatus.KernelFault"/>).</exception>
    public void Synchronize() => Synchronize(null);

    /// <summary>Frees the context when nothing that was made of it is left.</summary>
    public void Dispose()
    {
        _disposed = true;
        Handle.Dispose();
    }

    /// <summary>A handle that others hold stays open, but the context is not to be used any more.</summary>
    internal void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_disposed, this);

    internal void Synchronize(CudaStream? stream)
    {
        using var use = new CudaUse(this, stream);
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_stream_synchronize(use.Context, use.Stream));
    }

    private static CudaProperties ReadProperties(krn_cuda_context* context)
    {
        krn_cuda_properties native = new() { struct_size = (uint)sizeof(krn_cuda_properties) };
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_context_properties(context, &native));
        const int MajorStep = 1000;
        const int MinorStep = 10;
        int driver = native.driver_version;
        return new CudaProperties(
            NativeText.Required(native.name),
            new Version(native.compute_major, native.compute_minor),
            native.multiprocessors,
            native.shared_bytes_per_block,
            native.shared_bytes_per_multiprocessor,
            native.threads_per_multiprocessor,
            native.registers_per_multiprocessor,
            native.l2_bytes,
            native.memory_bytes,
            native.clock_khz,
            native.memory_clock_khz,
            native.memory_bus_bits,
            driver == 0 ? null : new Version(driver / MajorStep, driver % MajorStep / MinorStep));
    }
}
