using System.Globalization;
using Kernels.Harness.Cases;
using Kernels.Harness.Devices;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>What info, verify and bench do with <c>--device</c>.</summary>
internal static class DeviceVerbs
{
    private const int MaxShownFailures = 20;

    /// <summary>Tells what a device has.</summary>
    public static int Info(CudaDevice device, Terminal terminal)
    {
        IReadOnlyList<CudaContext> contexts = DeviceChoice.Contexts(device, null);
        try
        {
            CudaProperties has = contexts[0].Properties;
            var facts = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn();
            Add("device", $"{has.Name}, compute capability {has.ComputeCapability}, {has.Multiprocessors} multiprocessors");
            Add("classes", string.Join(' ', contexts.Select(context => CudaContext.NameOf(context.Class))));
            Add("memory", $"{Figures.Bytes(has.MemoryBytes)}, L2 {Figures.Bytes(has.L2Bytes)}, shared {Figures.Bytes(has.SharedBytesPerBlock)} a block");
            Add("clocks", $"{has.ClockKhz / 1000} MHz, memory {has.MemoryClockKhz / 1000} MHz x {has.MemoryBusBits} bits");
            Add("driver", has.DriverVersion is { } version ? $"for CUDA {version}" : "none: the emulator");
            terminal.Out.Write(facts);
            return CommandLine.Ok;

            void Add(string name, string value) => facts.AddRow(new Text(name), new Text(value));
        }
        finally
        {
            Dispose(contexts);
        }
    }

    /// <summary>Runs the checks of every op in every class.</summary>
    public static int Verify(CudaDevice device, VerifyOptions options, Terminal terminal)
    {
        if ((options.Baseline ?? options.WriteGolden) is not null)
            throw new UsageException("--baseline and --write-golden are for the CPU: what is right on a device is what is right there.");
        OptionValues.Writable("--json", options.Json);
        CaseGlob? filter = OptionValues.Filter(options.Filter);
        DateTimeOffset start = DateTimeOffset.UtcNow;
        IReadOnlyList<CudaContext> contexts = DeviceChoice.Contexts(device, options.Isa);
        try
        {
            var checks = (from context in contexts
                          from check in CudaOp.All.SelectMany(op => op.Checks())
                          let id = IdOf(check.Id, context) + (check.Feature.Length == 0 ? "" : "/" + check.Feature)
                          where filter?.IsMatch(id) != false
                          select (Id: id, Check: check, Context: context)).ToList();
            if (checks.Count == 0)
                throw new UsageException("no check matches; 'kernels verify --device ... --list' prints the ids of all.");
            if (options.List)
            {
                checks.ForEach(check => terminal.Raw(check.Id + "\n"));
                return CommandLine.Ok;
            }

            List<CaseResult> results = [.. checks.Select(check => ResultOf(check.Id, check.Check, Failure(check.Check, check.Context)))];
            if (options.Json is not null)
                ResultsJson.Save(RunOf("verify", null, start, results), options.Json);
            foreach (CaseResult wrong in results.Where(r => r.Failure is not null).Take(MaxShownFailures))
                terminal.Error.Write(new Text($"kernels: {wrong.Id}: {wrong.Failure}.\n"));
            int failed = results.Count(r => r.Failure is not null);
            terminal.Line($"{results.Count - failed} checks passed, {failed} failed on {Printable.Of(device.Name)}");
            return failed == 0 ? CommandLine.Ok : CommandLine.Found;
        }
        finally
        {
            Dispose(contexts);
        }
    }

    /// <summary>Measures the cases of every op in the best class, or those of <c>--isa</c>.</summary>
    public static int Bench(CudaDevice device, BenchOptions options, Terminal terminal)
    {
        if (device.IsEmulator)
            throw new UsageException("--device emulator: what runs on the emulator is checked ('kernels verify --device emulator'), not measured.");
        if (options.Full || options.CrossCheck || options.Peers || (options.Model ?? options.Threads) is not null)
            throw new UsageException(
                "--device cuda takes --filter, --op, --isa, --list, --json, --csv, --markdown, --no-peers and no other option; its peer is cuBLASLt.");
        if (options.List && (options.Json ?? options.Csv ?? options.Markdown) is not null)
            throw new UsageException("--list runs nothing, so there is nothing to save: leave --json, --csv and --markdown out.");
        OptionValues.Writable("--json", options.Json);
        OptionValues.Writable("--csv", options.Csv);
        OptionValues.Writable("--markdown", options.Markdown);
        CaseGlob? filter = OptionValues.Filter(options.Filter);
        DateTimeOffset start = DateTimeOffset.UtcNow;
        IReadOnlyList<CudaContext> contexts = DeviceChoice.Contexts(device, options.Isa ?? BestClass(device));
        try
        {
            var cases = (from context in contexts
                         from spec in CudaOp.All.SelectMany(op => op.Cases())
                         let id = IdOf(spec.Id, context)
                         where filter?.IsMatch(id) != false && (options.Op is null || options.Op == spec.Op)
                         select (Id: id, Case: spec, Context: context)).ToList();
            if (cases.Count == 0)
                throw new UsageException("no case matches; 'kernels bench --device ... --list' prints the ids of all.");
            if (options.List)
            {
                cases.ForEach(c => terminal.Raw(c.Id + "\n"));
                return CommandLine.Ok;
            }

            var results = new List<CaseResult>();
            var ceilings = new List<CeilingResult>();
            foreach (IGrouping<CudaContext, (string Id, CudaCase Case, CudaContext Context)> ofContext in cases.GroupBy(c => c.Context))
            {
                using var bench = new DeviceBench(ofContext.Key, !options.NoPeers);
                foreach (string missing in bench.Missing)
                    terminal.Error.Write(new Text($"kernels: going on without {missing}.\n"));
                ceilings.AddRange(bench.Ceilings);
                foreach ((string id, CudaCase spec, _) in ofContext)
                {
                    if (MeasureOrSkip(bench, id, spec, terminal) is { } result)
                        results.Add(result);
                }
            }

            RunResult run = RunOf("bench", "cuda-events", start, results) with { Ceilings = ceilings };
            Write(run, device, terminal);
            if (options.Json is not null)
                ResultsJson.Save(run, options.Json);
            if (options.Csv is not null)
                TextFiles.Write(options.Csv, CsvWriter.Write(run));
            if (options.Markdown is not null)
                TextFiles.Write(options.Markdown, MarkdownWriter.Write(run));
            return CommandLine.Ok;
        }
        finally
        {
            Dispose(contexts);
        }
    }

    // A device may be too small for a case, or lack its kernel; the others are measured all the same.
    private static CaseResult? MeasureOrSkip(DeviceBench bench, string id, CudaCase spec, Terminal terminal)
    {
        try
        {
            return bench.Measure(id, spec);
        }
        catch (KernelException failure) when (failure.Status is KernelStatus.OutOfMemory or KernelStatus.Unsupported)
        {
            terminal.Error.Write(new Text($"kernels: skipped {id}: {failure.Message}\n"));
            return null;
        }
    }

    private static void Write(RunResult run, CudaDevice device, Terminal terminal)
    {
        RunTables.WriteCeilings(terminal, run.Ceilings);
        foreach (IGrouping<string, CaseResult> ofClass in run.Cases.GroupBy(result => result.Isa))
            WriteCases($"cases on {device.Name}, {ofClass.Key}", $"/{DeviceChoice.IdOf(device)}/{ofClass.Key}", ofClass, terminal);
        foreach (IGrouping<string, CaseResult> group in RunSummary.Groups(run))
            RunTables.WritePeers(terminal, group.Key, [.. group]);
    }

    // Ids without what the title tells.
    private static void WriteCases(string title, string suffix, IEnumerable<CaseResult> results, Terminal terminal)
    {
        Table table = RunTables.MakeTable(title);
        foreach ((string header, bool isNumber) in new[]
        {
            ("case", false), ("time", true), ("GB/s", true), ("TOPS", true), ("of ceiling", true), ("ceiling", false), ("clock", true), ("memory", true),
            ("power", true),
        })
            RunTables.AddColumn(table, header, isNumber);
        const double GopsPerTops = 1000;
        foreach (CaseResult result in results)
        {
            DeviceLoad? load = result.DeviceLoad;
            string[] cells =
            [
                result.Id[..^suffix.Length], Figures.Time(result.TimeNs!.Median), Figures.Rate(result.GbytesPerS!.Value),
                result.Gops is { } gops ? Figures.Rate(gops / GopsPerTops) : "", Figures.Percent(result.OfCeiling!.Value), result.Ceiling!.Name,
                load is null ? "" : $"{load.SmMhz} MHz", load is null ? "" : $"{load.MemoryMhz} MHz",
                load is null ? "" : load.Watts.ToString("0", CultureInfo.InvariantCulture) + " W",
            ];
            table.AddRow(cells.Select(cell => new Text(Printable.Of(cell))));
        }

        terminal.Out.Write(table);
        terminal.Line();
    }

    private static string BestClass(CudaDevice device)
    {
        using var context = new CudaContext(device);
        return CudaContext.NameOf(context.Class);
    }

    private static string IdOf(string id, CudaContext context) => $"{id}/{DeviceChoice.IdOf(context.Device)}/{CudaContext.NameOf(context.Class)}";

    // A fault of the emulator is a finding about the kernel, not the end of the run.
    private static string? Failure(CudaCheck check, CudaContext context)
    {
        try
        {
            return check.Run(context);
        }
        catch (KernelException failure)
        {
            return failure.Message;
        }
    }

    private static CaseResult ResultOf(string id, CudaCheck check, string? failure)
    {
        string[] parts = id.Split('/');
        return new CaseResult
        {
            Id = id,
            Op = parts[0],
            Scheme = parts[1],
            Shape = new Dictionary<string, long> { ["outputs"] = check.Outputs },
            Threads = 1,
            Isa = parts[4],
            KernelError = new KernelError(check.IsExact ? "exact" : "bound", check.Outputs, check.Outputs, failure is null ? 0 : 1, 0, null),
            Failure = failure,
        };
    }

    private static RunResult RunOf(string verb, string? timer, DateTimeOffset start, IReadOnlyList<CaseResult> cases) => new()
    {
        Run = new RunInfo(verb, start, timer, "synthetic", 0),
        Machine = MachineProbe.Machine(),
        Build = MachineProbe.Build(),
        Cases = cases,
    };

    private static void Dispose(IReadOnlyList<CudaContext> contexts)
    {
        foreach (CudaContext context in contexts)
            context.Dispose();
    }
}
