using Kernels.Bindgen;
using Kernels.Native;

namespace Kernels.Tests.Package;

/// <summary>Packs the library, and builds a program of somebody else's that installs the package from a local folder.</summary>
public sealed class PackageFixture : IDisposable
{
    private const string Program = """
        using Kernels;

        using var context = new KernelContext();
        float[] w = [1, 2, 3, 4, 5, 6, 127, -127];
        var shape = new WeightsShape(ElementType.S8, N: 2, K: 4);
        using PackedWeights weights = PackedWeights.FromFloat<float>(context, shape, w);
        var y = new float[2];
        Gemm.Run(context, weights, 1, Activations.Of<float>(new float[] { 1, 1, 1, 1 }), new GemmOutput<float>(y));
        Console.WriteLine(FormattableString.Invariant($"{y[0]:F1} {y[1]:F1}"));
        Console.WriteLine(KernelLibrary.Path);
        """;

    private const string Project = """
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup>
            <OutputType>Exe</OutputType>
            <TargetFramework>net10.0</TargetFramework>
            <Nullable>enable</Nullable>
            <ImplicitUsings>enable</ImplicitUsings>
            <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
          </PropertyGroup>
          <ItemGroup>
            <PackageReference Include="Kernels.Interop" Version="*" />
          </ItemGroup>
        </Project>
        """;

    // The feed is the only source, and a package folder of its own keeps a package of an earlier run from being taken.
    private const string NuGetConfig = """
        <configuration>
          <config><add key="globalPackagesFolder" value="packages" /></config>
          <packageSources><clear /><add key="local" value="feed" /></packageSources>
        </configuration>
        """;

    public PackageFixture()
    {
        Root = Directory.CreateTempSubdirectory("kernels-package-").FullName;
        string feed = Directory.CreateDirectory(Path.Combine(Root, "feed")).FullName;
        string project = Path.Combine(Repository.Find(AppContext.BaseDirectory), "src", "Interop", "Kernels.Interop.csproj");
        NativeFile = KernelLibrary.Path;
        foreach ((string rid, string folder) in CrossFolders)
        {
            string directory = Directory.CreateDirectory(Path.Combine(Root, "cross", rid, folder)).FullName;
            File.WriteAllText(Path.Combine(directory, NativeLibraryResolver.FileNameOf(rid)), rid);
        }

        PackOutput = Pack(project, feed, Path.Combine(Root, "cross"));
        PackageFile = Directory.GetFiles(feed, "*.nupkg").Single();
        string alone = Directory.CreateDirectory(Path.Combine(Root, "alone")).FullName;
        LonePackOutput = Pack(project, alone, Path.Combine(Root, "nothing"));
        LonePackageFile = Directory.GetFiles(alone, "*.nupkg").Single();

        File.WriteAllText(Path.Combine(Root, "nuget.config"), NuGetConfig);
        Consumer = Directory.CreateDirectory(Path.Combine(Root, "consumer")).FullName;
        File.WriteAllText(Path.Combine(Consumer, "Consumer.csproj"), Project);
        File.WriteAllText(Path.Combine(Consumer, "Program.cs"), Program);

        // Whatever lies above the temporary folder is not to be taken into the build.
        foreach (string name in new[] { "Directory.Build.props", "Directory.Build.targets", "Directory.Packages.props" })
            File.WriteAllText(Path.Combine(Root, name), "<Project />");
        Dotnet.Run(Consumer, "build", "--output", Path.Combine(Root, "out")).AssertSuccess();
        ConsumerAssembly = Path.Combine(Root, "out", "Consumer.dll");
    }

    /// <summary>The other machines that a package is for, and where CMake leaves their libraries. In this package a library is a text
    /// that says whose it is.</summary>
    public static IReadOnlyList<(string Rid, string Folder)> CrossFolders { get; } =
        new[] { ("linux-arm64", "lib"), ("win-x64", "bin") }.Where(cross => cross.Item1 != NativeLibraryResolver.Rid).ToList();

    /// <summary>A temporary folder for everything.</summary>
    public string Root { get; }

    /// <summary>The package.</summary>
    public string PackageFile { get; }

    /// <summary>What the making of the package said.</summary>
    public string PackOutput { get; }

    /// <summary>A package that was made where nothing had been built for other machines.</summary>
    public string LonePackageFile { get; }

    /// <summary>What the making of that one said.</summary>
    public string LonePackOutput { get; }

    /// <summary>The native library that was packed.</summary>
    public string NativeFile { get; }

    /// <summary>The program that uses it.</summary>
    public string ConsumerAssembly { get; }

    private string Consumer { get; }

    public void Dispose() => Directory.Delete(Root, recursive: true);

    private string Pack(string project, string output, string crossDirectory)
    {
        Outcome outcome = Dotnet.Run(
            Root, "pack", project, "--configuration", "Release", "--output", output, "--artifacts-path", Path.Combine(Root, "artifacts"),
            "-p:SkipNativeBuild=true", $"-p:KernelsNativeDir={Path.GetDirectoryName(NativeFile)}", $"-p:KernelsCrossDir={crossDirectory}");
        outcome.AssertSuccess();
        return outcome.Output;
    }
}
