using Kernels.Native;

namespace Kernels;

/// <summary>The native library that was loaded. Its first use loads it; a missing library, or one of another ABI version, is a
/// <see cref="DllNotFoundException"/> that says what to do.</summary>
public static unsafe class KernelLibrary
{
    /// <summary>Version of the library, "major.minor.patch".</summary>
    public static string Version => NativeText.Required(NativeMethods.krn_version_string());

    /// <summary>Compiler, build type and target of the library, one line.</summary>
    public static string BuildInfo => NativeText.Required(NativeMethods.krn_build_info());

    /// <summary>Version of the binary interface; the one that this assembly was built for.</summary>
    public static uint AbiVersion => NativeMethods.krn_abi_version();

    /// <summary>The file that was loaded; only its name when the system's library path provided it.</summary>
    public static string Path => NativeLibraryResolver.Load().Path;
}
