using Kernels.Harness.Peers;

namespace Kernels.Harness.Tests.Peers;

/// <summary>A test with cases that calls another library, and is skipped where that is not there.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class PeerTheoryAttribute : TheoryAttribute
{
    public PeerTheoryAttribute(string peer)
    {
        Peer = peer;
        PeerSearch search = Search(peer);
        Skip = search.Missing.Count == 0 ? null! : search.Missing[0];
    }

    public string Peer { get; }

    /// <summary>Looks for a peer. A library is opened once in a process: some do not take a second start.</summary>
    public static PeerSearch Search(string peer)
    {
        lock (s_known)
        {
            if (!s_known.TryGetValue(peer, out PeerSearch? search))
                s_known[peer] = search = PeerCatalog.Load(PeerCatalog.All.Where(entry => entry.Name == peer));
            return search;
        }
    }

    private static readonly Dictionary<string, PeerSearch> s_known = [];
}
