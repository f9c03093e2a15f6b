using System.Runtime.ExceptionServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Devices;
using Kernels.Harness.Models;
using Kernels.Harness.Peers;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Measures.</summary>
internal static class BenchVerb
{
    // Samples of a ceiling before the first case; more follow around every case.
    private const int CeilingSamples = 15;

    /// <summary>Runs the verb.</summary>
    public static int Run(BenchOptions options, Terminal terminal)
    {
        if (DeviceChoice.Parse(options.Device) is { } device)
            return DeviceVerbs.Bench(device, options, terminal);
        CaseSelection selection = Check(options);
        using var contexts = new ContextPool();
        using ModelFile? model = options.Model is { } path ? ModelFile.Open(path) : null;
        var planner = new CasePlanner(ContextPool.Levels, Environment.ProcessorCount, contexts.VariantOf);
        bool isRotation = selection.Op == HadamardSpec.OpName;
        BenchPlan plan = model is null || isRotation
            ? BenchPlan.OfCatalog(planner, selection, options.Seed)
            : BenchPlan.OfModel(planner, selection, model, options.Seed);
        foreach (string skipped in plan.Skipped)
            terminal.Error.WriteLine($"kernels: skipped {Printable.Of(skipped)}");
        if (plan.CaseCount == 0)
            throw new UsageException("no case matches; 'kernels bench --list --filter \"*\"' prints the ids of all.");

        if (options.List)
        {
            foreach (string id in plan.Ids)
                terminal.Raw(id + "\n");
            return CommandLine.Ok;
        }

        if (options.CrossCheck)
            return CrossCheck.Run(plan, contexts, options.Seed, terminal);

        (RunResult result, ExceptionDispatchInfo? failure) = Measure(options, contexts, plan, terminal);
        RunTables.Write(terminal, result);
        if (isRotation && failure is null)
            RotationTables.Write(terminal, contexts, new Interleaver(new InterleaverOptions()), Captured(model, contexts, options.Seed), options.Seed);
        if (options.Json is not null)
            ResultsJson.Save(result, options.Json);
        if (options.Csv is not null)
            TextFiles.Write(options.Csv, CsvWriter.Write(result));
        if (options.Markdown is not null)
            TextFiles.Write(options.Markdown, MarkdownWriter.Write(result));
        int exitCode = Judge(result, terminal);
        // What was measured before is written by now.
        failure?.Throw();
        if (result.Cases.Count == plan.CaseCount)
            return exitCode;
        terminal.Error.WriteLine($"kernels: interrupted after {result.Cases.Count} of {plan.CaseCount} cases.");
        return CommandLine.Interrupted;
    }

    // In the middle of a model, and at its end.
    private static IEnumerable<IActivationSource> Captured(ModelFile? file, ContextPool contexts, long seed)
    {
        if (file is null)
            return [];
        Llama model = Llama.Load(file);
        int layers = model.Config.Layers;
        return new[] { layers / 2, layers }.Select(layer =>
            new LlamaActivationSource(model, Path.GetFileName(file.Path), layer, contexts.Get(ContextPool.Levels[0], 1), seed));
    }

    private static CaseSelection Check(BenchOptions options)
    {
        if (options.List && (options.Json ?? options.Csv ?? options.Markdown) is not null)
            throw new UsageException("--list runs nothing, so there is nothing to save: leave --json, --csv and --markdown out.");
        if (options.CrossCheck && (options.Full || options.List || (options.Json ?? options.Csv ?? options.Markdown) is not null))
            throw new UsageException("--cross-check compares two timers and saves nothing: it cannot be used with --full, --list, --json, --csv or --markdown.");
        if (options.Peers && options.NoPeers)
            throw new UsageException("--peers and --no-peers contradict each other.");
        if (options.Peers && (options.CrossCheck || options.List))
            throw new UsageException("--peers times other libraries, which --cross-check and --list do not.");
        if (options.Model is not null && options.Op is not null and not GemmSpec.OpName and not HadamardSpec.OpName)
            throw new UsageException($"--model runs linear layers, which are cases of gemm, or shows what rotation does to them: --op {options.Op} has neither.");
        OptionValues.Writable("--json", options.Json);
        OptionValues.Writable("--csv", options.Csv);
        OptionValues.Writable("--markdown", options.Markdown);
        return new CaseSelection
        {
            IsFull = options.Full,
            Filter = OptionValues.Filter(options.Filter),
            Op = OptionValues.Op(options.Op),
            Threads = OptionValues.Threads(options.Threads),
            Levels = OptionValues.Levels(options.Isa),
        };
    }

    private static (RunResult Result, ExceptionDispatchInfo? Failure) Measure(BenchOptions options, ContextPool contexts, BenchPlan plan, Terminal terminal)
    {
        DateTimeOffset start = DateTimeOffset.UtcNow;
        long l3 = MachineProbe.L3BytesOrDefault();
        using var probe = new NativeCeilingProbe(NativeCeilingProbe.BufferBytesFor(l3));
        var meter = new CeilingMeter(probe);
        foreach ((Isa level, int threads) in plan.LevelsAndThreads)
        {
            foreach (Ceiling ceiling in CeilingNames.All)
            {
                if (meter.KeyOf(ceiling, level, threads) is { } key)
                    meter.Sample(key, CeilingSamples);
            }
        }

        using BenchmarkDotNetTimer? precise = options.Full ? new BenchmarkDotNetTimer() : null;
        ICaseTimer timer = precise is not null ? precise : new Sampler(plan.IsModel ? SamplerOptions.ForManySmallCases : new SamplerOptions());
        long coldBytes = ColdBytesFor(l3);
        var interleaver = new Interleaver(
            plan.IsModel ? InterleaverOptions.ForManySmallCases : options.Full ? InterleaverOptions.ForEveryCase : new InterleaverOptions());
        var peers = new PeerBench(FindPeers(options, terminal), interleaver, PeerColdBytes(coldBytes));
        using var interruption = new Interruption();
        var runner = new BenchRunner(contexts, meter, timer, peers, interleaver, coldBytes, options.Seed) { Stop = interruption.Token };
        ExceptionDispatchInfo? failure = terminal.WithProgress(report => Run(runner, plan, report));
        foreach (string failed in peers.Failures)
            terminal.Error.WriteLine($"kernels: {Printable.Of(failed)}");
        var result = new RunResult
        {
            Run = new RunInfo("bench", start, timer.Name, plan.DataName, options.Seed, plan.CaseCount),
            Machine = MachineProbe.Machine(),
            Build = MachineProbe.Build(),
            Ceilings = meter.Results(),
            Cases = runner.Results,
        };
        return (result, failure);
    }

    // A run may have taken an hour when a case fails: what it has is shown and saved before the failure is told.
    private static ExceptionDispatchInfo? Run(BenchRunner runner, BenchPlan plan, Action<BenchProgress> report)
    {
        try
        {
            runner.OnProgress = report;
            runner.Run(plan.Layers, plan.Others);
            return null;
        }
        catch (Exception exception) when (runner.Results.Count > 0)
        {
            return ExceptionDispatchInfo.Capture(exception);
        }
    }

    private static IReadOnlyList<IPeer> FindPeers(BenchOptions options, Terminal terminal)
    {
        if (options.NoPeers)
            return [];
        PeerSearch search = PeerCatalog.Load(options.Peers ? PeerCatalog.All : PeerCatalog.All.Take(1));
        // Who did not ask for peers has not missed one.
        foreach (string missing in options.Peers ? search.Missing : [])
            terminal.Error.WriteLine($"kernels: {Printable.Of(missing)}");
        return search.Found;
    }

    // All peers of a case have their copies of the weights at the same time: eight at most, in half of the memory.
    private static long PeerColdBytes(long coldBytes) => Math.Min(coldBytes, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 16);

    /// <summary>Bytes over which operands are rotated so that they come from memory: above four times the L3, at most 1 GiB.</summary>
    internal static long ColdBytesFor(long l3Bytes) => Math.Min(4 * l3Bytes + (32L << 20), 1L << 30);

    // Speed is reported; wrong results and allocations are faults.
    private static int Judge(RunResult result, Terminal terminal)
    {
        int exitCode = CommandLine.Ok;
        foreach (CaseResult wrong in result.Cases.Where(c => c.KernelError?.Mismatches > 0))
        {
            terminal.Error.WriteLine($"kernels: {Printable.Of(wrong.Key)}: {wrong.KernelError!.Mismatches} of {wrong.KernelError.OutputsChecked} outputs are wrong.");
            exitCode = CommandLine.Found;
        }

        foreach (CaseResult allocating in result.Cases.Where(c => c.AllocatedBytes > 0))
        {
            terminal.Error.WriteLine($"kernels: {Printable.Of(allocating.Key)}: a call allocates {allocating.AllocatedBytes} bytes.");
            exitCode = CommandLine.Found;
        }

        return exitCode;
    }
}
