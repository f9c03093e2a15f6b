using System.Diagnostics;
using Kernels.Native;

namespace Kernels.Handles;

/// <summary>The driver's primary context of a device, for calls of the driver itself. The thread's own is put back afterwards.</summary>
internal sealed unsafe class CudaPrimaryContext : IDisposable
{
    private readonly int _device;
    private void* _context;

    /// <exception cref="NotSupportedException">The context is the emulator's.</exception>
    public CudaPrimaryContext(CudaContext context)
    {
        if (context.Device.IsEmulator)
            throw new NotSupportedException("The emulator has no events and graphs: its calls return when their work has been done.");
        context.ThrowIfDisposed();
        int device;
        void* primary;
        CudaDriver.ThrowIfFailed(CudaDriver.cuDeviceGet(&device, context.Device.Ordinal), nameof(CudaDriver.cuDeviceGet));
        CudaDriver.ThrowIfFailed(CudaDriver.cuDevicePrimaryCtxRetain(&primary, device), nameof(CudaDriver.cuDevicePrimaryCtxRetain));
        _device = device;
        _context = primary;
    }

    public Scope Enter()
    {
        CudaDriver.ThrowIfFailed(CudaDriver.cuCtxPushCurrent_v2(_context), nameof(CudaDriver.cuCtxPushCurrent_v2));
        return new Scope(_context);
    }

    /// <summary>Ends what <see cref="Enter"/> began, where its scope is not at hand.</summary>
    public void Leave() => new Scope(_context).Dispose();

    public void Dispose()
    {
        if (_context is null)
            return;
        _context = null;
        _ = CudaDriver.cuDevicePrimaryCtxRelease_v2(_device);
    }

    /// <summary>Until it is disposed the context is current on this thread.</summary>
    public readonly ref struct Scope(void* context)
    {
        private readonly void* _context = context;

        public void Dispose()
        {
            void* popped;
            int result = CudaDriver.cuCtxPopCurrent_v2(&popped);
            Debug.Assert(result == 0 && popped == _context, "Contexts are left in the order in which they were entered.");
        }
    }
}
