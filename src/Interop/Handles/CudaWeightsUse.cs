using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Keeps weights on a device alive during a native call.</summary>
internal readonly unsafe ref struct CudaWeightsUse(CudaWeightsHandle handle)
{
    private readonly CudaWeightsHandle _handle = handle;

    public krn_cuda_weights* Pointer => _handle.Weights;

    public void Dispose() => _handle.DangerousRelease();
}
