using Kernels.Harness.Cases;
using Kernels.Harness.Peers;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Times peers against our calls, on the operands, the shape and the threads of each.</summary>
/// <param name="peers">The peers that were found.</param>
/// <param name="interleaver">What takes the times.</param>
/// <param name="coldBytes">Bytes over which a peer's weights are rotated for batches where ours are.</param>
internal sealed class PeerBench(IReadOnlyList<IPeer> peers, Interleaver interleaver, long coldBytes)
{
    private readonly SortedSet<string> _failures = [];
    private (WeightOperand Operand, PeerWeights Weights)? _last;

    /// <summary>What peers said that failed to prepare a call, once each; there is no result of such a call.</summary>
    public IReadOnlyCollection<string> Failures => _failures;

    /// <summary>What the peers say to a case.</summary>
    /// <param name="spec">The case.</param>
    /// <param name="threads">Its threads.</param>
    /// <param name="layer">The unquantized operands.</param>
    /// <param name="own">Our call with its operands.</param>
    /// <returns>A result for each function that a peer offers for the cell, in the order of the peers.</returns>
    public IReadOnlyList<PeerResult> Compare(GemmSpec spec, int threads, LayerData layer, GemmCase own)
    {
        if (peers.Count == 0)
            return [];
        var problem = new PeerProblem(spec, WeightsOf(own.Weights), own.Activations, layer.Activations, spec.M <= GemmCase.ColdBatch ? coldBytes : 0);
        return Compare(own.Invoke, threads, peer => peer.PrepareGemm(problem, threads), call => PeerCheck.Check(problem, call));
    }

    /// <summary>What the peers say to a rotation.</summary>
    public IReadOnlyList<PeerResult> Compare(HadamardSpec spec, int threads, HadamardCase own)
    {
        var problem = new HadamardProblem(spec, own.Values, own.Copies);
        return Compare(own.Invoke, threads, peer => peer.PrepareHadamard(problem, threads), call => PeerCheck.Check(problem, call));
    }

    /// <summary>What the peers say to attention.</summary>
    public IReadOnlyList<PeerResult> Compare(AttentionSpec spec, int threads, AttentionCase own)
    {
        AttentionProblem problem = own.ToProblem(spec.Way.IsDecode ? coldBytes : 0);
        return Compare(own.Invoke, threads, peer => peer.PrepareAttention(problem, threads), call => PeerCheck.Check(problem, call));
    }

    private IReadOnlyList<PeerResult> Compare(
        Action own, int threads, Func<IPeer, IEnumerable<IPeerCall>> prepare, Func<IPeerCall, PeerVerdict> check)
    {
        var contestants = new List<(IPeer Peer, IPeerCall Call)>();
        try
        {
            foreach (IPeer peer in peers)
                AddCalls(peer);
            if (contestants.Count == 0)
                return [];
            double[] times = interleaver.Medians([own, .. contestants.Select(contestant => (Action)contestant.Call.Invoke)], threads);
            return [.. contestants.Select((contestant, i) => ToResult(contestant, times[i + 1], times[0], check(contestant.Call)))];
        }
        finally
        {
            contestants.ForEach(contestant => contestant.Call.Dispose());
        }

        void AddCalls(IPeer peer)
        {
            try
            {
                foreach (IPeerCall call in prepare(peer))
                    contestants.Add((peer, call));
            }
            catch (PeerFailedException exception)
            {
                _failures.Add($"{peer.Name} {peer.Version} fails: {exception.Message}");
            }
        }
    }

    private static PeerResult ToResult((IPeer Peer, IPeerCall Call) contestant, double time, double ownTime, PeerVerdict verdict)
    {
        (IPeer peer, IPeerCall call) = contestant;
        return new PeerResult(
            $"{peer.Name} {call.Function}", peer.Version, time, verdict.IsRight ? time / ownTime : null, ownTime,
            call.Traits.Quantization != PeerQuantization.None, verdict.FiniteError, call.Traits.Note,
            verdict.IsRight
                ? null
                : $"wrong result: its relative error is {Figures.Error(verdict.FiniteError)}, at most {Figures.Error(verdict.Allowed)} can be explained");
    }

    // The forms that peers take are made once for all batches of a weight format.
    private PeerWeights WeightsOf(WeightOperand operand)
    {
        if (_last is not { } last || !ReferenceEquals(last.Operand, operand))
            _last = last = (operand, new PeerWeights(operand.Oracle));
        return last.Weights;
    }
}
