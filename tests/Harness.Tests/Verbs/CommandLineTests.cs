using System.Runtime.InteropServices;
using System.Text.Json;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Formats;
using Kernels.Harness.Results;
using Kernels.Harness.Synthetic;
using Kernels.Harness.Tests.Results;

namespace Kernels.Harness.Tests.Verbs;

/// <summary>The program from its arguments to its exit code.</summary>
public sealed class CommandLineTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void HelpAndVersionAreGood()
    {
        (int code, string output, string error) = Run("--help");
        Assert.Equal((0, ""), (code, error));
        Assert.All(["info", "bench", "verify", "eval", "compare", "report"], verb => Assert.Contains("  " + verb + " ", output, StringComparison.Ordinal));
        foreach (string verb in new[] { "info", "bench", "verify", "eval", "compare", "report" })
        {
            (code, output, error) = Run(verb, "--help");
            Assert.Equal((0, ""), (code, error));
            Assert.All(output.Split('\n'), line => Assert.True(line.TrimEnd().Length <= 120, line));
        }

        Assert.Contains(KernelLibrary.Version, Run("--version").Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no verb was given")]
    [InlineData("'frobnicate' is not recognized", "frobnicate")]
    [InlineData("'nope' is unknown", "bench", "--nope")]
    [InlineData("'seed'", "bench", "--seed", "x")]
    [InlineData("--threads: '0'", "bench", "--threads", "0")]
    [InlineData("--threads: 'two'", "bench", "--threads", "1,two")]
    [InlineData("--isa: 'sse'", "bench", "--isa", "sse")]
    [InlineData("--isa: 'sse'", "verify", "--isa", "ref,sse")]
    [InlineData("--op: 'conv'", "bench", "--op", "conv")]
    [InlineData("--filter: '{' opens a brace", "bench", "--filter", "{")]
    [InlineData("no case matches", "bench", "--filter", "nothing")]
    [InlineData("no check matches", "verify", "--filter", "nothing")]
    [InlineData("--list runs nothing", "bench", "--list", "--json", "x.json")]
    [InlineData("--cross-check compares", "bench", "--cross-check", "--full")]
    [InlineData("--model runs linear layers", "bench", "--model", "x", "--op", "quantize")]
    [InlineData("does not exist", "bench", "--json", "no/such/folder/x.json")]
    [InlineData("no-such-model", "bench", "--model", "no-such-model.gguf")]
    [InlineData("--write-golden writes all", "verify", "--write-golden", "x", "--isa", "ref")]
    [InlineData("cannot be read", "verify", "--baseline", "no-such-file.json")]
    [InlineData("an argument is missing", "compare", "only-one.json")]
    [InlineData("cannot be read", "compare", "no-such-a.json", "no-such-b.json")]
    [InlineData("--threshold", "compare", "a", "b", "--threshold", "-1")]
    [InlineData("--peers and --no-peers", "bench", "--peers", "--no-peers")]
    [InlineData("--peers times other libraries", "bench", "--peers", "--list")]
    [InlineData("cannot be read", "report", "no-such-a.json", "--html", "x.html")]
    [InlineData("--html or --readme", "report", "a.json")]
    [InlineData("--check looks at a README", "report", "a.json", "--html", "x.html", "--check")]
    public void WhatCannotBeDoneIsExitCode2AndASentence(string reason, params string[] args)
    {
        (int code, string output, string error) = Run(args);
        Assert.Equal((2, ""), (code, output));
        Assert.Contains(reason, error, StringComparison.Ordinal);
        Assert.StartsWith("kernels: ", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
    }

    [Fact]
    public void PeersAreAskedOrNamedAsMissing()
    {
        string json = _folder.PathOf("r.json");
        (int code, _, string error) = Run("bench", "--model", WriteModel(), "--op", "gemm", "--filter", "gemm/w8-a8/m8-*/t1/*", "--peers", "--json", json);
        Assert.Equal(0, code);
        string[] missing = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        IReadOnlyList<CaseResult> cases = ResultsJson.Load(json).Cases;
        Assert.Equal(2, cases.Count);
        // On a machine without any of them all are missing; nothing is silent.
        foreach (string name in new[] { "OpenBLAS", "oneDNN", "ONNX Runtime" })
        {
            bool isMissing = error.Contains($"kernels: {name}: ", StringComparison.Ordinal);
            Assert.All(cases, c => Assert.Equal(!isMissing, c.Peers.Any(peer => peer.Name.StartsWith(name + " ", StringComparison.Ordinal))));
        }

        Assert.All(missing.Where(line => line.StartsWith("kernels: ", StringComparison.Ordinal)), line => Assert.Contains(": ", line, StringComparison.Ordinal));
    }

    [Fact]
    public void AListOfIdsIsIds()
    {
        (int code, string output, _) = Run("bench", "--list", "--filter", "*", "--isa", "ref", "--threads", "1");
        Assert.Equal(0, code);
        string[] ids = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(ids.Length > 400, $"{ids.Length} ids");
        Assert.All(ids, id => Assert.EndsWith("/t1/ref", id, StringComparison.Ordinal));
    }

    [Fact]
    public void InfoTellsTheMachineInBothForms()
    {
        (int code, string output, _) = Run("info");
        Assert.Equal(0, code);
        Assert.All(["processor", "variants", "ceilings", "w8-a8"], word => Assert.Contains(word, output, StringComparison.Ordinal));
        (code, output, _) = Run("info", "--json");
        Assert.Equal(0, code);
        using JsonDocument document = JsonDocument.Parse(output);
        Assert.Contains("ref", document.RootElement.GetProperty("levels").EnumerateArray().Select(e => e.GetString()));
    }

    [Fact]
    public void AModelIsMeasuredLayerByLayerAndEveryFormOfTheResultIsTheSame()
    {
        string model = WriteModel();
        string json = _folder.PathOf("r.json"), csv = _folder.PathOf("r.csv"), markdown = _folder.PathOf("r.md");
        (int code, string output, string error) = Run(
            "bench", "--model", model, "--threads", "1,2", "--json", json, "--csv", csv, "--markdown", markdown, "--no-peers");
        Assert.True(code == 0 && error.Length == 0, error);
        Assert.All(output.Split('\n'), line => Assert.True(line.TrimEnd().Length <= 120, line));

        RunResult result = ResultsJson.Load(json);
        Assert.Equal("model.safetensors", result.Run.Data);
        Assert.Equal(["a.weight", "b.weight"], result.Cases.Select(c => c.Layer).Distinct());
        Assert.Equal(2 * 3 * 2 * 2, result.Cases.Count);
        Assert.All(result.Cases, c =>
        {
            Assert.Equal(0, c.KernelError!.Mismatches);
            Assert.Equal(0, c.AllocatedBytes);
            Assert.True(c.TimeNs!.Min > 0 && c.TimeNs.Min <= c.TimeNs.Median && c.TimeNs.Median <= c.TimeNs.P95);
            Assert.InRange(c.QuantizationError!.SqnrDb!.Value, 5, 60);
            Assert.Empty(c.Peers);
        });
        Assert.Equal(CsvWriter.Write(result), File.ReadAllText(csv));
        Assert.Equal(MarkdownWriter.Write(result), File.ReadAllText(markdown));

        string page = _folder.PathOf("r.html");
        Assert.Equal(0, Run("report", json, "--html", page).Code);
        Assert.Contains("a.weight", File.ReadAllText(page), StringComparison.Ordinal);
        Assert.Equal(0, Run("compare", json, json, "--fail-on", "any").Code);
    }

    [Fact]
    public void EveryVariantOfACellCanBeMeasured()
    {
        string levels = string.Join(',', Enum.GetValues<Isa>().Where(isa => isa != Isa.Auto && Cpu.Supports(isa)).Select(Cpu.NameOf));
        string json = _folder.PathOf("r.json");
        (int code, _, string error) = Run(
            "bench", "--model", WriteModel(), "--filter", "gemm/{w8-a8,w4zg32-bf16}/m8-*/t1/*", "--isa", levels, "--json", json);
        Assert.True(code == 0 && error.Length == 0, error);
        IReadOnlyList<CaseResult> cases = ResultsJson.Load(json).Cases;
        Assert.Contains(cases, c => c.Isa == "ref");
        Assert.All(cases.Where(c => c.Isa == "ref"), c => Assert.Null(c.OfCeiling));
        Assert.All(cases.Where(c => c.Isa != "ref"), c => Assert.NotNull(c.OfCeiling));
    }

    [Fact]
    public void VariantsAreComparedInTurns()
    {
        string levels = string.Join(',', ContextPool.Levels.Select(Cpu.NameOf));
        string json = _folder.PathOf("r.json");
        (int code, _, string error) = Run("bench", "--filter", "quantize/s8-per-token/rows1-n4096/t1/*", "--isa", levels, "--json", json);
        Assert.True(code == 0 && error.Length == 0, error);
        IReadOnlyList<CaseResult> cases = ResultsJson.Load(json).Cases;
        Assert.Null(cases[0].BestVariant);
        Assert.All(cases.Where(c => c.Isa == "ref"), c => Assert.Null(c.BestVariant));
        Assert.All(cases.Skip(1).Where(c => c.Isa != "ref"), c =>
        {
            Assert.Equal(cases[0].Isa, c.BestVariant!.Isa);
            Assert.True(c.BestVariant.TimeNs > 0 && c.BestVariant.OwnTimeNs > 0);
        });
    }

    [DataTheory("stories260K/stories260K.bin", "stories260K/stories260K.gguf")]
    [InlineData("stories260K/stories260K.bin", 35)]
    [InlineData("stories260K/stories260K.gguf", 36)]
    public void EveryLayerOfARealModelIsMeasured(string file, int layers)
    {
        string json = _folder.PathOf("r.json");
        (int code, _, string error) = Run("bench", "--model", TestData.PathOf(file), "--filter", "gemm/w4g128-a8/m1-*/t1/*", "--json", json, "--no-peers");
        Assert.True(code == 0 && error.Length == 0, error);
        RunResult result = ResultsJson.Load(json);
        // Seven in each of five blocks; one of the files also has the classifier.
        Assert.Equal(layers, result.Cases.Count);
        Assert.Contains(result.Cases, c => c.Shape["n"] == 172 && c.Shape["k"] == 64);
    }

    [DataFact(
        "tinyllm-layer0/q_proj.bin", "tinyllm-layer0/k_proj.bin", "tinyllm-layer0/v_proj.bin", "tinyllm-layer0/o_proj.bin",
        "tinyllm-layer0/gate_proj.bin", "tinyllm-layer0/up_proj.bin", "tinyllm-layer0/down_proj.bin")]
    public void EveryLayerOfTinyLlmIsMeasuredFromSafetensors()
    {
        var writer = new SafetensorsWriter();
        foreach ((string name, long n, long k) in new[]
            { ("q", 192L, 192L), ("k", 96, 192), ("v", 96, 192), ("o", 192, 192), ("gate", 1024, 192), ("up", 1024, 192), ("down", 192, 1024) })
        {
            byte[] bytes = File.ReadAllBytes(TestData.PathOf($"tinyllm-layer0/{name}_proj.bin"));
            writer.Add($"model.layers.0.{name}_proj.weight", [n, k], MemoryMarshal.Cast<byte, float>(bytes.AsSpan()).ToArray().AsMemory());
        }

        string model = _folder.PathOf("model.safetensors"), json = _folder.PathOf("r.json");
        writer.Save(model);
        (int code, string output, string error) = Run("bench", "--model", model, "--filter", "gemm/{w8-a8,w4g32-a8,w4g32-f32}/m*/t1/*", "--json", json);
        Assert.True(code == 0 && error.Length == 0, error);
        Assert.Contains(" layers.0.down_proj ", output, StringComparison.Ordinal);
        RunResult result = ResultsJson.Load(json);
        Assert.Equal(7 * 3 * 5, result.Cases.Count);
        // What these formats reach on real weights and activations with outliers, with room to spare.
        Assert.All(result.Cases, c => Assert.True(c.QuantizationError!.SqnrDb > (c.Scheme == "w8-a8" ? 15 : 8), $"{c.Key}: {c.QuantizationError.SqnrDb} dB"));
    }

    [Fact]
    public void CompareFailsOnWhatItIsToldTo()
    {
        string before = Save("before.json", Sample.Gemm(m: 1), Sample.Gemm(m: 2));
        string slower = Save("slower.json", Sample.Gemm(m: 1, median: 1200), Sample.Gemm(m: 2));
        string wrong = Save("wrong.json", Sample.Gemm(m: 1), Sample.Gemm(m: 2) with { KernelError = new KernelError("exact", 64, 64, 5, 1, 1) });
        string gone = Save("gone.json", Sample.Gemm(m: 1));
        Assert.Equal(0, Run("compare", before, slower).Code);
        Assert.Equal(1, Run("compare", before, slower, "--fail-on", "slower").Code);
        Assert.Equal(0, Run("compare", before, slower, "--fail-on", "slower", "--threshold", "25").Code);
        Assert.Equal(0, Run("compare", before, slower, "--fail-on", "error").Code);
        Assert.Equal(0, Run("compare", before, slower, "--fail-on", "any", "--metric", "share").Code);
        Assert.Equal(1, Run("compare", before, wrong, "--fail-on", "error").Code);
        Assert.Equal(1, Run("compare", before, gone, "--fail-on", "any").Code);
        Assert.Contains("+20.0%", Run("compare", before, slower).Output, StringComparison.Ordinal);
    }

    private string WriteModel()
    {
        var writer = new SafetensorsWriter();
        writer.Add("a.weight", [33, 65], new SyntheticWeights(33, 65, 1).ToArray().AsMemory());
        writer.Add("b.weight", [64, 172], new SyntheticWeights(64, 172, 2).ToArray().AsMemory());
        string path = _folder.PathOf("model.safetensors");
        writer.Save(path);
        return path;
    }

    private string Save(string name, params CaseResult[] cases)
    {
        string path = _folder.PathOf(name);
        ResultsJson.Save(Sample.Run(cases), path);
        return path;
    }

    internal static (int Code, string Output, string Error) Run(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = Kernels.Harness.Verbs.CommandLine.Run(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
