using System.Globalization;

namespace Kernels;

/// <summary>A 16-bit float with the range of <see cref="float"/>: 1 bit of sign, 8 of exponent, 7 of fraction.</summary>
public readonly struct BFloat16 : IEquatable<BFloat16>
{
    private readonly ushort _bits;

    private BFloat16(ushort bits) => _bits = bits;

    /// <summary>The 16 bits.</summary>
    public ushort Bits => _bits;

    /// <summary>The number with given bits.</summary>
    /// <param name="bits">Sign, exponent and fraction.</param>
    /// <returns>The number.</returns>
    public static BFloat16 FromBits(ushort bits) => new(bits);

    /// <summary>Rounds a float to nearest, ties to even.</summary>
    /// <param name="value">The float. NaN stays NaN.</param>
    /// <returns>The nearest number; infinity if it is too large.</returns>
    public static BFloat16 FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
            return new((ushort)((bits >> 16) | 0x40)); // quiet, so that a payload in the low half cannot leave an infinity
        uint half = 0x7FFF + ((bits >> 16) & 1);
        return new((ushort)((bits + half) >> 16));
    }

    /// <summary>Widens to a float; exact.</summary>
    /// <returns>The same number.</returns>
    public float ToSingle() => BitConverter.UInt32BitsToSingle((uint)_bits << 16);

    /// <summary>Rounds a float to nearest, ties to even.</summary>
    /// <param name="value">The float.</param>
    public static explicit operator BFloat16(float value) => FromSingle(value);

    /// <summary>Widens to a float; exact.</summary>
    /// <param name="value">The number.</param>
    public static explicit operator float(BFloat16 value) => value.ToSingle();

    /// <summary>Compares as floats do: NaN equals nothing, the zeros equal each other.</summary>
    /// <param name="left">One number.</param>
    /// <param name="right">The other.</param>
    public static bool operator ==(BFloat16 left, BFloat16 right) => left.ToSingle() == right.ToSingle();

    /// <summary>The opposite of ==.</summary>
    /// <param name="left">One number.</param>
    /// <param name="right">The other.</param>
    public static bool operator !=(BFloat16 left, BFloat16 right) => !(left == right);

    /// <summary>Compares as <see cref="float.Equals(float)"/> does: NaN equals NaN.</summary>
    /// <param name="other">The other number.</param>
    /// <returns>Whether they are equal.</returns>
    public bool Equals(BFloat16 other) => ToSingle().Equals(other.ToSingle());

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is BFloat16 other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => ToSingle().GetHashCode();

    /// <inheritdoc/>
    public override string ToString() => ToSingle().ToString(CultureInfo.InvariantCulture);
}
