using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Keeps a context, and a stream of it if there is one, alive during a native call.</summary>
internal readonly unsafe ref struct CudaUse
{
    private readonly CudaContextHandle _context;
    private readonly CudaStreamHandle? _stream;

    public CudaUse(CudaContext context, CudaStream? stream)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (stream is not null && stream.Context != context)
            throw new ArgumentException("The stream belongs to another context.", nameof(stream));
        context.ThrowIfDisposed();
        bool added = false;
        context.Handle.DangerousAddRef(ref added);
        _context = context.Handle;
        if (stream is null)
            return;
        bool streamAdded = false;
        try
        {
            stream.Handle.DangerousAddRef(ref streamAdded);
        }
        catch
        {
            _context.DangerousRelease();
            throw;
        }

        _stream = stream.Handle;
    }

    public krn_cuda_context* Context => _context.Pointer;

    public void* Stream => _stream is null ? null : _stream.Pointer;

    public void Dispose()
    {
        _stream?.DangerousRelease();
        _context.DangerousRelease();
    }
}
