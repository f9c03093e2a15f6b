namespace Kernels;

/// <summary>Loops over a device's memory that do nothing else: what kernels are held against.</summary>
public enum CudaCeiling
{
    /// <summary>Reads the buffer once. Work: its bytes.</summary>
    Read = 1,

    /// <summary>Copies a buffer to another. Work: twice its bytes.</summary>
    Copy = 2,

    /// <summary>An f32 buffer plus three times another, an fma each. Work: three times its bytes.</summary>
    Triad = 3,
}
