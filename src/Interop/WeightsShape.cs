namespace Kernels;

/// <summary>Shape and format of weights W[N,K].</summary>
/// <param name="Format">S8, S4 (both symmetric), U4 (with a zero point per group) or C4 (with a codebook).</param>
/// <param name="N">Output channels, at least 0.</param>
/// <param name="K">Inputs, at least 0.</param>
/// <param name="GroupSize">Elements per group, at least 16, or 0 for one scale per channel.</param>
public readonly record struct WeightsShape(ElementType Format, long N, long K, long GroupSize = 0)
{
    /// <summary>Type of the scales as stored: F32, F16, BF16, or U8 for double-quantized ones.</summary>
    public ElementType ScaleType { get; init; } = ElementType.F32;

    /// <summary>Null: U4 has integer zero points, the other formats none. F32, F16 or BF16: S8, S4 and U4 have a float offset per group of
    /// that type, and an element is code * scale + offset.</summary>
    public ElementType? ZeroType { get; init; }

    /// <summary>Groups are cut from the tensor read as one line of N * K elements, as bitsandbytes does; they may cross rows. Needs a
    /// <see cref="GroupSize"/> that has a common divisor of at least 16 with K.</summary>
    public bool IsFlattened { get; init; }

    /// <summary>Every input names its group ("activation order", GPTQ's g_idx).</summary>
    public bool IsOrdered { get; init; }

    /// <summary>The number of inputs that are outlier columns (LLM.int8()): when a call quantizes activations, these stay floats. Not for
    /// C4.</summary>
    public long OutlierCount { get; init; }

    /// <summary>Type that the weights of outlier columns are kept in: F32, F16 or BF16.</summary>
    public ElementType OutlierType { get; init; } = ElementType.F32;

    /// <summary>Whether weights have an integer zero point per group.</summary>
    public bool HasZeroPoints => Format == ElementType.U4 && ZeroType is null;

    /// <summary>Whether scales are double-quantized: indices into a map, times a nested scale, plus an offset.</summary>
    public bool HasNestedScales => ScaleType == ElementType.U8;

    /// <summary>The quantization that gives codes and scales of this shape.</summary>
    /// <param name="clipRatio">Share of a block's range that is kept.</param>
    /// <returns>Per channel or per group, asymmetric for U4; scales are rounded to <see cref="ScaleType"/>, if that is a float type.</returns>
    public QuantizeOptions ToQuantizeOptions(float clipRatio = 1f) => new(
        Format,
        GroupSize == 0 ? Granularity.Channel : Granularity.Group,
        Asymmetric: Format == ElementType.U4,
        GroupSize,
        clipRatio)
    {
        ScaleType = HasNestedScales ? ElementType.F32 : ScaleType,
    };
}
