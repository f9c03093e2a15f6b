using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Peers;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Times peers: once for every layer, batch and number of threads, however many cells are compared with it.</summary>
/// <param name="peers">The peers that were found.</param>
/// <param name="timer">What takes the times.</param>
/// <param name="coldBytes">Bytes over which a peer's weights are rotated for batches where ours are.</param>
internal sealed class PeerBench(IReadOnlyList<IPeer> peers, ICaseTimer timer, long coldBytes)
{
    private readonly Dictionary<(long M, int Threads), IReadOnlyList<Timing>> _known = [];
    private LayerData? _layer;

    private sealed record Timing(string Name, string Version, double Nanoseconds);

    /// <summary>What the peers say to a case that took us <paramref name="nanoseconds"/>.</summary>
    public IReadOnlyList<PeerResult> Compare(GemmSpec spec, int threads, LayerData layer, double nanoseconds)
    {
        if (!ReferenceEquals(layer, _layer))
        {
            _known.Clear();
            _layer = layer;
        }

        if (!_known.TryGetValue((spec.M, threads), out IReadOnlyList<Timing>? timings))
            _known[(spec.M, threads)] = timings = [.. peers.Select(peer => Time(peer, spec, threads, layer)).OfType<Timing>()];
        return [.. timings.Select(t => new PeerResult(t.Name, t.Version, t.Nanoseconds, t.Nanoseconds / nanoseconds))];
    }

    private Timing? Time(IPeer peer, GemmSpec spec, int threads, LayerData layer)
    {
        var problem = new PeerGemm(
            spec.M, spec.N, spec.K, layer.Activations, layer.Weights, spec.M <= GemmCase.ColdBatch ? coldBytes : 0);
        using IPeerCall? call = peer.PrepareGemm(problem, threads);
        if (call is null)
            return null;

        double median = Statistics.Median(timer.Measure(call.Invoke).Nanoseconds);
        CheckResult(peer, call, spec, layer);
        return new Timing($"{peer.Name} {call.Function}", peer.Version, median);
    }

    // A peer that computes something else, because it was called wrongly or is broken, is no peer.
    private static void CheckResult(IPeer peer, IPeerCall call, GemmSpec spec, LayerData layer)
    {
        long[] rows = SampleGrid.Indices(spec.M), columns = SampleGrid.Indices(spec.N);
        double[] exact = layer.Exact(spec.M);
        double errorSquares = 0, signalSquares = 0;
        for (int i = 0; i < rows.Length; i++)
        {
            for (int j = 0; j < columns.Length; j++)
            {
                double wanted = exact[i * columns.Length + j];
                double error = call.Output(rows[i], columns[j]) - wanted;
                errorSquares += error * error;
                signalSquares += wanted * wanted;
            }
        }

        // Errors of single outputs are below K * eps * sum |x||w|; over thousands of outputs their norm is far below K * eps.
        double allowed = (spec.K + 8) * GemmOracle.UnitRoundoff;
        if (!(Math.Sqrt(errorSquares) <= allowed * Math.Sqrt(signalSquares)))
        {
            throw new InvalidOperationException(
                $"{peer.Name} {peer.Version} gives a wrong result for {spec.Shape}: its relative error is {Math.Sqrt(errorSquares / signalSquares):E1}.");
        }
    }
}
