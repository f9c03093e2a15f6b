using System.Diagnostics;
using System.Globalization;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Where a verb writes: results to one side, progress and complaints to the other.</summary>
internal sealed class Terminal
{
    // What fits most windows; also used where the output is not a window.
    private const int DefaultWidth = 120;

    // A run of two hours fills two screens.
    private static readonly TimeSpan s_betweenLines = TimeSpan.FromMinutes(1);

    private readonly TextWriter _output;
    private readonly bool _isLogged;

    /// <summary>Makes a terminal over two writers.</summary>
    public Terminal(TextWriter output, TextWriter error)
    {
        _output = output;
        Out = Make(output, ReferenceEquals(output, Console.Out) && !Console.IsOutputRedirected);
        bool isProgram = ReferenceEquals(error, Console.Error);
        IsInteractive = isProgram && !Console.IsErrorRedirected;
        _isLogged = isProgram && !IsInteractive;
        Error = Make(error, IsInteractive);
    }

    /// <summary>Results.</summary>
    public IAnsiConsole Out { get; }

    /// <summary>Progress and complaints.</summary>
    public IAnsiConsole Error { get; }

    /// <summary>Whether somebody watches progress.</summary>
    public bool IsInteractive { get; }

    /// <summary>Writes a line of results as it is.</summary>
    public void Line(string text = "") => Out.WriteLine(text);

    /// <summary>Writes text that a program may read: nothing is wrapped or coloured.</summary>
    public void Raw(string text) => _output.Write(text);

    /// <summary>Runs something long. Who watches sees how far it is; a log gets a line now and then.</summary>
    public T WithProgress<T>(Func<Action<BenchProgress>, T> run)
    {
        if (!IsInteractive)
            return run(_isLogged ? Logged() : _ => { });
        return Error.Progress()
            // A refresh from another thread would take time from what is being measured.
            .AutoRefresh(false)
            .AutoClear(true)
            .Columns(new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn(), new TaskDescriptionColumn())
            .Start(context =>
            {
                ProgressTask task = context.AddTask("starting");
                return run(progress =>
                {
                    task.MaxValue = Math.Max(1, progress.Total);
                    task.Value = progress.Done;
                    task.Description = Markup.Escape(Printable.Of(progress.What));
                    context.Refresh();
                });
            });
    }

    private Action<BenchProgress> Logged()
    {
        long start = Stopwatch.GetTimestamp();
        TimeSpan next = s_betweenLines;
        return progress =>
        {
            TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
            if (elapsed < next)
                return;
            next = elapsed + s_betweenLines;
            Error.Write(new Text(string.Create(
                CultureInfo.InvariantCulture, $"kernels: {progress.Done} of {progress.Total} after {elapsed.TotalMinutes:0} min: {Printable.Of(progress.What)}\n")));
        };
    }

    private static IAnsiConsole Make(TextWriter writer, bool isWindow)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = isWindow ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = isWindow ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = isWindow ? InteractionSupport.Detect : InteractionSupport.No,
        });
        if (!isWindow)
            console.Profile.Width = DefaultWidth;
        return console;
    }
}
