using System.Runtime.InteropServices;
using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Owns a krn_cuda_context. What is made of it holds a reference, so that it ends last in whatever order things are disposed.</summary>
internal sealed unsafe class CudaContextHandle : SafeHandle
{
    public CudaContextHandle(krn_cuda_backend* backend, int device, CudaClass architecture)
        : base(0, ownsHandle: true)
    {
        krn_cuda_context_options options = new()
        {
            struct_size = (uint)sizeof(krn_cuda_context_options),
            device = device,
            architecture = (int)architecture,
            backend = backend,
        };
        krn_cuda_context* context = null;
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_context_create(&options, &context));
        SetHandle((nint)context);
    }

    public override bool IsInvalid => handle == 0;

    public krn_cuda_context* Pointer => (krn_cuda_context*)handle;

    protected override bool ReleaseHandle()
    {
        NativeMethods.krn_cuda_context_destroy(Pointer);
        return true;
    }
}
