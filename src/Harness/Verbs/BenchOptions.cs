using CommandLine;
using CommandLine.Text;

namespace Kernels.Harness.Verbs;

/// <summary>Options of <c>bench</c>.</summary>
[Verb("bench", HelpText = "Measure throughput, memory and error of the kernels beside the ceilings of this machine; without options, the linear layers of Llama-3-8B in under 3 minutes.")]
internal sealed class BenchOptions
{
    /// <summary>Which device.</summary>
    [Option("device", MetaValue = "DEVICE", HelpText = "Measure the kernels of a CUDA device instead, beside its memory, cuBLASLt, clocks and power: cuda or cuda:NUMBER. --isa then names classes, sm80 or sm90a.")]
    public string? Device { get; set; }

    /// <summary>Every case.</summary>
    [Option("full", HelpText = "Run every case, timed by BenchmarkDotNet. Takes an hour and a half.")]
    public bool Full { get; set; }

    /// <summary>Which ids.</summary>
    [Option("filter", MetaValue = "GLOB", HelpText = "Run the cases whose whole id matches: * is any text, ? any character, {a,b} either. All cases are looked at, not only those of the short run.")]
    public string? Filter { get; set; }

    /// <summary>Which op.</summary>
    [Option("op", MetaValue = "OP", HelpText = "Run the cases of one op: gemm, quantize, dequantize, hadamard, fused, rope, kv_append or attention.")]
    public string? Op { get; set; }

    /// <summary>Numbers of threads.</summary>
    [Option("threads", MetaValue = "LIST", HelpText = "Numbers of threads, such as 1,2. Default: 1 and all.")]
    public string? Threads { get; set; }

    /// <summary>Levels.</summary>
    [Option("isa", MetaValue = "LIST", HelpText = "Instruction sets, such as ref,avx2,avx512vnni. Default: the best of this machine, or what the filter names.")]
    public string? Isa { get; set; }

    /// <summary>A model.</summary>
    [Option("model", MetaValue = "FILE", HelpText = "Run every linear layer of a checkpoint instead: safetensors (file, index or folder), GGUF, llama2.c. With --op hadamard: also rotate what flows through it.")]
    public string? Model { get; set; }

    /// <summary>JSON.</summary>
    [Option("json", MetaValue = "FILE", HelpText = "Save the results; docs/results-schema.md describes the file.")]
    public string? Json { get; set; }

    /// <summary>CSV.</summary>
    [Option("csv", MetaValue = "FILE", HelpText = "Save the cases as CSV.")]
    public string? Csv { get; set; }

    /// <summary>Markdown.</summary>
    [Option("markdown", MetaValue = "FILE", HelpText = "Save the tables as Markdown.")]
    public string? Markdown { get; set; }

    /// <summary>Ids only.</summary>
    [Option("list", HelpText = "Print the ids of the cases and run nothing.")]
    public bool List { get; set; }

    /// <summary>Seed.</summary>
    [Option("seed", Default = 1L, MetaValue = "NUMBER", HelpText = "Seed of the synthetic data.")]
    public long Seed { get; set; }

    /// <summary>All peers.</summary>
    [Option("peers", HelpText = "Time every other library that is found (OpenBLAS, oneDNN, ONNX Runtime) in turns with each case; docs/peers.md says how to install them. Default: OpenBLAS, as what f32 costs.")]
    public bool Peers { get; set; }

    /// <summary>No peers.</summary>
    [Option("no-peers", HelpText = "Do not time other libraries.")]
    public bool NoPeers { get; set; }

    /// <summary>Both timers.</summary>
    [Option("cross-check", HelpText = "Time each case by the sampler and by BenchmarkDotNet; exit code 1 if they do not agree within the noise.")]
    public bool CrossCheck { get; set; }

    /// <summary>Examples.</summary>
    [Usage(ApplicationAlias = "kernels")]
    public static IEnumerable<Example> Examples =>
    [
        new("The main job", new BenchOptions { Json = "results.json" }),
        new("One cell on every instruction set", new BenchOptions { Filter = "gemm/w4g128-a8/m128-n4096-k4096/t1/*", Isa = "avx2,avx512vnni" }),
        new("Every GEMM beside every peer", new BenchOptions { Op = "gemm", Full = true, Peers = true }),
        new("The layers of a checkpoint", new BenchOptions { Model = "model.safetensors" }),
        new("The kernels of the first GPU", new BenchOptions { Device = "cuda", Json = "gpu.json" }),
    ];
}
