namespace Kernels.Native;

/// <summary>The functions of the C interface, as they are. The rest is generated, a file per header.</summary>
internal static partial class NativeMethods
{
    /// <summary>The library that has the functions; the operating system adds prefix and suffix.</summary>
    public const string LibraryName = "kernels_cpu";

    /// <summary>The library that has the functions for CUDA devices.</summary>
    public const string CudaLibraryName = "kernels_cuda";
}
