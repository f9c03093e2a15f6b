using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>A point in the work of a stream, for waiting and for measuring time. The emulator has none.</summary>
public sealed unsafe class CudaEvent : IDisposable
{
    private readonly CudaPrimaryContext _primary;
    private void* _event;

    /// <summary>Makes an event.</summary>
    /// <param name="context">The context.</param>
    /// <exception cref="NotSupportedException">The context is the emulator's.</exception>
    /// <exception cref="KernelException">The driver reports an error.</exception>
    public CudaEvent(CudaContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        Context = context;
        _primary = new CudaPrimaryContext(context);
        try
        {
            void* made;
            using (_primary.Enter())
                CudaDriver.ThrowIfFailed(CudaDriver.cuEventCreate(&made, CudaDriver.EventDefault), nameof(CudaDriver.cuEventCreate));
            _event = made;
        }
        catch
        {
            _primary.Dispose();
            throw;
        }
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>Whether the work before the last record has ended.</summary>
    public bool IsComplete
    {
        get
        {
            using CudaPrimaryContext.Scope scope = EnterLive();
            return CudaDriver.IsReady(CudaDriver.cuEventQuery(_event), nameof(CudaDriver.cuEventQuery));
        }
    }

    /// <summary>The time between two events.</summary>
    /// <param name="start">The event that was recorded first.</param>
    /// <param name="end">The event that was recorded last. Both must be complete.</param>
    /// <returns>Milliseconds, to about half a microsecond.</returns>
    public static double ElapsedMilliseconds(CudaEvent start, CudaEvent end)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentNullException.ThrowIfNull(end);
        ObjectDisposedException.ThrowIf(end._event is null, end);
        float milliseconds;
        using CudaPrimaryContext.Scope scope = start.EnterLive();
        CudaDriver.ThrowIfFailed(
            CudaDriver.cuEventElapsedTime(&milliseconds, start._event, end._event), nameof(CudaDriver.cuEventElapsedTime));
        return milliseconds;
    }

    /// <summary>Puts the event behind the work that is on a stream.</summary>
    /// <param name="stream">The stream, or null for the default one.</param>
    public void Record(CudaStream? stream = null)
    {
        using var use = new CudaUse(Context, stream);
        using CudaPrimaryContext.Scope scope = EnterLive();
        CudaDriver.ThrowIfFailed(CudaDriver.cuEventRecord(_event, use.Stream), nameof(CudaDriver.cuEventRecord));
    }

    /// <summary>Lets a stream wait for the event; the caller does not wait.</summary>
    /// <param name="stream">The stream.</param>
    public void Block(CudaStream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        using var use = new CudaUse(Context, stream);
        using CudaPrimaryContext.Scope scope = EnterLive();
        CudaDriver.ThrowIfFailed(CudaDriver.cuStreamWaitEvent(use.Stream, _event, 0), nameof(CudaDriver.cuStreamWaitEvent));
    }

    /// <summary>Waits until the work before the last record has ended.</summary>
    public void Synchronize()
    {
        using CudaPrimaryContext.Scope scope = EnterLive();
        CudaDriver.ThrowIfFailed(CudaDriver.cuEventSynchronize(_event), nameof(CudaDriver.cuEventSynchronize));
    }

    /// <summary>Frees the event.</summary>
    public void Dispose()
    {
        if (_event is null)
            return;
        using (_primary.Enter())
            _ = CudaDriver.cuEventDestroy_v2(_event);
        _event = null;
        _primary.Dispose();
    }

    private CudaPrimaryContext.Scope EnterLive()
    {
        ObjectDisposedException.ThrowIf(_event is null, this);
        return _primary.Enter();
    }
}
