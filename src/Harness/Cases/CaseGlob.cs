using System.Text;
using System.Text.RegularExpressions;

namespace Kernels.Harness.Cases;

/// <summary>A pattern over whole case ids: <c>*</c> stands for any characters, slashes included, <c>?</c> for one character,
/// <c>{a,b}</c> for either. Everything else stands for itself.</summary>
internal sealed partial class CaseGlob
{
    private const int MaxLength = 1000;

    private readonly Regex _regex;

    private CaseGlob(string pattern, Regex regex)
    {
        Pattern = pattern;
        _regex = regex;
    }

    /// <summary>The pattern as it was given.</summary>
    public string Pattern { get; }

    /// <summary>Makes a glob.</summary>
    /// <exception cref="FormatException">The pattern is empty, too long, or has a brace without its partner.</exception>
    public static CaseGlob Parse(string pattern)
    {
        if (pattern.Length is 0 or > MaxLength)
            throw new FormatException($"a pattern has 1 to {MaxLength} characters");

        var regex = new StringBuilder("^");
        bool inBraces = false;
        foreach (char c in pattern)
        {
            switch (c)
            {
                case '*':
                    regex.Append(".*");
                    break;
                case '?':
                    regex.Append('.');
                    break;
                case '{' when !inBraces:
                    regex.Append("(?:");
                    inBraces = true;
                    break;
                case '{':
                    throw new FormatException($"'{pattern}' has a brace inside braces");
                case '}' when inBraces:
                    regex.Append(')');
                    inBraces = false;
                    break;
                case '}':
                    throw new FormatException($"'{pattern}' closes a brace that was not opened");
                case ',' when inBraces:
                    regex.Append('|');
                    break;
                default:
                    regex.Append(Regex.Escape(c.ToString()));
                    break;
            }
        }

        if (inBraces)
            throw new FormatException($"'{pattern}' opens a brace and does not close it");
        regex.Append("\\z");
        // The non-backtracking engine matches any pattern in time linear in the id.
        return new CaseGlob(pattern, new Regex(regex.ToString(), RegexOptions.NonBacktracking | RegexOptions.CultureInvariant));
    }

    /// <summary>Whether the pattern covers the whole id.</summary>
    public bool IsMatch(string id) => _regex.IsMatch(id);

    /// <summary>The numbers of threads that the pattern names, such as 4 in <c>*/t4/*</c>.</summary>
    public IReadOnlyList<int> NamedThreads() =>
        [.. ThreadsPart().Matches(Pattern).Select(match => int.Parse(match.Groups[1].ValueSpan)).Where(n => n > 0).Distinct()];

    /// <summary>Whether the pattern's last part names one of these variants, rather than leaving it open.</summary>
    public bool NamesVariant(IEnumerable<string> variants)
    {
        string last = Pattern[(Pattern.LastIndexOf('/') + 1)..];
        return last.Split('{', ',', '}', '*', '?').Any(word => variants.Contains(word));
    }

    [GeneratedRegex("/t([0-9]{1,4})/")]
    private static partial Regex ThreadsPart();
}
