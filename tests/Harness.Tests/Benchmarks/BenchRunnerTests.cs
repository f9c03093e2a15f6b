using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Tests.Benchmarks;

public sealed class BenchRunnerTests
{
    private const string Quantize = "quantize/*/rows1-n4096/t1/*";
    private const string Gemm = "gemm/{w8-a8,w4-a8}/m{1,8}-n1024-k4096/t1/*";

    [Theory]
    [InlineData(Quantize)]
    [InlineData(Gemm)]
    public void ARunThatIsStoppedKeepsWhatItHas(string filter)
    {
        using var contexts = new ContextPool();
        using var source = new CancellationTokenSource();
        BenchPlan plan = PlanOf(filter, contexts);
        BenchRunner runner = MakeRunner(contexts, new OneCall(), source.Token);
        runner.OnProgress = progress =>
        {
            if (progress.Done == 2)
                source.Cancel();
        };
        runner.Run(plan.Layers, plan.Others);
        // The third one was on its way.
        AssertHasFirst(3, plan, runner);
    }

    [Theory]
    [InlineData(Quantize)]
    [InlineData(Gemm)]
    public void ARunThatFailsKeepsWhatItHas(string filter)
    {
        using var contexts = new ContextPool();
        BenchPlan plan = PlanOf(filter, contexts);
        BenchRunner runner = MakeRunner(contexts, new OneCall { FailsAt = 3 }, CancellationToken.None);
        Assert.Throws<InvalidOperationException>(() => runner.Run(plan.Layers, plan.Others));
        AssertHasFirst(2, plan, runner);
    }

    private static BenchPlan PlanOf(string filter, ContextPool contexts)
    {
        var planner = new CasePlanner([ContextPool.Levels[0]], 1, contexts.VariantOf);
        BenchPlan plan = BenchPlan.OfCatalog(planner, new CaseSelection { Filter = CaseGlob.Parse(filter) }, 1);
        Assert.Equal(4, plan.CaseCount);
        return plan;
    }

    private static BenchRunner MakeRunner(ContextPool contexts, ICaseTimer timer, CancellationToken stop) =>
        new(contexts, new CeilingMeter(new NoCeilings()), timer, null, null, 1 << 20, 1) { Stop = stop };

    private static void AssertHasFirst(int count, BenchPlan plan, BenchRunner runner)
    {
        Assert.Equal(plan.Ids.Take(count), runner.Results.Select(result => result.Id));
        Assert.All(runner.Results, result => Assert.Equal(0, result.KernelError!.Mismatches));
    }

    private sealed class NoCeilings : ICeilingProbe
    {
        public string? VariantOf(Ceiling ceiling, Isa isa) => null;

        public double[] Sample(Ceiling ceiling, Isa isa, int threads, int count) => throw new NotSupportedException();
    }

    private sealed class OneCall : ICaseTimer
    {
        private int _measured;

        public int FailsAt { get; init; }

        public string Name => "one call";

        public SampleSet Measure(Action call, Action? lookAtCeilings = null)
        {
            if (++_measured == FailsAt)
                throw new InvalidOperationException("The clock stands still.");
            call();
            return new SampleSet([1], 1, 0);
        }
    }
}
