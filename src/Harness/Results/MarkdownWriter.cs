using System.Text;

namespace Kernels.Harness.Results;

/// <summary>A run as Markdown: the machine, the ceilings, and a table for each scheme.</summary>
internal static class MarkdownWriter
{
    /// <summary>The text of the file.</summary>
    public static string Write(RunResult result)
    {
        var text = new StringBuilder();
        foreach (string line in RunSummary.Lines(result))
            text.Append(line).Append("  \n");

        if (result.Ceilings.Count > 0)
        {
            text.Append("\n## Ceilings\n\n| ceiling | isa |");
            IReadOnlyList<int> threads = RunSummary.ThreadsOf(result.Ceilings);
            foreach (int count in threads)
                text.Append($" {RunSummary.ThreadsHeader(count)} |");
            text.Append("\n|---|---|").Insert(text.Length, "---:|", threads.Count).Append('\n');
            foreach (CeilingRow row in RunSummary.CeilingRows(result.Ceilings))
                text.Append($"| {row.Name} | {row.Isa} | {string.Join(" | ", row.Values)} |\n");
        }

        foreach (IGrouping<string, CaseResult> group in RunSummary.Groups(result))
        {
            IReadOnlyList<CaseColumn> columns = RunSummary.ColumnsFor([.. group]);
            text.Append($"\n## {Escape(group.Key)}\n\n| ").AppendJoin(" | ", columns.Select(c => c.Header)).Append(" |\n|");
            foreach (CaseColumn column in columns)
                text.Append(column.IsNumber ? "---:|" : "---|");
            text.Append('\n');
            foreach (CaseResult row in group)
                text.Append("| ").AppendJoin(" | ", columns.Select(c => Escape(c.Shown(row)))).Append(" |\n");
            WritePeers(text, [.. group]);
        }

        return text.ToString();
    }

    private static void WritePeers(StringBuilder text, CaseResult[] rows)
    {
        IReadOnlyList<string[]> peers = PeerTable.Rows(rows);
        if (peers.Count == 0)
            return;
        text.Append("\n| ").AppendJoin(" | ", PeerTable.Headers.Select(header => header.Text)).Append(" |\n|");
        foreach ((_, bool isNumber) in PeerTable.Headers)
            text.Append(isNumber ? "---:|" : "---|");
        text.Append('\n');
        foreach (string[] row in peers)
            text.Append("| ").AppendJoin(" | ", row.Select(Escape)).Append(" |\n");
    }

    // A layer's name comes from a file: it must not end a cell or a line, nor begin markup.
    private static string Escape(string text)
    {
        var escaped = new StringBuilder(text.Length);
        foreach (char c in text)
        {
            if (c is '|' or '\\' or '`' or '<' or '*' or '[')
                escaped.Append('\\');
            escaped.Append(char.IsControl(c) ? ' ' : c);
        }

        return escaped.ToString();
    }
}
