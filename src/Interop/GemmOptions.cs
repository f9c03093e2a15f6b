namespace Kernels;

/// <summary>What a GEMM does to float activations beyond the plain product. The default is nothing.</summary>
public readonly ref struct GemmOptions
{
    /// <summary>The threshold of LLM.int8().</summary>
    public const float DefaultOutlierThreshold = 6;

    /// <summary>S8, U8 or S4: the call quantizes the activations to it, per token, and multiplies integers. The result has the bits of
    /// <see cref="Quantizer"/> followed by the GEMM. Null: activations are taken as they are.</summary>
    public ElementType? Compute { get; init; }

    /// <summary>Columns of the activations that hold a magnitude above this are multiplied in binary32 and left out of the quantized product;
    /// needs <see cref="Compute"/>, and weights without outlier columns of their own (<see cref="WeightsShape.OutlierCount"/>). 0: only
    /// columns of the weights' own, if they have any.</summary>
    public float OutlierThreshold { get; init; }

    /// <summary>A low-rank term to add, computed from the activations as they are passed; the default is none.</summary>
    public LoraAdapter Lora { get; init; }

    /// <summary>LLM.int8() (Dettmers et al., 2022): 8-bit products, and binary32 for the columns that hold outliers.</summary>
    /// <param name="outlierThreshold">The magnitude above which a value is an outlier.</param>
    /// <returns>The options.</returns>
    public static GemmOptions LlmInt8(float outlierThreshold = DefaultOutlierThreshold) =>
        new() { Compute = ElementType.S8, OutlierThreshold = outlierThreshold };
}
