using System.Globalization;

namespace Kernels.Harness.Results;

/// <summary>A row of the table of ceilings: one ceiling at every number of threads.</summary>
internal sealed record CeilingRow(string Name, string Isa, IReadOnlyList<string> Values);

/// <summary>What console, Markdown and HTML say about a run besides its cases.</summary>
internal static class RunSummary
{
    /// <summary>The machine, the versions and the data, a line each.</summary>
    public static IReadOnlyList<string> Lines(RunResult result)
    {
        MachineInfo machine = result.Machine;
        string data = result.Run.Data == "synthetic" ? $"synthetic data, seed {result.Run.Seed}" : $"model {result.Run.Data}, seed {result.Run.Seed}";
        string timer = result.Run.Timer is null ? "" : $", timed by {result.Run.Timer}";
        string interrupted = result.Run.Planned is { } planned && planned > result.Cases.Count
            ? $", interrupted after {result.Cases.Count} of {planned} cases" : "";
        return
        [
            $"{machine.Cpu}, {machine.LogicalProcessors} logical processors, L2 {Figures.Bytes(machine.L2Bytes)}, L3 {Figures.Bytes(machine.L3Bytes)}, "
                + $"memory {Figures.Bytes(machine.MemoryBytes)}",
            $"{machine.Os}, {result.Build.Runtime}, kernels {result.Build.Version} ({result.Build.NativeBuild})",
            string.Create(CultureInfo.InvariantCulture, $"{result.Run.CreatedUtc:yyyy-MM-dd HH:mm} UTC, {data}{timer}{interrupted}"),
        ];
    }

    /// <summary>The numbers of threads at which ceilings were measured.</summary>
    public static IReadOnlyList<int> ThreadsOf(IReadOnlyList<CeilingResult> ceilings) => [.. ceilings.Select(c => c.Threads).Distinct().Order()];

    /// <summary>The ceilings with a value for each number of threads; empty where there is none.</summary>
    public static IReadOnlyList<CeilingRow> CeilingRows(IReadOnlyList<CeilingResult> ceilings) =>
    [
        .. ceilings.GroupBy(c => (c.Name, c.Isa)).Select(group => new CeilingRow(
            group.Key.Name, group.Key.Isa,
            [
                .. ThreadsOf(ceilings).Select(threads =>
                    group.FirstOrDefault(c => c.Threads == threads) is { } c ? $"{Figures.Rate(c.Value)} {UnitName(c.Unit)}" : ""),
            ])),
    ];

    /// <summary>Cases that stand in one table, in the order of the run: those of an op, a scheme and a variant, and for the layers of a
    /// model of a number of threads.</summary>
    public static IEnumerable<IGrouping<string, CaseResult>> Groups(RunResult result) =>
        result.Cases.GroupBy(c => $"{c.Op}/{c.Scheme} on {c.Isa}" + (c.Layer is null ? "" : $", {ThreadsHeader(c.Threads)}"));

    /// <summary>The columns of a table: those of the summary in which some row has something to say.</summary>
    public static IReadOnlyList<CaseColumn> ColumnsFor(IReadOnlyList<CaseResult> rows)
    {
        bool hasLayers = rows.Any(row => row.Layer is not null);
        return [.. CaseTable.Summary(hasLayers).Where(column => rows.Any(row => column.Shown(row).Length > 0))];
    }

    /// <summary>"1 thread", "2 threads".</summary>
    public static string ThreadsHeader(int count) => count == 1 ? "1 thread" : $"{count} threads";

    /// <summary>A unit as people write it.</summary>
    public static string UnitName(string unit) => unit switch
    {
        "gops" => "GOPS",
        "gb_per_s" => "GB/s",
        _ => unit,
    };
}
