using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Times cases by both timers and holds them against each other.</summary>
internal static class CrossCheck
{
    // Medians of one machine a few seconds apart: what a shared machine drifts in that time.
    private const double Tolerance = 0.10;

    /// <summary>Runs every case of a plan with both timers.</summary>
    public static int Run(BenchPlan plan, ContextPool contexts, long seed, Terminal terminal)
    {
        IReadOnlyList<CaseResult> quick = Measure(plan, contexts, seed, new Sampler(new SamplerOptions()), terminal);
        using var precise = new BenchmarkDotNetTimer();
        IReadOnlyList<CaseResult> full = Measure(plan, contexts, seed, precise, terminal);

        Table table = RunTables.MakeTable("sampler against BenchmarkDotNet");
        RunTables.AddColumn(table, "case", isNumber: false);
        foreach (string header in new[] { "sampler", "BenchmarkDotNet", "difference", "" })
            RunTables.AddColumn(table, header, isNumber: true);
        int disagreeing = 0;
        for (int i = 0; i < quick.Count; i++)
        {
            CaseTime a = quick[i].TimeNs!, b = full[i].TimeNs!;
            bool agrees = Agree(a, b);
            disagreeing += agrees ? 0 : 1;
            table.AddRow(
                new Text(Printable.Of(quick[i].Key)), new Text(Figures.Time(a.Median)), new Text(Figures.Time(b.Median)),
                new Text(Figures.SignedPercent(a.Median / b.Median - 1)), new Text(agrees ? "agrees" : "DIFFERS"));
        }

        terminal.Out.Write(table);
        return disagreeing == 0 ? CommandLine.Ok : CommandLine.Found;
    }

    /// <summary>Whether two times are the same within the noise: their medians are within a tenth, or each median lies inside the
    /// other's range from minimum to 95th percentile.</summary>
    internal static bool Agree(CaseTime a, CaseTime b) =>
        Math.Abs(a.Median - b.Median) <= Tolerance * Math.Min(a.Median, b.Median)
        || a.Median >= b.Min && a.Median <= b.P95 && b.Median >= a.Min && b.Median <= a.P95;

    private static IReadOnlyList<CaseResult> Measure(BenchPlan plan, ContextPool contexts, long seed, ICaseTimer timer, Terminal terminal)
    {
        // No ceilings and no peers: only times are compared.
        var meter = new CeilingMeter(new NoCeilings());
        return terminal.WithProgress(report =>
        {
            var runner = new BenchRunner(contexts, meter, timer, null, null, BenchVerb.ColdBytesFor(MachineProbe.L3BytesOrDefault()), seed) { OnProgress = report };
            runner.Run(plan.Layers, plan.Others);
            return runner.Results;
        });
    }

    private sealed class NoCeilings : ICeilingProbe
    {
        public string? VariantOf(Ceiling ceiling, Isa isa) => null;

        public double[] Sample(Ceiling ceiling, Isa isa, int threads, int count) => throw new NotSupportedException("There are no ceilings here.");
    }
}
