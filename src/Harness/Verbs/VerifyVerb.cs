using CommandLine;
using Kernels.Harness.Accuracy.Verification;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Devices;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Options of <c>verify</c>.</summary>
[Verb("verify", HelpText = "Check every variant of every op against the float64 oracle, the prescribed bits and the golden vectors. Exit code 1 on any difference.")]
internal sealed class VerifyOptions
{
    /// <summary>Which device.</summary>
    [Option("device", MetaValue = "DEVICE", HelpText = "Check the kernels of a CUDA device instead: cuda, cuda:NUMBER, or emulator, which runs them on the processor. --isa then names classes, sm80 or sm90a.")]
    public string? Device { get; set; }

    /// <summary>Levels.</summary>
    [Option("isa", MetaValue = "LIST", HelpText = "Instruction sets, such as ref,avx2. Default: all that this machine has.")]
    public string? Isa { get; set; }

    /// <summary>Which ids.</summary>
    [Option("filter", MetaValue = "GLOB", HelpText = "Run the checks whose whole id matches: * is any text, ? any character, {a,b} either.")]
    public string? Filter { get; set; }

    /// <summary>Ids only.</summary>
    [Option("list", HelpText = "Print the ids of the checks and run nothing.")]
    public bool List { get; set; }

    /// <summary>JSON.</summary>
    [Option("json", MetaValue = "FILE", HelpText = "Save the error figures.")]
    public string? Json { get; set; }

    /// <summary>Saved run.</summary>
    [Option("baseline", MetaValue = "FILE", HelpText = "Compare the error figures with a run that --json saved; an increase of more than 10% is a difference.")]
    public string? Baseline { get; set; }

    /// <summary>Golden file to write.</summary>
    [Option("write-golden", MetaValue = "FILE", HelpText = "Write the golden vectors from the reference instead of comparing with them.")]
    public string? WriteGolden { get; set; }
}

/// <summary>Verifies.</summary>
internal static class VerifyVerb
{
    // Of a kernel that is wrong everywhere the first failures say it all.
    private const int MaxShownFailures = 20;

    private sealed record Checked(VerifyCheck Check, CheckOutcome Outcome, string? Failure);

    /// <summary>Runs the verb.</summary>
    public static int Run(VerifyOptions options, Terminal terminal)
    {
        if (DeviceChoice.Parse(options.Device) is { } device)
            return DeviceVerbs.Verify(device, options, terminal);
        DateTimeOffset start = DateTimeOffset.UtcNow;
        OptionValues.Writable("--json", options.Json);
        OptionValues.Writable("--write-golden", options.WriteGolden);
        if (options.WriteGolden is not null && (options.Filter ?? options.Isa ?? options.Baseline) is not null)
            throw new UsageException("--write-golden writes all vectors from the reference: leave --filter, --isa and --baseline out.");
        IReadOnlyList<Isa> levels = options.WriteGolden is not null ? [Isa.Reference] : OptionValues.Levels(options.Isa);
        CaseGlob? filter = OptionValues.Filter(options.Filter);
        RunResult? baseline = options.Baseline is null ? null : ResultsJson.Load(options.Baseline);

        using var contexts = new ContextPool();
        VerifyCheck[] checks = [.. VerifyCatalog.Checks(contexts, levels.Count == 0 ? ContextPool.Levels : levels).Where(c => filter?.IsMatch(c.Id) != false)];
        if (checks.Length == 0)
            throw new UsageException("no check matches; 'kernels verify --list' prints the ids of all.");
        if (options.List)
        {
            foreach (VerifyCheck check in checks)
                terminal.Raw(check.Id + "\n");
            return CommandLine.Ok;
        }

        GoldenVectors? golden = options.WriteGolden is null ? GoldenVectors.LoadCommitted() : null;
        IReadOnlyList<Checked> results = terminal.WithProgress(report => RunAll(checks, contexts, golden, report));
        if (options.WriteGolden is not null)
            TextFiles.Write(options.WriteGolden, GoldenVectors.Write(VectorsOf(results)));

        RunResult result = ToResult(results, start);
        if (options.Json is not null)
            ResultsJson.Save(result, options.Json);
        WriteSummary(terminal, results);
        IReadOnlyList<string> worse = baseline is null ? [] : ErrorBaseline.Worse(baseline, result);
        foreach (string line in worse.Take(MaxShownFailures))
            terminal.Error.Write(new Text($"kernels: worse than the baseline: {Printable.Of(line)}\n"));

        int failed = results.Count(r => r.Failure is not null);
        terminal.Line($"{results.Count - failed} checks passed, {failed} failed"
            + (baseline is null ? "" : $"; {worse.Count} of {ErrorBaseline.Common(baseline, result)} worse than the baseline"));
        return failed + worse.Count == 0 ? CommandLine.Ok : CommandLine.Found;
    }

    private static List<Checked> RunAll(VerifyCheck[] checks, ContextPool contexts, GoldenVectors? golden, Action<BenchProgress> report)
    {
        var results = new List<Checked>(checks.Length);
        foreach (VerifyCheck check in checks)
        {
            if (results.Count % 50 == 0)
                report(new BenchProgress(results.Count, checks.Length, check.Id));
            CheckOutcome outcome = check.Run(contexts);
            string? failure = outcome.Failure;
            if (golden is not null && VerifyCatalog.IsGolden(check))
                failure ??= golden.Compare(check, outcome);
            results.Add(new Checked(check, outcome, failure));
        }

        return results;
    }

    private static IEnumerable<GoldenVector> VectorsOf(IReadOnlyList<Checked> results) =>
        results.Where(r => VerifyCatalog.IsGolden(r.Check))
            .Select(r => new GoldenVector(r.Check.GoldenKey, r.Outcome.InputHash!, r.Outcome.OutputHash!));

    private static RunResult ToResult(IReadOnlyList<Checked> results, DateTimeOffset start) => new()
    {
        Run = new RunInfo("verify", start, null, "synthetic", 0),
        Machine = MachineProbe.Machine(),
        Build = MachineProbe.Build(),
        Cases =
        [
            .. results.Select(r => new CaseResult
            {
                Id = r.Check.Id,
                Op = r.Check.Case.Spec.Op,
                Scheme = r.Check.Case.Spec.Scheme,
                Shape = BenchRunner.ShapeOf(r.Check.Case.Spec),
                Threads = r.Check.Case.Threads,
                Isa = r.Check.Case.Variant,
                KernelError = r.Outcome.Error,
                Failure = r.Failure,
            }),
        ],
    };

    private static void WriteSummary(Terminal terminal, IReadOnlyList<Checked> results)
    {
        Table table = RunTables.MakeTable("checks");
        foreach ((string header, bool isNumber) in new[]
            { ("op", false), ("type", false), ("isa", false), ("checks", true), ("failed", true), ("outputs", true), ("worst error", true) })
            RunTables.AddColumn(table, header, isNumber);
        foreach (var group in results.GroupBy(r => (r.Check.Case.Spec.Op, Kind: KindOf(r.Check.Case.Spec), r.Check.Case.Variant)))
        {
            Checked[] rows = [.. group];
            bool isExact = rows.All(r => r.Outcome.Error.Contract == "exact");
            int failed = rows.Count(r => r.Failure is not null);
            string worst = isExact ? "exact" : Figures.SmallPercent(rows.Max(r => r.Outcome.Error.MaxOfBound ?? 0)) + " of bound";
            table.AddRow(
                [group.Key.Op, group.Key.Kind, group.Key.Variant, $"{rows.Length}", $"{failed}", $"{rows.Sum(r => r.Outcome.Error.OutputsChecked)}",
                    failed > 0 ? "WRONG" : worst]);
        }

        terminal.Out.Write(table);
        foreach (Checked failure in results.Where(r => r.Failure is not null).Take(MaxShownFailures))
            terminal.Error.Write(new Text($"kernels: {failure.Check.Id}: {failure.Failure}.\n"));
    }

    private static string KindOf(CaseSpec spec) => spec switch
    {
        GemmSpec { Cell.Compute: { } compute } gemm => $"{ElementNames.NameOf(gemm.Cell.Activations)} to {ElementNames.NameOf(compute)}",
        GemmSpec gemm => ElementNames.NameOf(gemm.Cell.Activations),
        QuantizeSpec quantize => ElementNames.NameOf(quantize.Way.Source),
        FusedSpec fused => ElementNames.NameOf(fused.Way.Source),
        DequantizeSpec dequantize => ElementNames.NameOf(dequantize.Target),
        HadamardSpec hadamard => ElementNames.NameOf(hadamard.Type),
        AttentionSpec attention => ElementNames.NameOf(attention.Way.Cache.Source),
        KvAppendSpec append => ElementNames.NameOf(append.Way.Source),
        RopeSpec rope => ElementNames.NameOf(rope.Way.Type),
        _ => "",
    };
}
