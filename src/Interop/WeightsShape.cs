namespace Kernels;

/// <summary>Shape and format of weights W[N,K].</summary>
/// <param name="Format">S8, S4 (both symmetric) or U4 (with a zero point per group).</param>
/// <param name="N">Output channels, at least 0.</param>
/// <param name="K">Inputs, at least 0.</param>
/// <param name="GroupSize">Elements per group, at least 16, or 0 for one scale per channel.</param>
public readonly record struct WeightsShape(ElementType Format, long N, long K, long GroupSize = 0)
{
    /// <summary>The quantization that gives codes and scales of this shape.</summary>
    /// <param name="clipRatio">Share of a block's range that is kept.</param>
    /// <returns>Per channel or per group, asymmetric for U4.</returns>
    public QuantizeOptions ToQuantizeOptions(float clipRatio = 1f) => new(
        Format,
        GroupSize == 0 ? Granularity.Channel : Granularity.Group,
        Asymmetric: Format == ElementType.U4,
        GroupSize,
        clipRatio);
}
