using System.Runtime.InteropServices;

namespace Kernels.Native;

/// <summary>Loads kernels_cuda and its emulator, which lie beside kernels_cpu: the three are of one build.</summary>
internal static unsafe class CudaLibrary
{
    /// <summary>The library that runs kernels on the CPU.</summary>
    public const string EmulatorName = "kernels_cuda_emulator";

    private static readonly Lock s_lock = new();
    private static nint s_handle;
    private static krn_cuda_backend* s_emulator;

    /// <summary>Loads kernels_cuda unless it is loaded already.</summary>
    /// <exception cref="DllNotFoundException">It is not there, cannot be loaded, or has another ABI version.</exception>
    public static nint Load()
    {
        lock (s_lock)
        {
            if (s_handle == 0)
                s_handle = Open(PathOf(NativeMethods.CudaLibraryName));
            return s_handle;
        }
    }

    /// <summary>The emulator's backend, or null where the library is not.</summary>
    /// <exception cref="DllNotFoundException">The library is there but cannot be loaded.</exception>
    public static krn_cuda_backend* Emulator()
    {
        lock (s_lock)
        {
            string path = PathOf(EmulatorName);
            if (s_emulator is null && File.Exists(path))
            {
                nint export = NativeLibrary.GetExport(LoadFile(path), "krn_cuda_emulator");
                s_emulator = ((delegate* unmanaged[Cdecl]<krn_cuda_backend*>)export)();
            }

            return s_emulator;
        }
    }

    /// <summary>Where a library is that lies beside kernels_cpu; only its name when the system's library path provided that.</summary>
    internal static string PathOf(string library)
    {
        string directory = Path.GetDirectoryName(NativeLibraryResolver.Load().Path) ?? string.Empty;
        return Path.Combine(directory, NativeLibraryResolver.FileNameOf(NativeLibraryResolver.Rid, library));
    }

    private static nint Open(string path)
    {
        nint handle = LoadFile(path);
        string? problem = NativeLibrary.TryGetExport(handle, nameof(NativeMethods.krn_cuda_abi_version), out nint export)
            ? NativeLibraryResolver.DescribeMismatch(((delegate* unmanaged[Cdecl]<uint>)export)(), path)
            : $"The file {path} is not the kernel library for CUDA: it does not export {nameof(NativeMethods.krn_cuda_abi_version)}.";
        if (problem is null)
            return handle;
        NativeLibrary.Free(handle);
        throw new DllNotFoundException(problem);
    }

    private static nint LoadFile(string path)
    {
        try
        {
            return NativeLibrary.Load(path);
        }
        catch (Exception failure) when (failure is DllNotFoundException or BadImageFormatException)
        {
            throw new DllNotFoundException(
                $"The native kernel library {path} cannot be loaded ({failure.Message.Trim()}). It belongs beside {NativeLibraryResolver.FileName}: "
                + "reinstall Kernels.Interop, or build it (cmake --preset release && cmake --build --preset release).",
                failure);
        }
    }
}
