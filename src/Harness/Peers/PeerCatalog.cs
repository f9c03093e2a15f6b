using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>A peer that this program knows how to call.</summary>
/// <param name="Name">The library.</param>
/// <param name="Files">Names under which systems have it, most likely first.</param>
/// <param name="Install">What to install, for whom it is missing.</param>
/// <param name="Open">Makes the peer of a loaded library; throws <see cref="PeerUnusableException"/> when it is not one that it can use.</param>
internal sealed record PeerEntry(string Name, IReadOnlyList<string> Files, string Install, Func<nint, IPeer> Open);

/// <summary>What a search found.</summary>
/// <param name="Found">The peers.</param>
/// <param name="Missing">A sentence for each that is not there or cannot be used.</param>
internal sealed record PeerSearch(IReadOnlyList<IPeer> Found, IReadOnlyList<string> Missing);

/// <summary>The peers that this program knows how to call. A new one is a file with its <see cref="PeerEntry"/>, and a line here.</summary>
internal static class PeerCatalog
{
    /// <summary>Names folders to look into before the system's own, separated as in PATH.</summary>
    public const string FoldersVariable = "KERNELS_PEER_DIR";

    /// <summary>Every peer. The first is asked without <c>--peers</c> too: what unquantized matrices cost.</summary>
    public static IReadOnlyList<PeerEntry> All { get; } = [OpenBlasPeer.Entry, OneDnnPeer.Entry, OnnxRuntimePeer.Entry, FfhtPeer.Entry];

    /// <summary>Loads those of some peers that this machine has.</summary>
    public static PeerSearch Load(IEnumerable<PeerEntry> entries) => Load(entries, Folders(Environment.GetEnvironmentVariable(FoldersVariable)));

    /// <summary>Loads peers, looking into some folders first.</summary>
    internal static PeerSearch Load(IEnumerable<PeerEntry> entries, IReadOnlyList<string> folders)
    {
        var found = new List<IPeer>();
        var missing = new List<string>();
        foreach (PeerEntry entry in entries)
        {
            string reason = "not found";
            IPeer? peer = null;
            IEnumerable<string> inFolders = folders.SelectMany(folder => entry.Files.Select(name => Path.Combine(folder, name))).Where(File.Exists);
            foreach (string file in inFolders.Concat(entry.Files))
            {
                // A library that turns out to be useless stays loaded: some start threads, and unloading those would crash.
                if (!NativeLibrary.TryLoad(file, out nint library))
                    continue;
                try
                {
                    peer = entry.Open(library);
                    break;
                }
                catch (PeerUnusableException exception)
                {
                    reason = exception.Message;
                }
            }

            if (peer is not null)
                found.Add(peer);
            else
                missing.Add($"{entry.Name}: {reason}; {entry.Install}, or name its folder in {FoldersVariable}.");
        }

        return new PeerSearch(found, missing);
    }

    /// <summary>A function of a library.</summary>
    /// <exception cref="PeerUnusableException">It has none of that name.</exception>
    internal static nint Export(nint library, string name) => NativeLibrary.TryGetExport(library, name, out nint address)
        ? address
        : throw new PeerUnusableException($"a library was found that has no function {name}");

    internal static IReadOnlyList<string> Folders(string? list) =>
        [.. (list ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(Path.GetFullPath)];
}
