using System.Text.RegularExpressions;

namespace Kernels.Bindgen.Read;

/// <summary>The text of a header, for what castxml's XML does not hold: comments and macros.</summary>
internal sealed partial class HeaderText
{
    private readonly string _text;
    private readonly List<int> _lineStarts = [0];

    public HeaderText(string path)
        : this(path, File.ReadAllText(path).ReplaceLineEndings("\n"))
    {
    }

    internal HeaderText(string path, string text)
    {
        FileName = Path.GetFileName(path);
        _text = text;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\n')
                _lineStarts.Add(i + 1);
        }
    }

    public string FileName { get; }

    /// <summary>The comment right before a declaration.</summary>
    /// <param name="line">The line of the declaration's name, counted from 1.</param>
    /// <param name="parameterNames">The parameters that the comment may speak of.</param>
    public Comment CommentBefore(int line, params IReadOnlyCollection<string> parameterNames) =>
        CommentEndingAt(_lineStarts[line - 1], parameterNames);

    /// <summary>The comment right before a value of an enum.</summary>
    /// <param name="enumLine">The line of the enum's name, after which the value is looked for.</param>
    /// <param name="name">The name of the value.</param>
    public Comment CommentBeforeValue(int enumLine, string name)
    {
        Match match = new Regex($@"^\s*{Regex.Escape(name)}\b", RegexOptions.Multiline).Match(_text, _lineStarts[enumLine - 1]);
        return match.Success ? CommentEndingAt(match.Index, []) : Comment.None;
    }

    /// <summary>Macros without parameters that stand for an integer.</summary>
    public IEnumerable<ConstantDeclaration> Constants() =>
        Define().Matches(_text).Select(match => new ConstantDeclaration(
            match.Groups["name"].Value, match.Groups["value"].Value, CommentEndingAt(match.Index, [])));

    private Comment CommentEndingAt(int position, IReadOnlyCollection<string> parameterNames)
    {
        string before = _text[..position].TrimEnd();
        if (!before.EndsWith("*/", StringComparison.Ordinal))
            return Comment.None;
        int start = before.LastIndexOf("/*", StringComparison.Ordinal);
        return before[start..].StartsWith("/**", StringComparison.Ordinal)
            ? Comment.Parse(before[(start + 3)..^2], parameterNames)
            : Comment.None;
    }

    [GeneratedRegex(@"^#[ \t]*define[ \t]+(?<name>KRN_\w+)[ \t]+(?<value>-?(0[xX][0-9a-fA-F]+|[0-9]+))[ \t]*$", RegexOptions.Multiline)]
    private static partial Regex Define();
}
