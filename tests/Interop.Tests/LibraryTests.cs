using System.Runtime.InteropServices;
using Kernels.Native;
using Xunit;

namespace Kernels.Tests;

public class LibraryTests
{
    [Fact]
    public void The_library_tells_what_it_is()
    {
        Assert.Equal((uint)NativeMethods.KRN_ABI_VERSION, KernelLibrary.AbiVersion);
        Assert.Matches(@"^\d+\.\d+\.\d+$", KernelLibrary.Version);
        Assert.NotEmpty(KernelLibrary.BuildInfo);
        Assert.EndsWith(NativeLibraryResolver.FileName, KernelLibrary.Path, StringComparison.Ordinal);
    }

    [Fact]
    public void A_forced_directory_without_the_library_is_refused_although_others_have_it()
    {
        string directory = Path.GetDirectoryName(KernelLibrary.Path)!;
        DllNotFoundException failure = Assert.Throws<DllNotFoundException>(
            () => NativeLibraryResolver.Find(Path.Combine(directory, "nowhere"), [directory]));
        Assert.Contains("KERNELS_NATIVE_DIR", failure.Message, StringComparison.Ordinal);
        Assert.Contains("unset it", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_forced_directory_comes_before_others()
    {
        string directory = Path.GetDirectoryName(KernelLibrary.Path)!;
        Assert.Equal(KernelLibrary.Path, NativeLibraryResolver.Find(directory, ["/nowhere"]).Path);
    }

    [Fact]
    public void The_first_directory_that_has_the_library_is_used()
    {
        string directory = Path.GetDirectoryName(KernelLibrary.Path)!;
        Assert.Equal(KernelLibrary.Path, NativeLibraryResolver.Find(null, ["/nowhere", directory]).Path);
    }

    [Theory]
    [InlineData("linux", Architecture.X64, "linux-x64", "libkernels_cpu.so")]
    [InlineData("linux", Architecture.Arm64, "linux-arm64", "libkernels_cpu.so")]
    [InlineData("win", Architecture.X64, "win-x64", "kernels_cpu.dll")]
    [InlineData("win", Architecture.Arm64, "win-arm64", "kernels_cpu.dll")]
    [InlineData("osx", Architecture.Arm64, "osx-arm64", "libkernels_cpu.dylib")]
    public void Each_system_has_a_folder_in_the_package_and_a_file_name(string system, Architecture architecture, string rid, string file)
    {
        Assert.Equal(rid, NativeLibraryResolver.RidOf(system, architecture));
        Assert.Equal(file, NativeLibraryResolver.FileNameOf(rid));
        List<string> directories = NativeLibraryResolver.SearchDirectories(rid, "app", $"host1{Path.PathSeparator}host2");
        Assert.Equal([Path.Combine("app", "runtimes", rid, "native"), "app", "host1", "host2"], directories);
        Assert.Equal(2, NativeLibraryResolver.SearchDirectories(rid, "app", null).Count);
    }

    [Fact]
    public void A_missing_library_says_what_to_do()
    {
        string message = NativeLibraryResolver.DescribeMissing(["/nowhere"]);
        Assert.Contains(NativeLibraryResolver.FileName, message, StringComparison.Ordinal);
        Assert.Contains("/nowhere", message, StringComparison.Ordinal);
        Assert.Contains("Install a Kernels.Interop package", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_library_says_what_to_do()
    {
        string directory = Directory.CreateTempSubdirectory("kernels-native-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(directory, NativeLibraryResolver.FileName), "not a library");
            DllNotFoundException failure = Assert.Throws<DllNotFoundException>(() => NativeLibraryResolver.Find(directory, []));
            Assert.Contains("cannot be loaded", failure.Message, StringComparison.Ordinal);
            Assert.Contains(NativeLibraryResolver.Rid, failure.Message, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public void Another_ABI_version_names_both_versions_and_says_what_to_do()
    {
        Assert.Null(NativeLibraryResolver.DescribeMismatch(NativeMethods.KRN_ABI_VERSION, "file"));
        string? message = NativeLibraryResolver.DescribeMismatch(999, "/some/file");
        Assert.Contains("/some/file has ABI version 999", message, StringComparison.Ordinal);
        Assert.Contains($"needs version {NativeMethods.KRN_ABI_VERSION}", message, StringComparison.Ordinal);
        Assert.Contains("rebuild", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Structs_have_the_sizes_that_the_library_was_built_with() => Assert.Null(NativeLayout.DescribeMismatch());
}
