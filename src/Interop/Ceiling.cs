namespace Kernels;

/// <summary>What limits a kernel: a loop that does nothing else, measured on this machine.</summary>
public enum Ceiling
{
    /// <summary>8-bit dot products from registers into int32, with AVX2 into int16. Work: operations, 2 per multiply-add.</summary>
    Int8Dot = 1,

    /// <summary>16-bit multiply-adds into int32 from registers. Work: operations.</summary>
    Int16MultiplyAdd = 2,

    /// <summary>bfloat16 dot products into f32 from registers. Work: operations.</summary>
    Bf16Dot = 3,

    /// <summary>f32 fused multiply-adds from registers. Work: operations.</summary>
    F32Fma = 4,

    /// <summary>Reading the buffer once, front to back. Work: bytes read.</summary>
    Read = 10,

    /// <summary>Copying the first half of the buffer to the second with streaming stores. Work: bytes read plus bytes written.</summary>
    Copy = 11,

    /// <summary>Reading the first four fifths of the buffer and writing a line for every four to what follows, with streaming stores: the
    /// traffic of f32 that become 8-bit codes. Work: bytes read plus bytes written.</summary>
    Narrow = 12,
}
