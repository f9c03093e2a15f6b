using System.Text.Json;
using System.Text.Json.Serialization;
using CommandLine;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Devices;
using Kernels.Harness.Peers;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Options of <c>info</c>.</summary>
[Verb("info", HelpText = "Show this machine: processor, instruction sets, the variant that would run each cell, measured ceilings, peers found.")]
internal sealed class InfoOptions
{
    /// <summary>Which device.</summary>
    [Option("device", MetaValue = "DEVICE", HelpText = "Show a CUDA device instead of the processor: cuda, cuda:NUMBER or emulator.")]
    public string? Device { get; set; }

    /// <summary>JSON instead of tables.</summary>
    [Option("json", HelpText = "Print JSON instead of tables.")]
    public bool Json { get; set; }
}

/// <summary>What <c>info</c> tells.</summary>
/// <param name="Machine">The machine.</param>
/// <param name="Build">The build.</param>
/// <param name="Levels">Instruction set levels, best first.</param>
/// <param name="Variants">Variants by op and cell.</param>
/// <param name="Ceilings">Measured ceilings.</param>
/// <param name="Peers">Peers found.</param>
internal sealed record InfoResult(
    MachineInfo Machine, BuildInfo Build, IReadOnlyList<string> Levels, IReadOnlyList<VariantInfo> Variants,
    IReadOnlyList<CeilingResult> Ceilings, IReadOnlyList<PeerInfo> Peers);

/// <summary>The variants of an op and cell.</summary>
/// <param name="Op">The op.</param>
/// <param name="Cell">The cell; empty for ops without cells.</param>
/// <param name="Runs">The variant that runs by default.</param>
/// <param name="Available">All variants on this machine, best first.</param>
internal sealed record VariantInfo(string Op, string Cell, string Runs, IReadOnlyList<string> Available);

/// <summary>A peer.</summary>
/// <param name="Name">The library.</param>
/// <param name="Version">Its version.</param>
internal sealed record PeerInfo(string Name, string Version);

/// <summary>Generated serializer.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(InfoResult))]
internal sealed partial class InfoJsonContext : JsonSerializerContext;

/// <summary>Shows the machine.</summary>
internal static class InfoVerb
{
    private const int CeilingSamples = 15;

    private static readonly string[] s_cells =
        ["w8-a8", "w8-u8", "w4-a8", "w4-u8", "w4z-a8", "w4z-u8", "w8-f32", "w8-bf16", "w8-f16", "w4-f32", "w4-bf16", "w4-f16", "w4z-f32", "w4z-bf16", "w4z-f16"];

    /// <summary>Runs the verb.</summary>
    public static int Run(InfoOptions options, Terminal terminal)
    {
        if (DeviceChoice.Parse(options.Device) is { } device)
        {
            return options.Json
                ? throw new UsageException("--json shows the processor: leave --device out.")
                : DeviceVerbs.Info(device, terminal);
        }

        InfoResult info = Collect();
        if (options.Json)
            terminal.Raw(JsonSerializer.Serialize(info, InfoJsonContext.Default.InfoResult) + "\n");
        else
            Write(terminal, info);
        return CommandLine.Ok;
    }

    private static InfoResult Collect()
    {
        using var contexts = new ContextPool();
        using var probe = new NativeCeilingProbe(NativeCeilingProbe.BufferBytesFor(MachineProbe.L3BytesOrDefault()));
        var meter = new CeilingMeter(probe);
        foreach (int threads in new[] { 1, Environment.ProcessorCount }.Distinct())
        {
            foreach (Ceiling ceiling in CeilingNames.All)
            {
                if (meter.KeyOf(ceiling, Cpu.BestIsa, threads) is { } key)
                    meter.Sample(key, CeilingSamples);
            }
        }

        var variants = new List<VariantInfo>();
        foreach (string cell in s_cells)
            AddVariants(variants, contexts, new GemmSpec(GemmScheme.Parse(cell), 1, 1, 1), cell);
        AddVariants(variants, contexts, new QuantizeSpec(QuantizeScheme.Parse("s8-per-token"), 1, 1), "");
        AddVariants(variants, contexts, new FusedSpec(FusedScheme.Parse("rmsnorm-quantize-s8"), 1, 1), "");
        AddVariants(variants, contexts, new DequantizeSpec(new WeightScheme(ElementType.S8, 0), ElementType.F32, 1, 1), "");
        AddVariants(variants, contexts, new HadamardSpec(ElementType.F32, 1, false, 1, 1), "");
        AddVariants(variants, contexts, new KvAppendSpec(KvScheme.Parse("s8"), 1, 8, 1, 1), "");
        AddVariants(variants, contexts, new RopeSpec(RopeScheme.Parse("f32"), 1, 1, 2), "");
        foreach (string cache in new[] { "8", "4", "fp8", "bf16", "f32" })
            AddVariants(variants, contexts, new AttentionSpec(AttentionScheme.Parse($"decode-kv{cache}"), 1, 1, 8, 1, 1), $"kv{cache}");
        return new InfoResult(
            MachineProbe.Machine(), MachineProbe.Build(), [.. ContextPool.Levels.Select(Cpu.NameOf)], variants, meter.Results(),
            [.. PeerCatalog.Load(PeerCatalog.All).Found.Select(peer => new PeerInfo(peer.Name, peer.Version))]);
    }

    private static void AddVariants(List<VariantInfo> variants, ContextPool contexts, CaseSpec spec, string cell)
    {
        string[] available = [.. ContextPool.Levels.Select(level => contexts.VariantOf(spec, level)).OfType<string>().Distinct()];
        if (available.Length > 0)
            variants.Add(new VariantInfo(spec.Op, cell, available[0], available));
    }

    private static void Write(Terminal terminal, InfoResult info)
    {
        MachineInfo machine = info.Machine;
        var facts = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn();
        Add("processor", $"{machine.Cpu} ({machine.Architecture}), {machine.LogicalProcessors} logical processors");
        Add("caches", $"L1 {Figures.Bytes(machine.L1DataBytes)}, L2 {Figures.Bytes(machine.L2Bytes)}, L3 {Figures.Bytes(machine.L3Bytes)}");
        Add("memory", $"{Figures.Bytes(machine.MemoryBytes)}, huge pages {machine.HugePages ?? "unknown"}");
        Add("system", $"{machine.Os}, {info.Build.Runtime}");
        Add("features", string.Join(' ', machine.Features));
        Add("levels", string.Join(' ', info.Levels));
        Add("library", $"{info.Build.Version}, ABI {info.Build.AbiVersion}, {info.Build.NativeBuild}");
        Add("peers", info.Peers.Count == 0 ? "none found" : string.Join(", ", info.Peers.Select(peer => $"{peer.Name} {peer.Version}")));
        terminal.Out.Write(facts);
        terminal.Line();

        Table variants = RunTables.MakeTable("variants");
        foreach (string header in new[] { "op", "cell", "runs", "also available" })
            RunTables.AddColumn(variants, header, isNumber: false);
        foreach (VariantInfo variant in info.Variants)
            variants.AddRow(new Text(variant.Op), new Text(variant.Cell), new Text(variant.Runs), new Text(string.Join(' ', variant.Available.Skip(1))));
        terminal.Out.Write(variants);
        terminal.Line();
        RunTables.WriteCeilings(terminal, info.Ceilings);

        void Add(string name, string value) => facts.AddRow(new Text(name), new Text(value));
    }
}
