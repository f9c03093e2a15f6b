using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>A run on the terminal.</summary>
internal static class RunTables
{
    /// <summary>Writes the machine, the ceilings and the cases.</summary>
    public static void Write(Terminal terminal, RunResult result)
    {
        foreach (string line in RunSummary.Lines(result))
            terminal.Out.Write(new Text(line + "\n"));
        terminal.Line();
        WriteCeilings(terminal, result.Ceilings);
        foreach (IGrouping<string, CaseResult> group in RunSummary.Groups(result))
        {
            CaseResult[] rows = [.. group];
            IReadOnlyList<CaseColumn> columns = RunSummary.ColumnsFor(rows);
            Table table = MakeTable(group.Key);
            foreach (CaseColumn column in columns)
                AddColumn(table, column.Header, column.IsNumber);
            foreach (CaseResult row in rows)
                table.AddRow(columns.Select(column => Cell(column.Shown(row), row)));
            terminal.Out.Write(table);
            terminal.Line();
            WritePeers(terminal, group.Key, rows);
        }
    }

    /// <summary>Writes the table of ceilings.</summary>
    public static void WriteCeilings(Terminal terminal, IReadOnlyList<CeilingResult> ceilings)
    {
        if (ceilings.Count == 0)
            return;
        Table table = MakeTable("ceilings");
        AddColumn(table, "ceiling", isNumber: false);
        AddColumn(table, "isa", isNumber: false);
        foreach (int threads in RunSummary.ThreadsOf(ceilings))
            AddColumn(table, RunSummary.ThreadsHeader(threads), isNumber: true);
        foreach (CeilingRow row in RunSummary.CeilingRows(ceilings))
            table.AddRow([new Text(row.Name), new Text(row.Isa), .. row.Values.Select(value => new Text(value))]);
        terminal.Out.Write(table);
        terminal.Line();
    }

    /// <summary>Writes the table of peers of some cases, if they have more than one.</summary>
    public static void WritePeers(Terminal terminal, string title, CaseResult[] cases)
    {
        IReadOnlyList<string[]> rows = PeerTable.Rows(cases);
        if (rows.Count == 0)
            return;
        Table table = MakeTable($"{title}: peers");
        foreach ((string text, bool isNumber) in PeerTable.Headers)
            AddColumn(table, text, isNumber);
        foreach (string[] row in rows)
            table.AddRow(row.Select(text => new Text(Printable.Of(text))));
        terminal.Out.Write(table);
        terminal.Line();
    }

    /// <summary>A table as all of them look.</summary>
    public static Table MakeTable(string title) => new()
    {
        Title = new TableTitle(Markup.Escape(title), new Style(decoration: Decoration.Bold)),
        Border = TableBorder.Simple,
    };

    /// <summary>Adds a column; numbers are set to the right.</summary>
    public static void AddColumn(Table table, string header, bool isNumber) => table.AddColumn(
        new TableColumn(new Text(header)) { Alignment = isNumber ? Justify.Right : Justify.Left, NoWrap = isNumber, Padding = new Padding(0, 0, 1, 0) });

    private static Text Cell(string text, CaseResult row) =>
        new(Printable.Of(text), row.KernelError?.Mismatches > 0 ? new Style(Color.Red) : Style.Plain);
}
