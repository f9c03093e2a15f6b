using System.Text;
using Kernels.Harness.Results;

namespace Kernels.Harness.Report;

/// <summary>A run as a web page with plots: a function of the results alone, in one file, without scripts.</summary>
internal static class HtmlReport
{
    private const string Style = """
        body { font: 15px/1.45 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1.5rem; display: block; overflow-x: auto; }
        th, td { padding: .15rem .6rem; text-align: left; border-bottom: 1px solid #ddd; }
        th, .n, td:first-child { white-space: nowrap; }
        .n { text-align: right; }
        .wrong td { background: #fdd; }
        svg { max-width: 100%; height: auto; }
        svg text { font: 12px system-ui, sans-serif; fill: #333; }
        .bar { fill: #2a6fb0; } .full { stroke: #b03a2a; stroke-width: 1.5; stroke-dasharray: 4 3; } .grid { stroke: #ddd; }
        .column { stroke: #bbb; stroke-dasharray: 1 3; }
        """;

    /// <summary>The text of the page.</summary>
    public static string Write(RunResult result)
    {
        var html = new StringBuilder();
        html.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>kernels: results</title>\n<style>\n")
            .Append(Style).Append("\n</style></head><body>\n<h1>Results</h1>\n<p>");
        foreach (string line in RunSummary.Lines(result))
            html.Append(SvgChart.Escape(line)).Append("<br>\n");
        html.Append("</p>\n");
        WriteCeilings(html, result);
        WriteQuality(html, result);
        foreach (IGrouping<string, CaseResult> group in RunSummary.Groups(result))
            WriteGroup(html, group.Key, [.. group]);
        return html.Append("</body></html>\n").ToString();
    }

    private static void WriteCeilings(StringBuilder html, RunResult result)
    {
        if (result.Ceilings.Count == 0)
            return;
        html.Append("<h2>Ceilings</h2>\n<table><tr><th>ceiling</th><th>isa</th>");
        foreach (int threads in RunSummary.ThreadsOf(result.Ceilings))
            html.Append($"<th class=\"n\">{RunSummary.ThreadsHeader(threads)}</th>");
        html.Append("</tr>\n");
        foreach (CeilingRow row in RunSummary.CeilingRows(result.Ceilings))
        {
            html.Append($"<tr><td>{SvgChart.Escape(row.Name)}</td><td>{SvgChart.Escape(row.Isa)}</td>");
            foreach (string value in row.Values)
                html.Append($"<td class=\"n\">{SvgChart.Escape(value)}</td>");
            html.Append("</tr>\n");
        }

        html.Append("</table>\n");
    }

    // What a format costs in memory against what it costs in quality, one point for each scheme of the GEMM.
    private static void WriteQuality(StringBuilder html, RunResult result)
    {
        Point[] points =
        [
            .. result.Cases.Where(c => c is { Op: "gemm", Bytes.F16: > 0, QuantizationError.SqnrDb: not null }).GroupBy(c => WeightsOf(c.Scheme))
                .SelectMany(weights => weights.GroupBy(c => c.Scheme).Select(scheme => new Point(
                    scheme.Key[Math.Min(weights.Key.Length + 1, scheme.Key.Length)..], weights.Key,
                    weights.Average(c => 16.0 * c.Bytes!.Packed / c.Bytes.F16), scheme.Average(c => c.QuantizationError!.SqnrDb!.Value)))),
        ];
        if (points.Length > 0)
        {
            html.Append("<h2>Quality against size</h2>\n<p>Weights by column, activations by colour; the mean over all shapes:</p>\n")
                .Append(SvgChart.Scatter(points, "bits per weight, scales included", "SQNR of the result, dB"));
        }
    }

    // What stands before the activations in a scheme such as w4g128-a8.
    private static string WeightsOf(string scheme) => scheme.Split('-')[0];

    private static void WriteGroup(StringBuilder html, string title, CaseResult[] rows)
    {
        html.Append($"<h2>{SvgChart.Escape(title)}</h2>\n");
        Bar[] shares =
            [.. rows.Where(c => c.OfCeiling is not null).Select(c => new Bar(LabelOf(c), c.OfCeiling!.Value, $"{Figures.Percent(c.OfCeiling.Value)} of {c.Ceiling?.Name}"))];
        if (shares.Length > 0)
            html.Append("<p>Share of the ceiling that binds the case, measured around it:</p>\n").Append(SvgChart.Bars(shares, 1, tick => Figures.Count(100 * tick) + "%"));
        Bar[] speedups =
            [.. rows.Where(c => c.BestPeer is not null).Select(c => new Bar(LabelOf(c), c.BestPeer!.Speedup!.Value, Figures.Factor(c.BestPeer.Speedup.Value)))];
        if (speedups.Length > 0)
        {
            string[] names = [.. rows.Select(c => c.BestPeer).OfType<PeerResult>().Select(peer => $"{peer.Name} {peer.Version}").Distinct()];
            html.Append($"<p>Speed against the fastest peer ({SvgChart.Escape(string.Join(", ", names))}), line at 1:</p>\n").Append(SvgChart.Bars(speedups, 1));
        }

        IReadOnlyList<CaseColumn> columns = RunSummary.ColumnsFor(rows);
        html.Append("<table><tr>");
        foreach (CaseColumn column in columns)
            html.Append(column.IsNumber ? "<th class=\"n\">" : "<th>").Append(SvgChart.Escape(column.Header)).Append("</th>");
        html.Append("</tr>\n");
        foreach (CaseResult row in rows)
        {
            html.Append(row.KernelError?.Mismatches > 0 ? "<tr class=\"wrong\">" : "<tr>");
            foreach (CaseColumn column in columns)
                html.Append(column.IsNumber ? "<td class=\"n\">" : "<td>").Append(SvgChart.Escape(column.Shown(row))).Append("</td>");
            html.Append("</tr>\n");
        }

        html.Append("</table>\n");
        WritePeers(html, rows);
    }

    private static void WritePeers(StringBuilder html, CaseResult[] rows)
    {
        IReadOnlyList<string[]> peers = PeerTable.Rows(rows);
        if (peers.Count == 0)
            return;
        html.Append("<table><tr>");
        foreach ((string text, bool isNumber) in PeerTable.Headers)
            html.Append(isNumber ? "<th class=\"n\">" : "<th>").Append(SvgChart.Escape(text)).Append("</th>");
        html.Append("</tr>\n");
        foreach (string[] row in peers)
        {
            html.Append("<tr>");
            for (int i = 0; i < row.Length; i++)
                html.Append(PeerTable.Headers[i].IsNumber ? "<td class=\"n\">" : "<td>").Append(SvgChart.Escape(row[i])).Append("</td>");
            html.Append("</tr>\n");
        }

        html.Append("</table>\n");
    }

    private static string LabelOf(CaseResult result) =>
        $"{(result.Layer is null ? "" : result.Layer + " ")}{CaseTable.ShapeOf(result)} t{result.Threads}";
}
