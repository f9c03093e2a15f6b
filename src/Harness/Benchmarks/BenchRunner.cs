using System.Diagnostics;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Told how far a run is.</summary>
/// <param name="Done">Cases done.</param>
/// <param name="Total">Cases in all.</param>
/// <param name="What">What runs next.</param>
internal readonly record struct BenchProgress(int Done, int Total, string What);

/// <summary>A layer whose data is loaded when its turn comes, and the cases that run on it.</summary>
/// <param name="N">Output channels.</param>
/// <param name="K">Inputs.</param>
/// <param name="Load">Loads it with activations for so many rows.</param>
/// <param name="Cases">GEMM cases, each with its place in the results.</param>
internal sealed record LayerPlan(long N, long K, Func<long, LayerData> Load, IReadOnlyList<(int Place, PlannedCase Case)> Cases);

/// <summary>Runs planned cases: prepares operands, takes times beside ceilings, checks results, compares with peers and other variants.</summary>
/// <param name="contexts">The contexts.</param>
/// <param name="meter">The ceilings.</param>
/// <param name="timer">What takes the times.</param>
/// <param name="peers">The peers; null for none.</param>
/// <param name="interleaver">What compares the variants of a case; null when they are not compared.</param>
/// <param name="coldBytes">Bytes over which operands are rotated that must come from memory.</param>
/// <param name="seed">Seed of synthetic data.</param>
internal sealed class BenchRunner(
    ContextPool contexts, CeilingMeter meter, ICaseTimer timer, PeerBench? peers, Interleaver? interleaver, long coldBytes, long seed)
{
    // Of a shared machine single samples say little; with those of all rounds together a median does.
    private const int CeilingSamplesPerLook = 4;

    private static readonly TimeSpan s_yardstickTime = TimeSpan.FromMilliseconds(1);

    private readonly SortedDictionary<int, CaseResult> _results = [];
    private int _total;

    /// <summary>Called before each case.</summary>
    public Action<BenchProgress>? OnProgress { get; set; }

    /// <summary>Cancelled when the run shall end after the current case.</summary>
    public CancellationToken Stop { get; init; }

    /// <summary>The results so far, in the order of the plan, whatever the order in which they ran.</summary>
    public IReadOnlyList<CaseResult> Results => [.. _results.Values];

    /// <summary>Runs everything, or what there is time for until <see cref="Stop"/>.</summary>
    public void Run(IReadOnlyList<LayerPlan> layers, IReadOnlyList<(int Place, PlannedCase Case)> others)
    {
        _results.Clear();
        _total = layers.Sum(layer => layer.Cases.Count) + others.Count;
        foreach (LayerPlan layer in layers)
            RunLayer(layer);
        foreach ((int place, PlannedCase planned) in others.TakeWhile(_ => !Stop.IsCancellationRequested))
        {
            Report(planned.Id.ToString());
            using MeasuredCase measured = Prepare(planned);
            _results[place] = Measure(planned, measured, null) with { BestVariant = CompareWithBest(planned, measured, others) };
        }
    }

    private void RunLayer(LayerPlan plan)
    {
        if (plan.Cases.Count == 0 || Stop.IsCancellationRequested)
            return;
        Report($"layer {plan.N} x {plan.K}");
        LayerData layer = plan.Load(plan.Cases.Max(c => SpecOf(c.Case).M));
        KernelContext quantizing = contexts.Get(ContextPool.Levels[0], Environment.ProcessorCount);
        // Weights are packed once for all cases that share them.
        foreach (var group in plan.Cases.GroupBy(c => (SpecOf(c.Case).Cell.Weights, c.Case.Level)).TakeWhile(_ => !Stop.IsCancellationRequested))
        {
            bool isCold = group.Any(c => SpecOf(c.Case).M <= GemmCase.ColdBatch);
            using var weights = WeightOperand.Make(
                quantizing, contexts.Get(group.Key.Level, 1), layer, group.Key.Weights, isCold ? coldBytes : 0);
            foreach ((int place, PlannedCase planned) in group.TakeWhile(_ => !Stop.IsCancellationRequested))
            {
                Report(layer.Name is null ? planned.Id.ToString() : $"{layer.Name} {planned.Id}");
                using var measured = new GemmCase(
                    SpecOf(planned), planned.Id.Variant, contexts.Get(planned.Level, planned.Id.Threads), quantizing, layer, weights, coldBytes);
                _results[place] = Measure(planned, measured, layer);
            }
        }
    }

    private CaseResult Measure(PlannedCase planned, MeasuredCase measured, LayerData? layer)
    {
        int threads = planned.Id.Threads;
        var keys = new List<(Demand Demand, CeilingMeter.CeilingKey Key, int Mark)>();
        foreach (Demand demand in measured.Demands)
        {
            if (meter.KeyOf(demand.Ceiling, planned.Level, threads) is { } key)
                keys.Add((demand, key, meter.Mark(key)));
        }

        Yardstick? yardstick = measured.Yardstick;
        var yardstickTimes = new List<double>();
        SampleSet samples = timer.Measure(measured.Invoke, Look);
        double median = Statistics.Median(samples.Nanoseconds);
        CaseCeiling? ceiling = null;
        // Without one of its ceilings a case would seem to be bound by the other.
        if (keys.Count > 0 && keys.Count == measured.Demands.Count)
        {
            (Demand demand, double rate, double nanoseconds) = Roofline.Bind(keys.Select(k => (k.Demand, meter.Since(k.Key, k.Mark))));
            ceiling = new CaseCeiling(CeilingNames.NameOf(demand.Ceiling), rate, CeilingNames.UnitOf(demand.Ceiling), nanoseconds);
        }

        if (yardstick is not null && yardstickTimes.Count > 0)
        {
            double best = Statistics.Median([.. yardstickTimes]);
            ceiling = new CaseCeiling(yardstick.Name, yardstick.Bytes / best, CeilingNames.UnitOf(Ceiling.Copy), best);
        }

        (KernelError kernel, QuantizationError? quantization) = measured.Check();
        CaseSpec spec = planned.Id.Spec;
        return new CaseResult
        {
            Id = planned.Id.ToString(),
            Op = spec.Op,
            Scheme = spec.Scheme,
            Shape = ShapeOf(spec),
            Threads = threads,
            Isa = planned.Id.Variant,
            Layer = layer?.Name,
            TimeNs = new CaseTime(
                median, samples.Nanoseconds.Min(), Statistics.Percentile(samples.Nanoseconds, 0.95), samples.Nanoseconds.Length, samples.CallsPerSample),
            Gops = measured.Operations / median,
            GbytesPerS = measured.BytesMoved / median,
            Ceiling = ceiling,
            OfCeiling = ceiling?.TimeNs / median,
            Bytes = measured.Bytes,
            AllocatedBytes = samples.AllocatedBytes,
            KernelError = kernel,
            QuantizationError = quantization,
            Peers = peers is null
                ? []
                : (spec, measured) switch
                {
                    (GemmSpec gemm, GemmCase own) when layer is not null => peers.Compare(gemm, threads, layer, own),
                    (HadamardSpec hadamard, HadamardCase own) => peers.Compare(hadamard, threads, own),
                    (AttentionSpec attention, AttentionCase own) => peers.Compare(attention, threads, own),
                    _ => [],
                },
        };

        void Look()
        {
            keys.ForEach(k => meter.Sample(k.Key, CeilingSamplesPerLook));
            if (yardstick is not null)
                yardstickTimes.Add(TimeOf(yardstick.Invoke));
        }
    }

    // One after the other, a machine that drifts is not the same to both.
    private VariantResult? CompareWithBest(PlannedCase planned, MeasuredCase measured, IReadOnlyList<(int Place, PlannedCase Case)> others)
    {
        PlannedCase best = others.Select(other => other.Case)
            .Where(other => other.Id.Spec == planned.Id.Spec && other.Id.Threads == planned.Id.Threads).MaxBy(other => other.Level)!;
        if (interleaver is null || best.Level == planned.Level || planned.Level == Isa.Reference)
            return null;
        using MeasuredCase against = Prepare(best);
        double[] times = interleaver.Medians([measured.Invoke, against.Invoke], planned.Id.Threads);
        return new VariantResult(best.Id.Variant, times[1], times[0]);
    }

    // Twice as often until it takes a while: caches are warm, and the clock is fine enough.
    private static double TimeOf(Action action)
    {
        for (int calls = 1; ; calls *= 2)
        {
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < calls; i++)
                action();
            TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
            if (elapsed >= s_yardstickTime)
                return elapsed.TotalNanoseconds / calls;
        }
    }

    private MeasuredCase Prepare(PlannedCase planned)
    {
        KernelContext context = contexts.Get(planned.Level, planned.Id.Threads);
        return planned.Id.Spec switch
        {
            QuantizeSpec spec => new QuantizeCase(spec, planned.Id.Variant, context, LayerData.MakeActivations(spec.Rows, spec.Cols, seed)),
            HadamardSpec spec => new HadamardCase(
                spec, planned.Id.Variant, context, LayerData.MakeActivations(spec.Rows, spec.Cols, seed), coldBytes),
            DequantizeSpec spec => new DequantizeCase(
                spec, planned.Id.Variant, context, LayerData.Synthetic(spec.Rows, spec.Cols, 0, seed).Weights, coldBytes),
            KvAppendSpec spec => new KvAppendCase(
                spec, planned.Id.Variant, context, LayerData.MakeActivations(2 * spec.Tokens, spec.KvHeads * spec.HeadDim, seed)),
            RopeSpec spec => new RopeCase(spec, planned.Id.Variant, context, LayerData.MakeActivations(spec.Rows, spec.Heads * spec.HeadDim, seed)),
            FusedSpec spec => new FusedCase(
                spec, planned.Id.Variant, context, LayerData.MakeActivations(spec.Rows, spec.Cols, seed), coldBytes),
            AttentionSpec spec => new AttentionCase(spec, planned.Id.Variant, context, contexts.Get(ContextPool.Levels[0], 1), seed, coldBytes),
            _ => throw new InvalidOperationException($"{planned.Id} needs a layer."),
        };
    }

    private void Report(string what) => OnProgress?.Invoke(new BenchProgress(_results.Count, _total, what));

    private static GemmSpec SpecOf(PlannedCase planned) => (GemmSpec)planned.Id.Spec;

    /// <summary>The sizes of a case by name.</summary>
    internal static Dictionary<string, long> ShapeOf(CaseSpec spec) => spec switch
    {
        GemmSpec gemm => new() { ["m"] = gemm.M, ["n"] = gemm.N, ["k"] = gemm.K },
        QuantizeSpec quantize => new() { ["rows"] = quantize.Rows, ["n"] = quantize.Cols },
        FusedSpec fused => new() { ["rows"] = fused.Rows, ["n"] = fused.Cols },
        DequantizeSpec dequantize => new() { ["rows"] = dequantize.Rows, ["n"] = dequantize.Cols },
        HadamardSpec hadamard => new() { ["rows"] = hadamard.Rows, ["n"] = hadamard.Cols },
        AttentionSpec attention => new()
        {
            ["h"] = attention.Heads,
            ["g"] = attention.KvHeads,
            ["d"] = attention.HeadDim,
            ["b"] = attention.Batch,
            ["c"] = attention.Context,
            ["q"] = attention.Queries,
        },
        KvAppendSpec append => new() { ["h"] = append.KvHeads, ["d"] = append.HeadDim, ["c"] = append.Context, ["q"] = append.Tokens },
        RopeSpec rope => new() { ["rows"] = rope.Rows, ["h"] = rope.Heads, ["d"] = rope.HeadDim },
        _ => [],
    };
}
