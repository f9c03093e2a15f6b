using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Keeps packed weights alive during a native call.</summary>
internal readonly unsafe ref struct WeightsUse
{
    private readonly PackedWeights _weights;

    internal WeightsUse(PackedWeights weights, krn_weights* pointer)
    {
        _weights = weights;
        Pointer = pointer;
    }

    public krn_weights* Pointer { get; }

    public void Dispose() => _weights.DangerousRelease();
}
