namespace Kernels.Harness.Peers;

/// <summary>The peers that this program knows how to call.</summary>
internal static class PeerCatalog
{
    /// <summary>Loads the peers that this machine has.</summary>
    public static IReadOnlyList<IPeer> Load() => OpenBlasPeer.TryLoad() is { } openBlas ? [openBlas] : [];
}
