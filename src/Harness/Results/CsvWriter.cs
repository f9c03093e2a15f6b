using System.Text;

namespace Kernels.Harness.Results;

/// <summary>Cases as CSV (RFC 4180), one line each, figures in full.</summary>
internal static class CsvWriter
{
    /// <summary>The text of the file.</summary>
    public static string Write(RunResult result)
    {
        var text = new StringBuilder();
        text.AppendJoin(',', CaseTable.Csv.Select(column => column.Name)).Append('\n');
        foreach (CaseResult row in result.Cases)
            text.AppendJoin(',', CaseTable.Csv.Select(column => Quote(column.Exact(row)))).Append('\n');
        return text.ToString();
    }

    private static string Quote(string field) =>
        field.AsSpan().ContainsAny(",\"\r\n") ? $"\"{field.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : field;
}
