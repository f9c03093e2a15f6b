using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>The quantized result of a fused step on a device.</summary>
/// <param name="options">What to quantize to. Per tensor only with a <see cref="StaticScale"/>.</param>
/// <param name="codes">Receives the codes; bytes beyond a row's width are not touched.</param>
/// <param name="scales">Receives <see cref="Quantizer.ScaleCount"/> scales.</param>
/// <param name="zeroPoints">Receives as many zero points; required with <see cref="QuantizeOptions.Asymmetric"/>, else may be null.</param>
/// <param name="codesLdBytes">Leading dimension of the codes in bytes; 0 for rows without padding.</param>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaFusedCodes(
    QuantizeOptions options, CudaBuffer<byte> codes, CudaBuffer<float> scales, CudaBuffer<int>? zeroPoints = null, long codesLdBytes = 0)
{
    /// <summary>What to quantize to.</summary>
    public QuantizeOptions Options { get; } = options;

    /// <summary>Receives the codes.</summary>
    public CudaBuffer<byte> Codes { get; } = codes;

    /// <summary>Receives the scales.</summary>
    public CudaBuffer<float> Scales { get; } = scales;

    /// <summary>Receives the zero points.</summary>
    public CudaBuffer<int>? ZeroPoints { get; } = zeroPoints;

    /// <summary>Leading dimension of the codes in bytes; 0 for rows without padding.</summary>
    public long CodesLdBytes { get; } = codesLdBytes;

    /// <summary>The scale of everything, as calibration found it; 0 for the scale of each block's values. It is written to every scale.</summary>
    public float StaticScale { get; init; }

    /// <summary>With a static scale and <see cref="QuantizeOptions.Asymmetric"/>: the zero point of everything.</summary>
    public int StaticZeroPoint { get; init; }
}
