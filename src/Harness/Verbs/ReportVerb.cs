using CommandLine;
using Kernels.Harness.Report;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Options of <c>report</c>.</summary>
[Verb("report", HelpText = "Make a web page with plots from a results file, which needs nothing but itself, or the table of a README.")]
internal sealed class ReportOptions
{
    /// <summary>The results.</summary>
    [Value(0, MetaName = "RESULTS", Required = true, HelpText = "Results file that bench --json saved.")]
    public string Results { get; set; } = "";

    /// <summary>The page.</summary>
    [Option("html", MetaValue = "FILE", HelpText = "The page to write.")]
    public string? Html { get; set; }

    /// <summary>The README.</summary>
    [Option("readme", MetaValue = "FILE", HelpText = "The Markdown file whose table is to be made anew, between the comments '<!-- kernels report: RESULTS -->' and '<!-- kernels report ends -->'.")]
    public string? Readme { get; set; }

    /// <summary>Only look.</summary>
    [Option("check", HelpText = "With --readme: write nothing; exit code 1 if the table is not that of the results.")]
    public bool Check { get; set; }
}

/// <summary>Reports.</summary>
internal static class ReportVerb
{
    /// <summary>Runs the verb.</summary>
    public static int Run(ReportOptions options, Terminal terminal)
    {
        if (options.Html is null && options.Readme is null)
            throw new UsageException("--html or --readme says what to make.");
        if (options.Check && (options.Readme is null || options.Html is not null))
            throw new UsageException("--check looks at a README: it takes --readme, and no --html.");
        OptionValues.Writable("--html", options.Html);
        RunResult result = ResultsJson.Load(options.Results);
        if (options.Html is not null)
        {
            TextFiles.Write(options.Html, HtmlReport.Write(result));
            terminal.Line($"{result.Cases.Count} cases reported in {options.Html}");
        }

        return options.Readme is null ? CommandLine.Ok : MakeTable(options, options.Readme, result, terminal);
    }

    private static int MakeTable(ReportOptions options, string readme, RunResult result, Terminal terminal)
    {
        string text = File.ReadAllText(readme);
        // Both in full, because a relative path has no common root with one that is not.
        string folder = Path.GetDirectoryName(Path.GetFullPath(readme))!;
        string source = Path.GetRelativePath(folder, Path.GetFullPath(options.Results)).Replace('\\', '/');
        string made;
        try
        {
            made = ReadmeTable.Replace(text, source, result);
        }
        catch (FormatException exception)
        {
            throw new UsageException($"--readme: {readme}: {exception.Message}.");
        }

        if (made == text)
        {
            terminal.Line($"{readme} is up to date");
            return CommandLine.Ok;
        }

        if (options.Check)
        {
            terminal.Error.WriteLine(
                $"kernels: {readme} is not what {options.Results} says; 'kernels report {options.Results} --readme {readme}' makes its table anew.");
            return CommandLine.Found;
        }

        TextFiles.Write(readme, made);
        terminal.Line($"the table in {readme} is made anew");
        return CommandLine.Ok;
    }
}
