using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Kernels;

/// <summary>The left-hand side X[M,K] of a GEMM, row-major, with the scales of its rows if it is quantized.</summary>
public readonly ref struct Activations
{
    private readonly ref readonly byte _data;

    private Activations(
        ElementType type, ref readonly byte data, long elements, ReadOnlySpan<float> scales, ReadOnlySpan<int> zeroPoints, long ld)
    {
        Type = type;
        _data = ref data;
        Elements = elements;
        Scales = scales;
        ZeroPoints = zeroPoints;
        Ld = ld;
    }

    /// <summary>F32, F16, BF16, S8, S4 or U8.</summary>
    public ElementType Type { get; }

    /// <summary>Leading dimension in elements; 0 for rows without padding.</summary>
    public long Ld { get; }

    /// <summary>One scale per row of S8, S4 or U8; empty for floats.</summary>
    public ReadOnlySpan<float> Scales { get; }

    /// <summary>One zero point per row of U8; empty for the others.</summary>
    public ReadOnlySpan<int> ZeroPoints { get; }

    /// <summary>The number of elements that the caller's span holds; of S4, of bytes.</summary>
    internal long Elements { get; }

    /// <summary>The first element; a null reference if there is none.</summary>
    internal ref readonly byte Data => ref _data;

    /// <summary>Floats: the weights are dequantized on the fly.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="data">M rows of K.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The activations.</returns>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static Activations Of<T>(ReadOnlySpan<T> data, long ld = 0)
        where T : unmanaged =>
        new(ElementTypes.Of<T>(), ref Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(data)), data.Length, default, default, ld);

    /// <summary>Signed bytes, symmetric, quantized per token.</summary>
    /// <param name="codes">M rows of K codes.</param>
    /// <param name="scales">One scale per row.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The activations.</returns>
    public static Activations S8(ReadOnlySpan<byte> codes, ReadOnlySpan<float> scales, long ld = 0) =>
        new(ElementType.S8, ref MemoryMarshal.GetReference(codes), codes.Length, scales, default, ld);

    /// <inheritdoc cref="S8(ReadOnlySpan{byte}, ReadOnlySpan{float}, long)"/>
    public static Activations S8(ReadOnlySpan<sbyte> codes, ReadOnlySpan<float> scales, long ld = 0) =>
        S8(MemoryMarshal.Cast<sbyte, byte>(codes), scales, ld);

    /// <summary>Signed nibbles, symmetric, quantized per token; two per byte, the first in the low nibble, every row on a byte of its own.</summary>
    /// <param name="codes">M rows of K codes.</param>
    /// <param name="scales">One scale per row.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding. A row takes (ld + 1) / 2 bytes.</param>
    /// <returns>The activations.</returns>
    public static Activations S4(ReadOnlySpan<byte> codes, ReadOnlySpan<float> scales, long ld = 0) =>
        new(ElementType.S4, ref MemoryMarshal.GetReference(codes), codes.Length, scales, default, ld);

    /// <summary>Unsigned bytes, asymmetric, quantized per token.</summary>
    /// <param name="codes">M rows of K codes.</param>
    /// <param name="scales">One scale per row.</param>
    /// <param name="zeroPoints">One zero point per row, in 0..255.</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The activations.</returns>
    public static Activations U8(ReadOnlySpan<byte> codes, ReadOnlySpan<float> scales, ReadOnlySpan<int> zeroPoints, long ld = 0) =>
        new(ElementType.U8, ref MemoryMarshal.GetReference(codes), codes.Length, scales, zeroPoints, ld);

    /// <summary>A tensor quantized per token: symmetric S8 or S4, or asymmetric U8.</summary>
    /// <param name="tensor">The tensor, M rows of K.</param>
    /// <returns>The activations.</returns>
    /// <exception cref="ArgumentException">The tensor has another type or granularity.</exception>
    public static Activations Of(QuantizedTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        QuantizeOptions options = tensor.Options;
        bool perRow = options.Granularity is Granularity.Token or Granularity.Channel;
        if (perRow && options is { Type: ElementType.S8, Asymmetric: false })
            return S8(tensor.Codes, tensor.Scales);
        if (perRow && options is { Type: ElementType.S4, Asymmetric: false })
            return S4(tensor.Codes, tensor.Scales);
        if (perRow && options is { Type: ElementType.U8, Asymmetric: true })
            return U8(tensor.Codes, tensor.Scales, tensor.ZeroPoints);
        throw new ArgumentException(
            $"Activations are symmetric S8 or S4, or asymmetric U8, per token; this tensor is {options}.", nameof(tensor));
    }
}
