using System.Runtime.InteropServices;
using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Owns a krn_context, the loop that it calls back and the workspace that calls without one of their own use.</summary>
internal sealed unsafe class ContextHandle : SafeHandle
{
    private GCHandle _loopHandle;
    private void* _workspace;
    private long _workspaceBytes;

    public ContextHandle(KernelContextOptions options)
        : base(0, ownsHandle: true)
    {
        krn_context_options native = new()
        {
            struct_size = (uint)sizeof(krn_context_options),
            isa = (int)options.Isa,
            num_threads = options.Threads,
        };
        if (options.ParallelFor is not null)
        {
            Loop = new ParallelLoop(options.ParallelFor);
            _loopHandle = GCHandle.Alloc(Loop);
            native.parallel_for = ParallelLoop.Callback;
            native.host = (void*)GCHandle.ToIntPtr(_loopHandle);
        }

        try
        {
            krn_context* context = null;
            KernelException.ThrowIfFailed(NativeMethods.krn_context_create(&native, &context));
            SetHandle((nint)context);
        }
        catch
        {
            FreeLoop();
            throw;
        }
    }

    public ParallelLoop? Loop { get; }

    public override bool IsInvalid => handle == 0;

    public krn_context* Pointer => (krn_context*)handle;

    /// <summary>At least so many bytes, aligned to 64. To be called by the one call that is using the context.</summary>
    public void* Workspace(long bytes)
    {
        if (bytes > _workspaceBytes)
        {
            NativeMethods.krn_memory_free(_workspace);
            _workspace = null;
            _workspaceBytes = 0;
            void* grown = null;
            KernelException.ThrowIfFailed(NativeMethods.krn_memory_allocate(bytes, &grown));
            _workspace = grown;
            _workspaceBytes = bytes;
        }

        return _workspace;
    }

    protected override bool ReleaseHandle()
    {
        NativeMethods.krn_context_destroy(Pointer);
        NativeMethods.krn_memory_free(_workspace);
        FreeLoop();
        return true;
    }

    private void FreeLoop()
    {
        if (_loopHandle.IsAllocated)
            _loopHandle.Free();
    }
}
