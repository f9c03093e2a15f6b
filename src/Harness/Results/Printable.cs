namespace Kernels.Harness.Results;

/// <summary>Text from files, for a terminal.</summary>
internal static class Printable
{
    /// <summary>The text without characters that a terminal would obey.</summary>
    public static string Of(string text) =>
        text.Any(char.IsControl) ? string.Concat(text.Select(c => char.IsControl(c) ? '?' : c)) : text;
}
