using System.Globalization;
using System.Text;
using Kernels.Harness.Results;

namespace Kernels.Harness.Report;

/// <summary>The tables of a README: a function of a results file, between two comments of which the first names the file. Of a run with GEMM they are
/// that of one layer, beside peers, and that of its other shapes; of a run without, one of every op (<see cref="StepTables"/>).</summary>
internal static class ReadmeTable
{
    /// <summary>How the first comment begins; the file's name and " -->" follow.</summary>
    public const string BeginPrefix = "<!-- kernels report: ";

    /// <summary>The last comment.</summary>
    public const string End = "<!-- kernels report ends -->";

    private const string CommentEnd = " -->";

    /// <summary>The file that each table of a text names, in order.</summary>
    /// <exception cref="FormatException">A comment has no partner.</exception>
    public static IReadOnlyList<string> Sources(string text) => [.. Blocks(text).Select(block => block.Source)];

    /// <summary>Puts the table of a run where the text has one of the same file; where it has but one table, this is replaced
    /// whatever its file.</summary>
    /// <param name="text">The README.</param>
    /// <param name="source">The file as the README names it, relative to itself, with slashes.</param>
    /// <param name="run">What the file holds.</param>
    /// <exception cref="FormatException">There is no place for it, or a comment has no partner.</exception>
    public static string Replace(string text, string source, RunResult run)
    {
        Block[] blocks = [.. Blocks(text)];
        Block[] fitting = [.. blocks.Where(block => block.Source == source)];
        if (fitting.Length == 0)
            fitting = blocks;
        if (fitting.Length != 1)
        {
            throw new FormatException(
                $"there are {fitting.Length} places for a table of {source}; one is wanted, between a line '{BeginPrefix}{source}{CommentEnd}' and a line '{End}'");
        }

        return text[..fitting[0].Begin] + $"{BeginPrefix}{source}{CommentEnd}\n{Write(run, source)}{End}" + text[fitting[0].End..];
    }

    /// <summary>The table without the comments around it.</summary>
    /// <exception cref="FormatException">The run has nothing to show.</exception>
    public static string Write(RunResult run, string source)
    {
        if (!run.Cases.Any(IsShown))
            return StepTables.Write(run, source);
        (long n, long k) = ShapeOf(run);
        CaseResult[] cases = [.. run.Cases.Where(c => IsShown(c) && c.Shape["n"] == n && c.Shape["k"] == k)];
        long[] batches = [.. cases.Select(c => c.Shape["m"]).Distinct().Order()];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{run.Machine.Cpu}, {run.Run.CreatedUtc:yyyy-MM-dd}, N = {n}, K = {k}, weights cold for M <= 8. ")
            .Append("Share of the ceiling measured around each case; after it our speed over that of the fastest peer whose result is right, by number. ")
            .Append($"Made by `kernels report` from [{source}]({source}).\n\n| cell | T | variant |");
        foreach (long m in batches)
            text.Append($" M = {m} |");
        text.Append("\n|---|---:|---|").Insert(text.Length, "---:|", batches.Length).Append('\n');
        var peers = new List<string>();
        foreach (var row in cases.GroupBy(c => (c.Scheme, c.Threads, c.Isa)))
        {
            text.Append($"| `{row.Key.Scheme}` | {row.Key.Threads} | {row.Key.Isa} |");
            foreach (long m in batches)
                text.Append($" {Cell(row.FirstOrDefault(c => c.Shape["m"] == m), peers)} |");
            text.Append('\n');
        }

        if (peers.Count > 0)
            text.Append("\nPeers: ").AppendJoin("; ", peers.Select((name, i) => $"{i + 1} {name}")).Append(".\n");
        WriteOtherShapes(run, n, k, text);
        return text.ToString();
    }

    // All batches of a shape in one field, in percent, without peers and on the fewest threads: as wide as a page.
    private static void WriteOtherShapes(RunResult run, long n, long k, StringBuilder text)
    {
        CaseResult[] shown = [.. run.Cases.Where(c => IsShown(c) && (c.Shape["n"] != n || c.Shape["k"] != k))];
        if (shown.Length == 0)
            return;
        int threads = shown.Min(c => c.Threads);
        CaseResult[] cases = [.. shown.Where(c => c.Threads == threads)];
        (long N, long K, long[] Batches)[] shapes =
        [
            .. cases.GroupBy(c => (N: c.Shape["n"], K: c.Shape["k"]))
                .Select(group => (group.Key.N, group.Key.K, group.Select(c => c.Shape["m"]).Distinct().Order().ToArray())),
        ];
        text.Append(CultureInfo.InvariantCulture, $"\nOther layers (N x K), {(threads == 1 ? "one thread" : $"{threads} threads")}, shares in percent:\n\n| cell | variant |");
        foreach ((long otherN, long otherK, long[] batches) in shapes)
            text.Append(CultureInfo.InvariantCulture, $" {otherN} x {otherK}, M = ").AppendJoin(", ", batches).Append(" |");
        text.Append("\n|---|---|").Insert(text.Length, "---:|", shapes.Length).Append('\n');
        foreach (var row in cases.GroupBy(c => (c.Scheme, c.Isa)))
        {
            text.Append($"| `{row.Key.Scheme}` | {row.Key.Isa} |");
            foreach ((long otherN, long otherK, _) in shapes)
            {
                IEnumerable<CaseResult> ofShape = row.Where(c => c.Shape["n"] == otherN && c.Shape["k"] == otherK);
                text.Append(' ').AppendJoin(", ", ofShape.OrderBy(c => c.Shape["m"]).Select(Share)).Append(" |");
            }

            text.Append('\n');
        }
    }

    private static string Share(CaseResult result) => result.KernelError?.Mismatches > 0
        ? "WRONG"
        : (100 * result.OfCeiling!.Value).ToString("F0", CultureInfo.InvariantCulture);

    private readonly record struct Block(string Source, int Begin, int End);

    // A case that is wrong has no speed.
    private static string Cell(CaseResult? result, List<string> peers)
    {
        if (result is null)
            return "";
        if (result.KernelError?.Mismatches > 0)
            return "WRONG";
        string share = Figures.Percent(result.OfCeiling!.Value);
        if (result.BestPeer is not { } peer)
            return share;
        string name = $"{peer.Name} {peer.Version}";
        if (!peers.Contains(name))
            peers.Add(name);
        return $"{share}, {Figures.Factor(peer.Speedup!.Value)} <sup>{peers.IndexOf(name) + 1}</sup>";
    }

    // The layer with most cases; the first of those that have as many.
    private static (long N, long K) ShapeOf(RunResult run) => run.Cases
        .Where(IsShown).GroupBy(c => (c.Shape["n"], c.Shape["k"])).MaxBy(group => group.Count())!.Key;

    private static bool IsShown(CaseResult result) => result is { Op: "gemm", Layer: null, OfCeiling: not null };

    private static IEnumerable<Block> Blocks(string text)
    {
        for (int at = text.IndexOf(BeginPrefix, StringComparison.Ordinal); at >= 0; at = text.IndexOf(BeginPrefix, at, StringComparison.Ordinal))
        {
            int name = at + BeginPrefix.Length;
            int close = text.IndexOf(CommentEnd, name, StringComparison.Ordinal);
            int end = text.IndexOf(End, name, StringComparison.Ordinal);
            int next = text.IndexOf(BeginPrefix, name, StringComparison.Ordinal);
            if (close < 0 || end < close || (next >= 0 && next < end) || text.AsSpan(name, close - name).Contains('\n'))
                throw new FormatException($"a line '{BeginPrefix}FILE{CommentEnd}' has no line '{End}' after it");
            end += End.Length;
            yield return new Block(text[name..close], at, end);
            at = end;
        }
    }
}
