namespace Kernels.Harness.Results;

/// <summary>The table of peers: a row for each case and peer, from which console, Markdown and HTML are made.</summary>
internal static class PeerTable
{
    /// <summary>Headers, each with whether its column is set to the right.</summary>
    public static IReadOnlyList<(string Text, bool IsNumber)> Headers { get; } =
    [
        ("shape", false), ("T", true), ("peer", false), ("its time", true), ("ours", true), ("speed-up", true), ("rel. error", true), ("remarks", false),
    ];

    /// <summary>The rows of some cases; none where a single peer without remarks of importance is in the table of cases already.</summary>
    public static IReadOnlyList<string[]> Rows(IReadOnlyList<CaseResult> cases) =>
        cases.Any(c => c.Peers.Count > 1 || c.Peers.Any(peer => peer.Failure is not null))
            ? [.. cases.SelectMany(c => c.Peers.Select(peer => Row(c, peer)))]
            : [];

    private static string[] Row(CaseResult result, PeerResult peer) =>
    [
        CaseTable.ShapeOf(result), Figures.Count(result.Threads), $"{peer.Name} {peer.Version}", Figures.Time(peer.TimeNs),
        peer.OwnTimeNs is { } own ? Figures.Time(own) : "", peer.Speedup is { } speedup ? Figures.Factor(speedup) : "WRONG",
        peer.RelativeError is { } error ? Figures.Error(error) : "", RemarksOf(peer),
    ];

    private static string RemarksOf(PeerResult peer) => string.Join(
        "; ", new[] { peer.Failure, peer.IncludesQuantization ? "quantizes activations" : null, peer.Note }.OfType<string>());
}
