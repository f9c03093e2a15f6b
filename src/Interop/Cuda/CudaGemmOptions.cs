using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>What a GEMM on a device does to float activations beyond the plain product. The default is nothing.</summary>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaGemmOptions
{
    /// <inheritdoc cref="GemmOptions.Compute"/>
    public ElementType? Compute { get; init; }

    /// <inheritdoc cref="GemmOptions.OutlierThreshold"/>
    public float OutlierThreshold { get; init; }

    /// <inheritdoc cref="GemmOptions.Lora"/>
    public CudaLoraAdapter Lora { get; init; }

    /// <inheritdoc cref="GemmOptions.LlmInt8(float)"/>
    public static CudaGemmOptions LlmInt8(float outlierThreshold = GemmOptions.DefaultOutlierThreshold) =>
        new() { Compute = ElementType.S8, OutlierThreshold = outlierThreshold };
}
