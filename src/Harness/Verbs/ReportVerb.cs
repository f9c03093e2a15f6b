using CommandLine;
using Kernels.Harness.Report;
using Kernels.Harness.Results;

namespace Kernels.Harness.Verbs;

/// <summary>Options of <c>report</c>.</summary>
[Verb("report", HelpText = "Make a web page with plots from a results file; it needs nothing but itself.")]
internal sealed class ReportOptions
{
    /// <summary>The results.</summary>
    [Value(0, MetaName = "RESULTS", Required = true, HelpText = "Results file that bench --json saved.")]
    public string Results { get; set; } = "";

    /// <summary>The page.</summary>
    [Option("html", Required = true, MetaValue = "FILE", HelpText = "The page to write.")]
    public string Html { get; set; } = "";
}

/// <summary>Reports.</summary>
internal static class ReportVerb
{
    /// <summary>Runs the verb.</summary>
    public static int Run(ReportOptions options, Terminal terminal)
    {
        OptionValues.Writable("--html", options.Html);
        RunResult result = ResultsJson.Load(options.Results);
        TextFiles.Write(options.Html, HtmlReport.Write(result));
        terminal.Line($"{result.Cases.Count} cases reported in {options.Html}");
        return CommandLine.Ok;
    }
}
