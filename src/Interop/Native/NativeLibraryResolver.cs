using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Kernels.Native;

/// <summary>Finds, checks and loads the native library at the first call into it.</summary>
/// <remarks>Searched in this order: the folder that KERNELS_NATIVE_DIR names (and then nowhere else, because an explicit choice must
/// not be replaced silently); runtimes/RID/native beside this assembly; beside this assembly; the folders that the .NET host
/// searches for native assets; the operating system's own search.</remarks>
internal static unsafe class NativeLibraryResolver
{
    internal const string DirectoryVariable = "KERNELS_NATIVE_DIR";

    private static readonly Lock s_lock = new();
    private static nint s_handle;
    private static string s_path = string.Empty;

    /// <summary>The portable runtime identifier of this process; the runtime's own may name a distribution.</summary>
    internal static string Rid { get; } = RidOf(
        OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux", RuntimeInformation.ProcessArchitecture);

    internal static string FileName { get; } = FileNameOf(Rid);

    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "A resolver must be in place before the first call, whichever that is.")]
    internal static void Register() =>
        NativeLibrary.SetDllImportResolver(
            typeof(NativeLibraryResolver).Assembly,
            static (name, _, _) => name switch
            {
                NativeMethods.LibraryName => Load().Handle,
                NativeMethods.CudaLibraryName => CudaLibrary.Load(),
                CudaDriver.LibraryName => CudaDriver.Load(),
                _ => 0,
            });

    /// <summary>Loads the library unless it is loaded already.</summary>
    /// <exception cref="DllNotFoundException">It is not there, cannot be loaded, or has another ABI version.</exception>
    internal static (nint Handle, string Path) Load()
    {
        lock (s_lock)
        {
            if (s_handle == 0)
            {
                (s_handle, s_path) = Find(
                    Environment.GetEnvironmentVariable(DirectoryVariable),
                    SearchDirectories(Rid, AssemblyDirectory(), AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string));
            }


            return (s_handle, s_path);
        }
    }

    /// <summary>Loads the library from the forced directory if there is one, else from the first directory that has it.</summary>
    internal static (nint Handle, string Path) Find(string? forced, IReadOnlyList<string> directories)
    {
        if (!string.IsNullOrEmpty(forced))
        {
            string path = Path.Combine(Path.GetFullPath(forced), FileName);
            return File.Exists(path)
                ? (Open(path), path)
                : throw new DllNotFoundException(
                    $"The environment variable {DirectoryVariable} is '{forced}', but there is no {FileName} in that folder. "
                    + "Set it to the folder that holds the native kernel library, or unset it to use the one installed with Kernels.Interop.");
        }

        foreach (string directory in directories)
        {
            string path = Path.Combine(directory, FileName);
            if (File.Exists(path))
                return (Open(path), path);
        }

        if (NativeLibrary.TryLoad(FileName, out nint handle))
        {
            CheckAbi(handle, FileName);
            return (handle, FileName);
        }

        throw new DllNotFoundException(DescribeMissing(directories));
    }

    /// <summary>The sentence for a library that is nowhere.</summary>
    internal static string DescribeMissing(IReadOnlyList<string> directories) =>
        $"The native kernel library {FileName} was not found in {string.Join(", ", directories)} nor on the system's library path. "
        + $"Install a Kernels.Interop package with assets for {Rid}, or build the library (cmake --preset release && cmake --build --preset release) "
        + $"and set the environment variable {DirectoryVariable} to the folder that holds it.";

    /// <summary>The sentence for a library that does not fit, or null if it does.</summary>
    internal static string? DescribeMismatch(uint abiVersion, string path) =>
        abiVersion == NativeMethods.KRN_ABI_VERSION
            ? null
            : $"The native kernel library {path} has ABI version {abiVersion}, but this Kernels.Interop needs version {NativeMethods.KRN_ABI_VERSION}. "
              + "Use the library that came in the same package (clean the output folder and restore), rebuild it from the same sources, "
              + $"or correct the environment variable {DirectoryVariable}.";

    /// <summary>The runtime identifier of an operating system and an architecture.</summary>
    internal static string RidOf(string system, Architecture architecture) => $"{system}-{architecture.ToString().ToLowerInvariant()}";

    /// <summary>What the library is called where `rid` runs.</summary>
    internal static string FileNameOf(string rid, string library = NativeMethods.LibraryName) =>
        rid.StartsWith("win", StringComparison.Ordinal) ? $"{library}.dll"
        : rid.StartsWith("osx", StringComparison.Ordinal) ? $"lib{library}.dylib"
        : $"lib{library}.so";

    /// <summary>Where the library is looked for, in order; `hostDirectories` is the list of the .NET host, if it gives one.</summary>
    internal static List<string> SearchDirectories(string rid, string beside, string? hostDirectories)
    {
        List<string> directories = [Path.Combine(beside, "runtimes", rid, "native"), beside];
        if (hostDirectories is not null)
            directories.AddRange(hostDirectories.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries));
        return directories;
    }

    [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "Where the location is empty the application's folder is used.")]
    private static string AssemblyDirectory()
    {
        string location = typeof(NativeLibraryResolver).Assembly.Location;
        return string.IsNullOrEmpty(location) ? AppContext.BaseDirectory : Path.GetDirectoryName(location)!;
    }

    private static nint Open(string path)
    {
        nint handle;
        try
        {
            handle = NativeLibrary.Load(path);
        }
        catch (Exception failure) when (failure is DllNotFoundException or BadImageFormatException)
        {
            throw new DllNotFoundException(
                $"The native kernel library {path} is there but cannot be loaded ({failure.Message.Trim()}). "
                + $"It must be built for {Rid}; rebuild it here, or set the environment variable {DirectoryVariable} to the folder of one that fits.",
                failure);
        }

        CheckAbi(handle, path);
        return handle;
    }

    private static void CheckAbi(nint handle, string path)
    {
        string? problem = NativeLibrary.TryGetExport(handle, nameof(NativeMethods.krn_abi_version), out nint export)
            ? DescribeMismatch(((delegate* unmanaged[Cdecl]<uint>)export)(), path)
            : $"The file {path} is not the kernel library: it does not export {nameof(NativeMethods.krn_abi_version)}. "
              + $"Reinstall Kernels.Interop, or correct the environment variable {DirectoryVariable}.";
        problem ??= NativeLayout.DescribeMismatch();
        if (problem is null)
            return;
        NativeLibrary.Free(handle);
        throw new DllNotFoundException(problem);
    }
}
