using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Work that was recorded once and is launched as a whole, which costs less than its calls. The emulator has none.</summary>
/// <remarks>What the recorded calls use must stay alive and in place: buffers, weights and workspaces.</remarks>
public sealed unsafe class CudaGraph : IDisposable
{
    private readonly CudaPrimaryContext _primary;
    private void* _executable;

    private CudaGraph(CudaContext context, CudaPrimaryContext primary, void* executable)
    {
        Context = context;
        _primary = primary;
        _executable = executable;
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>Records what calls put on a stream; none of it is run.</summary>
    /// <param name="stream">The stream; not the default one, which cannot be recorded.</param>
    /// <param name="work">Makes the calls, all with this stream.</param>
    /// <returns>The graph.</returns>
    /// <exception cref="NotSupportedException">The context is the emulator's.</exception>
    /// <exception cref="KernelException">The driver reports an error, such as a call that cannot be recorded.</exception>
    public static CudaGraph Capture(CudaStream stream, Action<CudaStream> work)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(work);
        var primary = new CudaPrimaryContext(stream.Context);
        try
        {
            return new CudaGraph(stream.Context, primary, Record(primary, stream, work));
        }
        catch
        {
            primary.Dispose();
            throw;
        }
    }

    /// <summary>Puts the recorded work on a stream.</summary>
    /// <param name="stream">The stream, or null for the default one.</param>
    public void Launch(CudaStream? stream = null)
    {
        ObjectDisposedException.ThrowIf(_executable is null, this);
        using var use = new CudaUse(Context, stream);
        using CudaPrimaryContext.Scope scope = _primary.Enter();
        CudaDriver.ThrowIfFailed(CudaDriver.cuGraphLaunch(_executable, use.Stream), nameof(CudaDriver.cuGraphLaunch));
    }

    /// <summary>Frees the graph.</summary>
    public void Dispose()
    {
        if (_executable is null)
            return;
        using (_primary.Enter())
            _ = CudaDriver.cuGraphExecDestroy(_executable);
        _executable = null;
        _primary.Dispose();
    }

    private static void* Record(CudaPrimaryContext primary, CudaStream stream, Action<CudaStream> work)
    {
        using var use = new CudaUse(stream.Context, stream);
        using CudaPrimaryContext.Scope scope = primary.Enter();
        void* graph = null;
        CudaDriver.ThrowIfFailed(
            CudaDriver.cuStreamBeginCapture_v2(use.Stream, CudaDriver.CaptureThreadLocal), nameof(CudaDriver.cuStreamBeginCapture_v2));
        try
        {
            work(stream);
        }
        catch
        {
            // The stream leaves the recording; what was recorded is not wanted.
            if (CudaDriver.cuStreamEndCapture(use.Stream, &graph) == 0 && graph is not null)
                _ = CudaDriver.cuGraphDestroy(graph);
            throw;
        }

        CudaDriver.ThrowIfFailed(CudaDriver.cuStreamEndCapture(use.Stream, &graph), nameof(CudaDriver.cuStreamEndCapture));
        void* executable = null;
        int result = CudaDriver.cuGraphInstantiateWithFlags(&executable, graph, 0);
        _ = CudaDriver.cuGraphDestroy(graph);
        CudaDriver.ThrowIfFailed(result, nameof(CudaDriver.cuGraphInstantiateWithFlags));
        return executable;
    }
}
