using System.Text.RegularExpressions;

namespace Kernels.Bindgen.Read;

/// <summary>What a comment says about one parameter.</summary>
internal sealed record ParameterComment(string Name, string Text);

/// <summary>A documentation comment of a header, taken apart.</summary>
/// <remarks>The headers write comments as prose, then perhaps a list of parameters (a name, two spaces or more, a text that may go on in
/// lines set further in), then more prose, in which "Errors:" begins what is said about the result.</remarks>
internal sealed partial record Comment(string Summary, IReadOnlyList<ParameterComment> Parameters, string Remarks, string Errors)
{
    private const int MinContinuationIndent = 8;

    public static Comment None { get; } = new(string.Empty, [], string.Empty, string.Empty);

    /// <summary>Takes apart the text between the comment's marks.</summary>
    public static Comment Parse(string text, IReadOnlyCollection<string> parameterNames)
    {
        var summary = new List<string>();
        var remarks = new List<string>();
        var parameters = new List<(string Name, List<string> Lines)>();
        var errors = new List<string>();
        List<string> current = summary;
        foreach (string line in Lines(text))
        {
            Match item = ParameterLine().Match(line);
            if (item.Success && parameterNames.Contains(item.Groups["name"].Value))
            {
                current = [];
                parameters.Add((item.Groups["name"].Value, current));
                current.Add(item.Groups["text"].Value);
                continue;
            }

            bool isContinuation = line.Length - line.TrimStart().Length >= MinContinuationIndent;
            if (line.StartsWith("Errors:", StringComparison.Ordinal))
                current = errors;
            else if (parameters.Count != 0 && !isContinuation && current != errors)
                current = remarks;
            current.Add(line.Trim());
        }

        return new(
            Join(summary), parameters.Select(parameter => new ParameterComment(parameter.Name, Join(parameter.Lines))).ToList(),
            Join(remarks), Join(errors));
    }

    private static IEnumerable<string> Lines(string text) =>
        text.Split('\n').Select((line, index) => index == 0 ? line.Trim() : Margin().Replace(line, string.Empty).TrimEnd());

    private static string Join(IEnumerable<string> lines) => string.Join(' ', lines.Where(line => line.Length != 0));

    /// <summary>The star at the beginning of a line, and the two spaces that follow it.</summary>
    [GeneratedRegex(@"^\s*\*? {0,2}")]
    private static partial Regex Margin();

    [GeneratedRegex(@"^(?<name>\w+) {2,}(?<text>\S.*)$")]
    private static partial Regex ParameterLine();
}
