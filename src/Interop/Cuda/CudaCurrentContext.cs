using Kernels.Handles;

namespace Kernels;

/// <summary>A context that is current on a thread until this is disposed; <see cref="CudaContext.MakeCurrent"/> makes one.</summary>
public sealed class CudaCurrentContext : IDisposable
{
    private CudaPrimaryContext? _primary;

    internal CudaCurrentContext(CudaContext context)
    {
        var primary = new CudaPrimaryContext(context);
        try
        {
            _ = primary.Enter();
        }
        catch
        {
            primary.Dispose();
            throw;
        }

        _primary = primary;
    }

    /// <summary>Puts the thread's own context back.</summary>
    public void Dispose()
    {
        if (_primary is not { } primary)
            return;
        _primary = null;
        primary.Leave();
        primary.Dispose();
    }
}
