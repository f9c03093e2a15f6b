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
                          let id = IdOf(check.Id, context)
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
        if (options.Full || options.CrossCheck || options.Peers || (options.Model ?? options.Csv ?? options.Markdown ?? options.Threads) is not null)
            throw new UsageException("--device cuda takes --filter, --op, --isa, --list, --json and no other option.");
        OptionValues.Writable("--json", options.Json);
        CaseGlob? filter = OptionValues.Filter(options.Filter);
        DateTimeOffset start = DateTimeOffset.UtcNow;
        string best = options.Isa ?? BestClass(device);
        IReadOnlyList<CudaContext> contexts = DeviceChoice.Contexts(device, best);
        try
        {
            var results = new List<CaseResult>();
            Table table = RunTables.MakeTable($"cases on {Markup.Escape(device.Name)}");
            foreach ((string header, bool isNumber) in new[] { ("case", false), ("time", true), ("GB/s", true), ("TOPS", true), ("of triad", true), ("clock", true), ("power", true) })
                RunTables.AddColumn(table, header, isNumber);
            foreach (CudaContext context in contexts)
                MeasureIn(context, filter, options, terminal, table, results);
            if (options.List)
                return CommandLine.Ok;
            terminal.Out.Write(table);
            if (options.Json is not null)
                ResultsJson.Save(RunOf("bench", "cuda-events", start, results), options.Json);
            return CommandLine.Ok;
        }
        finally
        {
            Dispose(contexts);
        }
    }

    private static void MeasureIn(
        CudaContext context, CaseGlob? filter, BenchOptions options, Terminal terminal, Table table, List<CaseResult> results)
    {
        List<CudaCase> cases = [.. CudaOp.All.SelectMany(op => op.Cases())];
        string triadId = MemoryOp.CeilingId(CudaCeiling.Triad);
        using CudaTimer? timer = options.List ? null : new CudaTimer(context);
        double triad = timer is null ? 0 : RateOf(cases.Single(c => c.Id == triadId), timer);
        foreach (CudaCase spec in cases)
        {
            string id = IdOf(spec.Id, context);
            if (filter?.IsMatch(id) == false || (options.Op is not null && options.Op != spec.Op))
                continue;
            if (timer is null)
            {
                terminal.Raw(id + "\n");
                continue;
            }

            (CaseTime time, DeviceLoad? load) = timer.Measure(spec);
            double rate = spec.Bytes / time.Median;
            double? gops = spec.Operations > 0 ? spec.Operations / time.Median : null;
            results.Add(new CaseResult
            {
                Id = id,
                Op = spec.Op,
                Scheme = spec.Scheme,
                Shape = spec.Shape,
                Threads = 1,
                Isa = CudaContext.NameOf(context.Class),
                TimeNs = time,
                Gops = gops,
                GbytesPerS = rate,
                Ceiling = new CaseCeiling("device_triad", triad, "gb_per_s", spec.Bytes / triad),
                OfCeiling = rate / triad,
            });
            table.AddRow(
                id, Figures.Time(time.Median), Figures.Rate(rate), gops is null ? "" : Figures.Rate(gops.Value / 1000), Figures.Percent(rate / triad),
                load is null ? "" : $"{load.SmMhz} MHz", load is null ? "" : load.Watts.ToString("0", CultureInfo.InvariantCulture) + " W");
        }
    }

    private static double RateOf(CudaCase spec, CudaTimer timer) => spec.Bytes / timer.Measure(spec).Time.Median;

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
            Isa = parts[^1],
            KernelError = new KernelError("exact", check.Outputs, check.Outputs, failure is null ? 0 : 1, 0, null),
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
