using System.IO.Compression;
using System.Xml.Linq;
using Kernels.Native;
using Xunit;

namespace Kernels.Tests.Package;

public class PackageTests(PackageFixture fixture) : IClassFixture<PackageFixture>
{
    private const string Answer = "10.0 11.0";

    [Fact]
    public void The_package_holds_assembly_documentation_native_library_and_readme()
    {
        using ZipArchive package = ZipFile.OpenRead(fixture.PackageFile);
        List<string> entries = package.Entries.Select(entry => entry.FullName).ToList();
        Assert.Contains("lib/net10.0/Kernels.Interop.dll", entries);
        Assert.Contains("lib/net10.0/Kernels.Interop.xml", entries);
        Assert.Contains($"runtimes/{NativeLibraryResolver.Rid}/native/{NativeLibraryResolver.FileName}", entries);
        Assert.Contains("README.md", entries);
        Assert.DoesNotContain(entries, entry => entry.EndsWith(".rsp", StringComparison.Ordinal) || entry.StartsWith("content", StringComparison.Ordinal));
    }

    [Fact]
    public void The_package_holds_the_libraries_of_other_machines()
    {
        using ZipArchive package = ZipFile.OpenRead(fixture.PackageFile);
        foreach ((string rid, string _) in PackageFixture.CrossFolders)
        {
            ZipArchiveEntry? entry = package.GetEntry($"runtimes/{rid}/native/{NativeLibraryResolver.FileNameOf(rid)}");
            Assert.NotNull(entry);
            using var reader = new StreamReader(entry.Open());
            Assert.Equal(rid, reader.ReadToEnd());
        }

        string rids = string.Join(", ", PackageFixture.CrossFolders.Select(cross => cross.Rid).Prepend(NativeLibraryResolver.Rid));
        Assert.Contains($"Native libraries in the package: {rids}.", fixture.PackOutput, StringComparison.Ordinal);
        Assert.DoesNotContain("Not in the package", fixture.PackOutput, StringComparison.Ordinal);
    }

    [Fact]
    public void A_package_without_the_libraries_of_other_machines_says_so()
    {
        using ZipArchive package = ZipFile.OpenRead(fixture.LonePackageFile);
        string own = $"runtimes/{NativeLibraryResolver.Rid}/native/";
        List<string> libraries = package.Entries.Select(entry => entry.FullName).Where(name => name.StartsWith("runtimes/", StringComparison.Ordinal)).ToList();
        Assert.Contains(own + NativeLibraryResolver.FileName, libraries);
        Assert.All(libraries, name => Assert.StartsWith(own, name, StringComparison.Ordinal));
        Assert.DoesNotContain(libraries, name => name.Contains("emulator", StringComparison.Ordinal));
        string missing = string.Join(", ", PackageFixture.CrossFolders.Select(cross => cross.Rid));
        Assert.Contains($"Native libraries in the package: {NativeLibraryResolver.Rid}.", fixture.LonePackOutput, StringComparison.Ordinal);
        Assert.Contains($"Not in the package, for want of a cross compiler or a build: {missing}.", fixture.LonePackOutput, StringComparison.Ordinal);
    }

    [Fact]
    public void The_package_names_its_licence_and_readme_and_needs_no_other_package()
    {
        using ZipArchive package = ZipFile.OpenRead(fixture.PackageFile);
        using Stream stream = package.GetEntry("Kernels.Interop.nuspec")!.Open();
        List<XElement> elements = XDocument.Load(stream).Descendants().ToList();
        Assert.Equal("MIT", Value("license"));
        Assert.Equal("README.md", Value("readme"));
        Assert.Equal("Kernels.Interop", Value("id"));
        Assert.NotEqual("Package Description", Value("description"));
        Assert.DoesNotContain(elements, element => element.Name.LocalName == "dependency");

        string Value(string name) => elements.Single(element => element.Name.LocalName == name).Value;
    }

    [Fact]
    public void Somebody_elses_program_multiplies()
    {
        Outcome outcome = RunConsumer(null);
        outcome.AssertSuccess();
        string[] lines = outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        Assert.Equal(Answer, lines[0]);
        Assert.Equal(
            Path.Combine(fixture.Root, "out", "runtimes", NativeLibraryResolver.Rid, "native", NativeLibraryResolver.FileName), lines[1]);
    }

    [Fact]
    public void KERNELS_NATIVE_DIR_decides_which_library_is_loaded()
    {
        string directory = Directory.CreateDirectory(Path.Combine(fixture.Root, "elsewhere")).FullName;
        string copy = Path.Combine(directory, NativeLibraryResolver.FileName);
        File.Copy(fixture.NativeFile, copy, overwrite: true);
        Outcome outcome = RunConsumer(directory);
        outcome.AssertSuccess();
        Assert.Contains(Answer, outcome.Output, StringComparison.Ordinal);
        Assert.Contains(copy, outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void KERNELS_NATIVE_DIR_without_a_library_is_one_sentence()
    {
        Outcome outcome = RunConsumer(Path.Combine(fixture.Root, "nowhere"));
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains("System.DllNotFoundException: The environment variable KERNELS_NATIVE_DIR is", outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_library_is_one_sentence()
    {
        string directory = Path.Combine(fixture.Root, "incomplete");
        Directory.CreateDirectory(directory);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(fixture.Root, "out")))
            File.Copy(file, Path.Combine(directory, Path.GetFileName(file)), overwrite: true);
        Outcome outcome = Dotnet.Run(fixture.Root, "exec", Path.Combine(directory, "Consumer.dll"));
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains($"The native kernel library {NativeLibraryResolver.FileName} was not found", outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_library_of_another_ABI_version_is_one_sentence()
    {
        string directory = Directory.CreateDirectory(Path.Combine(fixture.Root, "foreign")).FullName;
        ForeignLibrary.Build(directory, "unsigned krn_abi_version(void) { return 999; }");
        Outcome outcome = RunConsumer(directory);
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains("has ABI version 999", outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_library_of_somebody_else_is_one_sentence()
    {
        string directory = Directory.CreateDirectory(Path.Combine(fixture.Root, "unrelated")).FullName;
        ForeignLibrary.Build(directory, "int unrelated(void) { return 0; }");
        Outcome outcome = RunConsumer(directory);
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains("is not the kernel library", outcome.Output, StringComparison.Ordinal);
    }

    private Outcome RunConsumer(string? nativeDirectory)
    {
        var environment = new Dictionary<string, string>();
        if (nativeDirectory is not null)
            environment["KERNELS_NATIVE_DIR"] = nativeDirectory;
        return Dotnet.Run(fixture.Root, environment, "exec", fixture.ConsumerAssembly);
    }
}
