namespace Kernels;

/// <summary>Which elements share a scale.</summary>
public enum Granularity
{
    /// <summary>All of them: one scale.</summary>
    Tensor = 0,

    /// <summary>Those of a row of weights, an output channel: a scale per row.</summary>
    Channel = 1,

    /// <summary>Those of a row of activations, a token: a scale per row.</summary>
    Token = 2,

    /// <summary>Those of a group of consecutive elements of a row; the last group of a row may be shorter.</summary>
    Group = 3,
}

/// <summary>What to quantize to.</summary>
/// <param name="Type">S8, U8, S4, U4 or C4.</param>
/// <param name="Granularity">Which elements share a scale.</param>
/// <param name="Asymmetric">Whether every block has a zero point of its own; otherwise it is the middle of the type's range. Not for C4.</param>
/// <param name="GroupSize">Elements per group, at least 16; read only with <see cref="Granularity.Group"/>.</param>
/// <param name="ClipRatio">Share of a block's range that is kept, in (0, 1]; values beyond it saturate. 0 means 1.</param>
public readonly record struct QuantizeOptions(
    ElementType Type, Granularity Granularity, bool Asymmetric = false, long GroupSize = 0, float ClipRatio = 1f)
{
    /// <summary>What scales are rounded to before codes are made with them: F32, F16 or BF16. They are reported as floats.</summary>
    public ElementType ScaleType { get; init; } = ElementType.F32;

    /// <summary>The codebook of C4; null for NF4, and for every other type.</summary>
    public Codebook? Codebook { get; init; }
}

/// <summary>The error that quantization made, over a whole tensor.</summary>
/// <param name="MeanSquaredError">Mean of (x - x^)^2; 0 for an empty tensor.</param>
/// <param name="MaxAbsError">Largest |x - x^|.</param>
public readonly record struct QuantizeError(double MeanSquaredError, double MaxAbsError);
