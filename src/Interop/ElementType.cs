namespace Kernels;

/// <summary>Element types of tensors. The numbers are those of the C interface.</summary>
public enum ElementType
{
    /// <summary>IEEE 754 binary32: <see cref="float"/>.</summary>
    F32 = 1,

    /// <summary>IEEE 754 binary16: <see cref="Half"/>.</summary>
    F16 = 2,

    /// <summary>The upper half of a binary32: <see cref="BFloat16"/>.</summary>
    BF16 = 3,

    /// <summary>OCP FP8 E4M3: 4 bits of exponent with bias 7, 3 of fraction, largest 448, NaN but no infinities. What a
    /// <see cref="KvCache"/> may keep; no other operation takes it.</summary>
    F8E4M3 = 4,

    /// <summary>Signed 8-bit integer.</summary>
    S8 = 10,

    /// <summary>Unsigned 8-bit integer.</summary>
    U8 = 11,

    /// <summary>Signed 4-bit integer, -8..7 in two's complement, two per byte: element 2i is the low nibble of byte i. A row
    /// starts on a byte; the last high nibble of a row of odd width is zero.</summary>
    S4 = 12,

    /// <summary>Unsigned 4-bit integer, 0..15, packed like <see cref="S4"/>.</summary>
    U4 = 13,

    /// <summary>Index 0..15 into a <see cref="Codebook"/> of 16 floats, such as NF4, packed like <see cref="S4"/>.</summary>
    C4 = 14,
}
