namespace Kernels;

/// <summary>Features of a processor that the kernels use. A bit is set when the processor has the feature and the operating
/// system saves the registers that it uses.</summary>
[Flags]
public enum CpuFeatures : ulong
{
    /// <summary>None of them.</summary>
    None = 0,

    /// <summary>256-bit integer vectors.</summary>
    Avx2 = 1,

    /// <summary>Fused multiply-add.</summary>
    Fma = 2,

    /// <summary>Conversion between binary16 and binary32.</summary>
    F16C = 4,

    /// <summary>AVX-512 Foundation.</summary>
    Avx512F = 8,

    /// <summary>AVX-512 byte and word instructions.</summary>
    Avx512Bw = 16,

    /// <summary>AVX-512 doubleword and quadword instructions.</summary>
    Avx512Dq = 32,

    /// <summary>AVX-512 instructions on shorter vectors.</summary>
    Avx512Vl = 64,

    /// <summary>AVX-512 integer dot product.</summary>
    Avx512Vnni = 128,

    /// <summary>AVX-512 bfloat16 dot product.</summary>
    Avx512Bf16 = 256,

    /// <summary>AVX-512 permutations of bytes.</summary>
    Avx512Vbmi = 512,

    /// <summary>NEON (Advanced SIMD) of 64-bit ARM.</summary>
    Neon = 4096,

    /// <summary>NEON integer dot product.</summary>
    NeonDotProd = 8192,

    /// <summary>NEON integer matrix product.</summary>
    NeonI8mm = 16384,

    /// <summary>NEON bfloat16 dot and matrix products.</summary>
    NeonBf16 = 32768,
}
