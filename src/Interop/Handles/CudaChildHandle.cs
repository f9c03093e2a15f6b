using System.Runtime.InteropServices;
using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Something that lives in a context: memory or a stream.</summary>
internal abstract unsafe class CudaChildHandle : SafeHandle
{
    private readonly CudaContextHandle _context;

    protected CudaChildHandle(CudaContextHandle context)
        : base(0, ownsHandle: true)
    {
        bool added = false;
        context.DangerousAddRef(ref added);
        _context = context;
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The pointer of what is owned; the caller holds a reference.</summary>
    public void* Pointer => (void*)handle;

    /// <summary>The context, which lives at least as long.</summary>
    protected internal krn_cuda_context* Context => _context.Pointer;

    protected override bool ReleaseHandle()
    {
        int status = Free();
        _context.DangerousRelease();
        return status == 0;
    }

    /// <summary>Gives back what is owned.</summary>
    protected abstract int Free();

    /// <summary>Ends a construction that failed: nothing is owned, and the context is let go.</summary>
    protected void Abandon()
    {
        SetHandleAsInvalid();
        _context.DangerousRelease();
    }

    protected void Own(void* pointer) => SetHandle((nint)pointer);
}

/// <summary>Owns device memory.</summary>
internal sealed unsafe class CudaMemoryHandle : CudaChildHandle
{
    public CudaMemoryHandle(CudaContextHandle context, long bytes)
        : base(context)
    {
        void* memory = null;
        int status = NativeMethods.krn_cuda_memory_allocate(Context, bytes, &memory);
        if (status != 0 || memory is null)
            Abandon();
        else
            Own(memory);
        KernelException.ThrowIfFailed(status);
    }

    protected override int Free() => NativeMethods.krn_cuda_memory_free(Context, Pointer);
}

/// <summary>Owns a stream.</summary>
internal sealed unsafe class CudaStreamHandle : CudaChildHandle
{
    public CudaStreamHandle(CudaContextHandle context)
        : base(context)
    {
        void* stream = null;
        int status = NativeMethods.krn_cuda_stream_create(Context, &stream);
        if (status != 0 || stream is null)
            Abandon();
        else
            Own(stream);
        KernelException.ThrowIfFailed(status);
    }

    protected override int Free() => NativeMethods.krn_cuda_stream_destroy(Context, Pointer);
}

/// <summary>Owns weights on a device.</summary>
internal sealed unsafe class CudaWeightsHandle : CudaChildHandle
{
    public CudaWeightsHandle(CudaContextHandle context, in ContextUse host, in WeightsUse weights, void* stream)
        : base(context)
    {
        krn_cuda_weights* made = null;
        int status = NativeMethods.krn_cuda_weights_create(Context, host.Pointer, weights.Pointer, null, 0, stream, &made);
        if (status != 0)
            Abandon();
        else
            Own(made);
        KernelException.ThrowIfFailed(status);
    }

    /// <summary>The weights; the caller holds a reference.</summary>
    public krn_cuda_weights* Weights => (krn_cuda_weights*)Pointer;

    protected override int Free()
    {
        NativeMethods.krn_cuda_weights_destroy(Weights);
        return 0;
    }
}
