namespace Kernels;

/// <summary>Instruction set levels, each including the ones below it.</summary>
public enum Isa
{
    /// <summary>The best level that this machine and its operating system support.</summary>
    Auto = 0,

    /// <summary>The scalar reference: plain C, on every machine.</summary>
    Reference = 1,

    /// <summary>AVX2, FMA and F16C.</summary>
    Avx2 = 10,

    /// <summary>AVX-512 F, BW, DQ and VL.</summary>
    Avx512 = 20,

    /// <summary><see cref="Avx512"/> and VNNI, the integer dot product.</summary>
    Avx512Vnni = 21,

    /// <summary><see cref="Avx512Vnni"/> and BF16, the bfloat16 dot product.</summary>
    Avx512Bf16 = 22,

    /// <summary>NEON (Advanced SIMD) of 64-bit ARM.</summary>
    Neon = 30,

    /// <summary><see cref="Neon"/> and the integer dot product (DotProd).</summary>
    NeonDotProd = 31,

    /// <summary><see cref="NeonDotProd"/> and the integer matrix product (I8MM).</summary>
    NeonI8mm = 32,

    /// <summary><see cref="NeonI8mm"/> and the bfloat16 products (BF16).</summary>
    NeonBf16 = 33,
}
