using CommandLine;
using CommandLine.Text;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>What makes <c>compare</c> fail.</summary>
internal enum FailOn
{
    /// <summary>Nothing: the table is for reading.</summary>
    None,

    /// <summary>A case that is slower by more than the threshold.</summary>
    Slower,

    /// <summary>An error that grew.</summary>
    Error,

    /// <summary>Either, or a case that is gone.</summary>
    Any,
}

/// <summary>Options of <c>compare</c>.</summary>
[Verb("compare", HelpText = "Compare two results files, case by case.")]
internal sealed class CompareOptions
{
    /// <summary>The base.</summary>
    [Value(0, MetaName = "BASE", Required = true, HelpText = "Results file to compare with.")]
    public string Base { get; set; } = "";

    /// <summary>The other.</summary>
    [Value(1, MetaName = "DIFF", Required = true, HelpText = "Results file that is compared.")]
    public string Diff { get; set; } = "";

    /// <summary>Threshold.</summary>
    [Option("threshold", Default = 5.0, MetaValue = "PERCENT", HelpText = "Changes up to this count as noise.")]
    public double Threshold { get; set; }

    /// <summary>Metric.</summary>
    [Option("metric", Default = ComparedMetric.Time, MetaValue = "METRIC", HelpText = "time, or share: the share of the ceiling measured around each case, for runs between which the machine drifted.")]
    public ComparedMetric Metric { get; set; }

    /// <summary>What fails.</summary>
    [Option("fail-on", Default = FailOn.None, MetaValue = "WHAT", HelpText = "Exit code 1 on: none, slower, error (an error figure that grew by more than 10%), any (also a case that is gone).")]
    public FailOn FailOn { get; set; }

    /// <summary>All rows.</summary>
    [Option("all", HelpText = "Show the cases that stayed the same, too.")]
    public bool All { get; set; }

    /// <summary>Examples.</summary>
    [Usage(ApplicationAlias = "kernels")]
    public static IEnumerable<Example> Examples =>
        [new("A gate for changes", new CompareOptions { Base = "before.json", Diff = "after.json", Threshold = 5, FailOn = FailOn.Any })];
}

/// <summary>Compares.</summary>
internal static class CompareVerb
{
    /// <summary>Runs the verb.</summary>
    public static int Run(CompareOptions options, Terminal terminal)
    {
        if (!(options.Threshold >= 0) || double.IsInfinity(options.Threshold))
            throw new UsageException($"--threshold: {options.Threshold} is not a percentage of 0 or more.");
        RunResult @base = ResultsJson.Load(options.Base), diff = ResultsJson.Load(options.Diff);
        RunComparison comparison = RunComparison.Of(@base, diff, options.Metric, options.Threshold / 100);
        if (@base.Machine.Cpu != diff.Machine.Cpu || @base.Machine.LogicalProcessors != diff.Machine.LogicalProcessors)
            terminal.Error.Write(new Text("kernels: the files are from different machines; times cannot be compared, shares with care.\n"));
        if (@base.Run.Timer != diff.Run.Timer)
            terminal.Error.Write(new Text($"kernels: the times were taken differently: {@base.Run.Timer ?? "none"} and {diff.Run.Timer ?? "none"}.\n"));

        Write(terminal, comparison, options.All);
        bool isSlower = comparison.Count(Verdict.Slower) > 0, isWorse = comparison.WorseErrors.Count > 0;
        bool fails = options.FailOn switch
        {
            FailOn.Slower => isSlower,
            FailOn.Error => isWorse,
            FailOn.Any => isSlower || isWorse || comparison.Count(Verdict.Gone) > 0,
            _ => false,
        };
        return fails ? CommandLine.Found : CommandLine.Ok;
    }

    private static void Write(Terminal terminal, RunComparison comparison, bool showAll)
    {
        Func<double, string> show = comparison.Metric == ComparedMetric.Time ? Figures.Time : Figures.Percent;
        Table table = RunTables.MakeTable(comparison.Metric == ComparedMetric.Time ? "median time" : "share of ceiling");
        RunTables.AddColumn(table, "case", isNumber: false);
        foreach (string header in new[] { "base", "diff", "change of time", "threshold", "verdict" })
            RunTables.AddColumn(table, header, isNumber: true);
        foreach (ComparedCase row in comparison.Cases.Where(c => showAll || c.Verdict != Verdict.Same))
        {
            table.AddRow(
                new Text(Printable.Of(row.Key)), Figure(row.Base, show), Figure(row.Diff, show), Figure(row.Change, Figures.SignedPercent),
                new Text(Figures.Percent(comparison.Threshold)), new Text(row.Verdict.ToString().ToLowerInvariant()));
        }

        if (table.Rows.Count > 0)
            terminal.Out.Write(table);
        foreach (string line in comparison.WorseErrors)
            terminal.Out.Write(new Text($"error: {Printable.Of(line)}\n"));
        terminal.Line(string.Join(", ", Enum.GetValues<Verdict>().Select(v => $"{comparison.Count(v)} {v.ToString().ToLowerInvariant()}"))
            + $", {comparison.WorseErrors.Count} with a larger error");
    }

    private static Text Figure(double? value, Func<double, string> show) => new(value is { } number ? show(number) : "");
}
