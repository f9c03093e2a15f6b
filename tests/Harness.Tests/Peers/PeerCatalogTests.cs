using Kernels.Harness.Peers;

namespace Kernels.Harness.Tests.Peers;

public sealed class PeerCatalogTests : IDisposable
{
    private static readonly FakePeer s_fake = new(new PeerTraits(PeerInput.Floats), value => value);

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void AMissingLibrarySaysWhatToInstall()
    {
        var entry = new PeerEntry("Some", ["no-such-library.so.7"], "install some", _ => throw new InvalidOperationException("It cannot be opened."));
        PeerSearch search = PeerCatalog.Load([entry], [_folder.Path]);
        Assert.Empty(search.Found);
        Assert.Equal(["Some: not found; install some, or name its folder in KERNELS_PEER_DIR."], search.Missing);
    }

    [Fact]
    public void AFileThatIsNoLibraryIsNotFound()
    {
        File.WriteAllText(_folder.PathOf("libnothing.so"), "nothing");
        PeerSearch search = PeerCatalog.Load([new PeerEntry("Some", ["libnothing.so"], "install some", _ => s_fake)], [_folder.Path]);
        Assert.StartsWith("Some: not found; ", Assert.Single(search.Missing), StringComparison.Ordinal);
    }

    [Fact]
    public void FoldersComeBeforeTheSystem()
    {
        // Our own library stands for a peer's.
        string own = OwnLibraries().First();
        string copy = _folder.PathOf("libpeer-in-a-folder.so");
        File.Copy(own, copy);
        PeerSearch search = PeerCatalog.Load([new PeerEntry("Some", [Path.GetFileName(copy)], "install some", _ => s_fake)], [_folder.Path]);
        Assert.Equal(("Fake", "1.0"), (Assert.Single(search.Found).Name, search.Found[0].Version));
        Assert.Empty(search.Missing);
    }

    [Theory]
    [InlineData("OpenBLAS", "a library was found that has no function openblas_get_config")]
    [InlineData("oneDNN", "a library was found that has no function dnnl_version")]
    [InlineData("ONNX Runtime", "a library was found that has no function OrtGetApiBase")]
    [InlineData("FFHT", "a library was found that has no function fht_float")]
    public void AnotherLibraryUnderThePeersNameIsNotCalled(string name, string reason)
    {
        PeerEntry entry = PeerCatalog.All.Single(e => e.Name == name) with { Files = [OwnLibraries().First()] };
        PeerSearch search = PeerCatalog.Load([entry], []);
        Assert.Empty(search.Found);
        Assert.StartsWith($"{name}: {reason}; install ", Assert.Single(search.Missing), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3, 4, 0, true)]
    [InlineData(3, 13, 1, true)]
    [InlineData(3, 3, 9, false)]
    [InlineData(2, 6, 3, false)]
    [InlineData(4, 0, 0, false)]
    public void OneDnnNeedsAVersionThatHasTheFunctions(int major, int minor, int patch, bool isGood)
    {
        int[] version = [major, minor, patch];
        if (isGood)
        {
            Assert.Equal($"{major}.{minor}.{patch}", OneDnnApi.CheckVersion(version));
            return;
        }

        string? message = null;
        try
        {
            OneDnnApi.CheckVersion(version);
        }
        catch (PeerUnusableException exception)
        {
            message = exception.Message;
        }

        Assert.Equal($"version {major}.{minor}.{patch} was found, and 3.4 or a newer 3 is needed", message);
    }

    [Fact]
    public void FoldersAreSeparatedAsInPath()
    {
        Assert.Empty(PeerCatalog.Folders(null));
        Assert.Equal([Path.GetFullPath("a"), Path.GetFullPath("b c")], PeerCatalog.Folders($"a{Path.PathSeparator}{Path.PathSeparator} b c "));
    }

    [Fact]
    public void EveryPeerHasANameFilesAndAdvice() => Assert.All(PeerCatalog.All, entry =>
    {
        Assert.NotEmpty(entry.Files);
        Assert.StartsWith("install ", entry.Install, StringComparison.Ordinal);
        Assert.DoesNotContain("http", entry.Install, StringComparison.Ordinal);
    });

    private static IEnumerable<string> OwnLibraries() =>
        new[] { "libkernels_cpu.so", "libkernels_cpu.dylib", "kernels_cpu.dll" }
            .SelectMany(name => Directory.EnumerateFiles(AppContext.BaseDirectory, name, SearchOption.AllDirectories));
}
