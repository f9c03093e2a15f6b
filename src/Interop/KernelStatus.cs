namespace Kernels;

/// <summary>Outcome of a native call. The numbers are those of the C interface and never change.</summary>
public enum KernelStatus
{
    /// <summary>The call succeeded.</summary>
    Ok = 0,

    /// <summary>A pointer that must not be null was null.</summary>
    NullArgument = 1,

    /// <summary>An argument lies outside its documented range.</summary>
    InvalidArgument = 2,

    /// <summary>An option struct has a size that the library does not know.</summary>
    StructSize = 3,

    /// <summary>A tensor holds NaN or infinity where finite values are required.</summary>
    NonFinite = 4,

    /// <summary>A dimension is negative, or dimensions do not fit each other.</summary>
    Shape = 10,

    /// <summary>A leading dimension is smaller than the width of its tensor.</summary>
    LeadingDimension = 11,

    /// <summary>A buffer holds fewer bytes than the call needs.</summary>
    BufferTooSmall = 12,

    /// <summary>A workspace is not aligned to 64 bytes, or a tensor not to its element.</summary>
    Alignment = 13,

    /// <summary>A serialized blob is not one of ours, or not one that this library can read.</summary>
    BlobFormat = 14,

    /// <summary>A serialized blob is damaged: its checksum does not match.</summary>
    BlobChecksum = 15,

    /// <summary>The combination of formats has no kernel in this context.</summary>
    Unsupported = 20,

    /// <summary>The requested instruction set is not available on this machine.</summary>
    IsaUnavailable = 21,

    /// <summary>Memory could not be allocated.</summary>
    OutOfMemory = 30,

    /// <summary>A thread could not be started.</summary>
    Thread = 31,

    /// <summary>The pool of a KV cache has too few free pages.</summary>
    OutOfPages = 32,

    /// <summary>The CUDA driver is not installed, or is too old.</summary>
    DriverUnavailable = 40,

    /// <summary>The CUDA driver has no device of that number.</summary>
    NoDevice = 41,

    /// <summary>The CUDA driver reported an error.</summary>
    Device = 42,

    /// <summary>A kernel on the emulator did what no device allows, or what a device would leave undefined.</summary>
    KernelFault = 43,

    /// <summary>The library broke one of its own invariants.</summary>
    Internal = 90,
}
