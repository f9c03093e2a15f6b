using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>The left-hand side X[M,K] of a GEMM on a device, row-major, with the scales of its rows if it is quantized.</summary>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaActivations
{
    private CudaActivations(ElementType type, ICudaBuffer data, CudaBuffer<float>? scales, CudaBuffer<int>? zeroPoints, long ld)
    {
        Type = type;
        Data = data;
        Scales = scales;
        ZeroPoints = zeroPoints;
        Ld = ld;
    }

    /// <summary>F32, F16, BF16, S8, S4 or U8.</summary>
    public ElementType Type { get; }

    /// <summary>Leading dimension in elements; 0 for rows without padding.</summary>
    public long Ld { get; }

    /// <summary>One scale per row of S8, S4 or U8; null for floats.</summary>
    public CudaBuffer<float>? Scales { get; }

    /// <summary>One zero point per row of U8; null for the others.</summary>
    public CudaBuffer<int>? ZeroPoints { get; }

    internal ICudaBuffer? Data { get; }

    /// <summary>Floats, which the call quantizes to <see cref="CudaGemmOptions.Compute"/>.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="data">M rows of K.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The activations.</returns>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static CudaActivations Of<T>(CudaBuffer<T> data, long ld = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(data);
        return new CudaActivations(ElementTypes.Of<T>(), data, null, null, ld);
    }

    /// <summary>Signed bytes, symmetric, quantized per token.</summary>
    /// <param name="codes">M rows of K codes.</param>
    /// <param name="scales">One scale per row.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The activations.</returns>
    public static CudaActivations S8(CudaBuffer<byte> codes, CudaBuffer<float> scales, long ld = 0) => OfCodes(ElementType.S8, codes, scales, null, ld);

    /// <inheritdoc cref="S8(CudaBuffer{byte}, CudaBuffer{float}, long)"/>
    public static CudaActivations S8(CudaBuffer<sbyte> codes, CudaBuffer<float> scales, long ld = 0) =>
        OfCodes(ElementType.S8, codes, scales, null, ld);

    /// <summary>Signed nibbles, symmetric, quantized per token; two per byte, the first in the low nibble, every row on a byte of its own.</summary>
    /// <param name="codes">M rows of K codes.</param>
    /// <param name="scales">One scale per row.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding. A row takes (ld + 1) / 2 bytes.</param>
    /// <returns>The activations.</returns>
    public static CudaActivations S4(CudaBuffer<byte> codes, CudaBuffer<float> scales, long ld = 0) => OfCodes(ElementType.S4, codes, scales, null, ld);

    /// <summary>Unsigned bytes, asymmetric, quantized per token.</summary>
    /// <param name="codes">M rows of K codes.</param>
    /// <param name="scales">One scale per row.</param>
    /// <param name="zeroPoints">One zero point per row, in 0..255; others give undefined results.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The activations.</returns>
    public static CudaActivations U8(CudaBuffer<byte> codes, CudaBuffer<float> scales, CudaBuffer<int> zeroPoints, long ld = 0)
    {
        ArgumentNullException.ThrowIfNull(zeroPoints);
        return OfCodes(ElementType.U8, codes, scales, zeroPoints, ld);
    }

    private static CudaActivations OfCodes(
        ElementType type, ICudaBuffer codes, CudaBuffer<float> scales, CudaBuffer<int>? zeroPoints, long ld)
    {
        ArgumentNullException.ThrowIfNull(codes);
        ArgumentNullException.ThrowIfNull(scales);
        return new CudaActivations(type, codes, scales, zeroPoints, ld);
    }
}
