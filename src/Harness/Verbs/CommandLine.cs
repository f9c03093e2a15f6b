using CommandLine;
using CommandLine.Text;
using Kernels.Harness.Formats;
using Kernels.Harness.Results;

namespace Kernels.Harness.Verbs;

/// <summary>The verbs of the program and what their exit codes mean.</summary>
internal static class CommandLine
{
    /// <summary>All is well.</summary>
    public const int Ok = 0;

    /// <summary>The run found what it looks for: a difference, a regression, a case that is wrong.</summary>
    public const int Found = 1;

    /// <summary>What was asked for cannot be done: wrong options, a file that cannot be read, a library that is not there.</summary>
    public const int Unusable = 2;

    /// <summary>The run was interrupted, and what it had by then is saved: what a shell reports for a program that Ctrl+C ended.</summary>
    public const int Interrupted = 130;

    private const int HelpWidth = 120;

    private static readonly Type[] s_verbs =
        [typeof(InfoOptions), typeof(BenchOptions), typeof(VerifyOptions), typeof(EvalOptions), typeof(CompareOptions), typeof(ReportOptions)];

    /// <summary>Runs the program.</summary>
    /// <returns>The exit code.</returns>
    public static int Run(string[] args, TextWriter output, TextWriter error)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.CaseInsensitiveEnumValues = true;
        });
        ParserResult<object> result = parser.ParseArguments(args, s_verbs);
        return result.MapResult(options => Execute(options, output, error), errors => Explain(result, [.. errors], output, error));
    }

    private static int Execute(object options, TextWriter output, TextWriter error)
    {
        var terminal = new Terminal(output, error);
        try
        {
            return options switch
            {
                InfoOptions info => InfoVerb.Run(info, terminal),
                BenchOptions bench => BenchVerb.Run(bench, terminal),
                VerifyOptions verify => VerifyVerb.Run(verify, terminal),
                EvalOptions eval => EvalVerb.Run(eval, terminal),
                CompareOptions compare => CompareVerb.Run(compare, terminal),
                ReportOptions report => ReportVerb.Run(report, terminal),
                _ => throw new InvalidOperationException($"{options.GetType()} has no verb."),
            };
        }
        catch (Exception exception) when (exception is UsageException or ResultsFormatException or ModelFormatException or KernelException
            or DllNotFoundException or IOException or UnauthorizedAccessException)
        {
            error.WriteLine($"kernels: {exception.Message}");
            return Unusable;
        }
        catch (TypeInitializationException exception) when (exception.InnerException is DllNotFoundException or KernelException)
        {
            error.WriteLine($"kernels: {exception.InnerException.Message}");
            return Unusable;
        }
    }

    private static int Explain(ParserResult<object> result, IReadOnlyList<Error> errors, TextWriter output, TextWriter error)
    {
        if (errors.IsVersion())
        {
            output.WriteLine($"kernels {KernelLibrary.Version}");
            return Ok;
        }

        if (!errors.IsHelp())
        {
            string[] reasons = [.. errors.Where(e => e.Tag != ErrorType.NoVerbSelectedError).Select(Describe)];
            foreach (string reason in reasons)
                error.WriteLine($"kernels: {reason}");
            if (reasons.Length == 0)
                error.WriteLine("kernels: no verb was given.");
            error.WriteLine("'kernels --help' lists the verbs, 'kernels VERB --help' the options of one.");
            return Unusable;
        }

        HelpText help = HelpText.AutoBuild(
            result,
            text =>
            {
                text.AdditionalNewLineAfterOption = false;
                text.AddDashesToOption = true;
                text.MaximumDisplayWidth = HelpWidth;
                text.Heading = "kernels: throughput, memory and error of quantized kernels, beside what this machine can do";
                text.Copyright = "";
                text.AutoVersion = false;
                text.AutoHelp = false;
                return text;
            },
            example => example,
            verbsIndex: result.TypeInfo.Current == typeof(NullInstance),
            maxDisplayWidth: HelpWidth);
        output.WriteLine(help.ToString().TrimEnd());
        return Ok;
    }

    // The parser's own sentence for an argument without a name is hard to understand.
    private static string Describe(Error error) => error is MissingRequiredOptionError { NameInfo.NameText: "" }
        ? "an argument is missing."
        : SentenceBuilder.Create().FormatError(error);
}
