using System.Globalization;
using System.Text;
using Kernels.Harness.Results;

namespace Kernels.Harness.Report;

/// <summary>What a README shows of the ops beside GEMM, a table for each: a row is a scheme, a column a shape, a cell the time and its share of the
/// ceiling. A fused step is compared with its parts one after the other.</summary>
internal static class StepTables
{
    // How the scheme of a fused step becomes that of its parts.
    private const string FusedInfix = "-quantize", PartsInfix = "-then-quantize";

    /// <summary>The tables.</summary>
    /// <exception cref="FormatException">The run has no case with a ceiling.</exception>
    public static string Write(RunResult run, string source)
    {
        CaseResult[] cases = [.. run.Cases.Where(c => c is { Layer: null, OfCeiling: not null, Ceiling: not null, TimeNs: not null } && c.Op != "gemm")];
        if (cases.Length == 0)
            throw new FormatException("the run has nothing with a ceiling");
        var byId = run.Cases.ToDictionary(c => c.Key);
        var text = new StringBuilder();
        var peers = new List<string>();
        text.Append(CultureInfo.InvariantCulture, $"{run.Machine.Cpu}, {run.Run.CreatedUtc:yyyy-MM-dd}. Time, and the share of the ceiling measured around each case. ")
            .Append($"Made by `kernels report` from [{source}]({source}).\n");
        foreach (IGrouping<string, CaseResult> op in cases.GroupBy(c => c.Op))
            WriteOp(text, op.Key, [.. op], byId, peers);
        if (peers.Count > 0)
            text.Append("\nPeers, and our speed over theirs: ").AppendJoin("; ", peers.Select((name, i) => $"{i + 1} {name}")).Append(".\n");
        return text.ToString();
    }

    private static void WriteOp(
        StringBuilder text, string op, CaseResult[] cases, Dictionary<string, CaseResult> byId, List<string> peers)
    {
        CaseResult[] own = [.. cases.Where(c => PartsOf(c.Id, byId) is not null || !IsParts(c))];
        string[] shapes = [.. own.Select(ShapeOf).Distinct()];
        string[] ceilings = [.. own.Select(c => c.Ceiling!.Name).Distinct()];
        text.Append(ceilings.Length == 1 ? $"\nOf `{ceilings[0]}`" : "\nOf the ceiling in brackets");
        text.Append(own.Any(c => PartsOf(c.Id, byId) is not null) ? "; then the speed over that of the parts, one after the other:\n" : ":\n");
        text.Append($"\n| `{op}` | T | variant |");
        foreach (string shape in shapes)
            text.Append($" {shape} |");
        text.Append("\n|---|---:|---|").Insert(text.Length, "---:|", shapes.Length).Append('\n');
        foreach (var row in own.GroupBy(c => (c.Scheme, c.Threads, c.Isa)))
        {
            text.Append($"| `{row.Key.Scheme}` | {row.Key.Threads} | {row.Key.Isa} |");
            foreach (string shape in shapes)
            {
                CaseResult? result = row.FirstOrDefault(c => ShapeOf(c) == shape);
                text.Append($" {(result is null ? "" : Cell(result, ceilings.Length > 1, byId, peers))} |");
            }

            text.Append('\n');
        }
    }

    // A case that is wrong has no speed.
    private static string Cell(CaseResult result, bool namesCeiling, Dictionary<string, CaseResult> byId, List<string> peers)
    {
        if (result.KernelError?.Mismatches > 0)
            return "WRONG";
        string text = $"{Figures.Time(result.TimeNs!.Median)}, {Figures.Percent(result.OfCeiling!.Value)}";
        if (namesCeiling)
            text += $" (`{result.Ceiling!.Name}`)";
        if (PartsOf(result.Id, byId) is { } parts)
            text += $", {Figures.Factor(parts.TimeNs!.Median / result.TimeNs!.Median)}";
        if (result.BestVariant is { } best)
            text += $", {Figures.Factor(best.OwnTimeNs / best.TimeNs)} the time of {best.Isa}";
        if (result.BestPeer is not { } peer)
            return text;
        string name = $"{peer.Name} {peer.Version}";
        if (!peers.Contains(name))
            peers.Add(name);
        return $"{text}, {Figures.Factor(peer.Speedup!.Value)} <sup>{peers.IndexOf(name) + 1}</sup>";
    }

    private static bool IsParts(CaseResult result) => result.Op == "fused" && result.Scheme.Contains(PartsInfix, StringComparison.Ordinal);

    private static CaseResult? PartsOf(string id, Dictionary<string, CaseResult> byId) =>
        id.StartsWith("fused/", StringComparison.Ordinal) && !id.Contains(PartsInfix, StringComparison.Ordinal)
        && byId.TryGetValue(id.Replace(FusedInfix, PartsInfix, StringComparison.Ordinal), out CaseResult? parts) && parts.TimeNs is not null
            ? parts
            : null;

    private static string ShapeOf(CaseResult result) => result.Id.Split('/')[2];
}
