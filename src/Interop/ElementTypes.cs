namespace Kernels;

/// <summary>Sizes and kinds of element types.</summary>
public static class ElementTypes
{
    /// <summary>Bits of one element.</summary>
    /// <param name="type">The type.</param>
    /// <returns>4, 8, 16 or 32.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="type"/> is not a type.</exception>
    public static int Bits(this ElementType type) => type switch
    {
        ElementType.F32 => 32,
        ElementType.F16 or ElementType.BF16 => 16,
        ElementType.S8 or ElementType.U8 or ElementType.F8E4M3 => 8,
        ElementType.S4 or ElementType.U4 or ElementType.C4 => 4,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not an ElementType."),
    };

    /// <summary>Tells whether a type is F32, F16 or BF16.</summary>
    /// <param name="type">The type.</param>
    /// <returns>True for the float types.</returns>
    public static bool IsFloat(this ElementType type) => type is ElementType.F32 or ElementType.F16 or ElementType.BF16;

    /// <summary>Tells whether a type is one to quantize to: S8, U8, S4, U4 or C4.</summary>
    /// <param name="type">The type.</param>
    /// <returns>True for the types of codes.</returns>
    public static bool IsQuantized(this ElementType type) =>
        type is ElementType.S8 or ElementType.U8 or ElementType.S4 or ElementType.U4 or ElementType.C4;

    /// <summary>Bytes of one row without padding.</summary>
    /// <param name="type">The type of its elements.</param>
    /// <param name="cols">How many there are.</param>
    /// <returns>The bytes; a row of an odd number of 4-bit elements is rounded up.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="type"/> is not a type, or <paramref name="cols"/> is negative
    /// or too large for the bytes to be counted.</exception>
    public static long RowBytes(this ElementType type, long cols)
    {
        int bits = type.Bits();
        ArgumentOutOfRangeException.ThrowIfNegative(cols);
        Int128 bytes = (((Int128)cols * bits) + 7) / 8;
        return bytes <= long.MaxValue
            ? (long)bytes
            : throw new ArgumentOutOfRangeException(nameof(cols), cols, "A row of so many elements has more than 2^63 - 1 bytes.");
    }

    /// <summary>The element type of a .NET type.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <returns>F32, F16 or BF16.</returns>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static ElementType Of<T>()
        where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            return ElementType.F32;
        if (typeof(T) == typeof(Half))
            return ElementType.F16;
        if (typeof(T) == typeof(BFloat16))
            return ElementType.BF16;
        throw new NotSupportedException($"{typeof(T)} is not a float type of the kernels: use float, Half or BFloat16.");
    }
}
