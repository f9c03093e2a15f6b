using System.Text.Json;
using Kernels.Harness.Results;

namespace Kernels.Harness.Tests.Results;

public sealed class ResultsTests
{
    [Fact]
    public void WhatIsWrittenIsRead()
    {
        RunResult run = Sample.Run(Sample.Gemm(), Sample.Gemm("w4-a8", layer: "blk.0"));
        string text = ResultsJson.Serialize(run);
        Assert.Equal(text, ResultsJson.Serialize(ResultsJson.Deserialize(text, "file")));
    }

    [Fact]
    public void TheFieldsAreThoseOfTheSchema()
    {
        using JsonDocument document = JsonDocument.Parse(ResultsJson.Serialize(Sample.Run(Sample.Gemm())));
        JsonElement root = document.RootElement;
        Assert.Equal("kernels-results", root.GetProperty("schema").GetString());
        Assert.Equal(2, root.GetProperty("schema_version").GetInt32());
        Assert.Equal(["schema", "schema_version", "run", "machine", "build", "ceilings", "cases"], root.EnumerateObject().Select(p => p.Name));
        JsonElement first = root.GetProperty("cases")[0];
        Assert.Equal(
            [
                "id", "op", "scheme", "shape", "threads", "isa", "layer", "time_ns", "gops", "gbytes_per_s", "ceiling", "of_ceiling", "bytes",
                "allocated_bytes", "kernel_error", "quantization_error", "failure", "peers", "best_variant", "device_load",
            ],
            first.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["median", "min", "p95", "samples", "calls_per_sample"], NamesOf(first.GetProperty("time_ns")));
        Assert.Equal(["name", "value", "unit", "time_ns"], NamesOf(first.GetProperty("ceiling")));
        Assert.Equal(["packed", "f16", "workspace"], NamesOf(first.GetProperty("bytes")));
        Assert.Equal(["isa", "time_ns", "own_time_ns"], NamesOf(first.GetProperty("best_variant")));
        Assert.Equal(["sm_mhz", "memory_mhz", "watts"], NamesOf(first.GetProperty("device_load")));
        Assert.Equal(["sqnr_db", "relative_frobenius", "mse", "cosine", "max_abs", "p999_abs"], NamesOf(first.GetProperty("quantization_error")));
        Assert.Equal(
            ["name", "version", "time_ns", "speedup", "own_time_ns", "includes_quantization", "relative_error", "note", "failure"], NamesOf(first.GetProperty("peers")[0]));
    }

    [Fact]
    public void EveryFieldIsInTheDocumentation()
    {
        string text = File.ReadAllText(Path.Combine(RepositoryRoot(), "docs", "results-schema.md"));
        using JsonDocument document = JsonDocument.Parse(ResultsJson.Serialize(Sample.Run(Sample.Gemm())));
        Assert.All(AllNames(document.RootElement).Distinct(), name => Assert.Contains($"`{name}`", text, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("", "not a results file")]
    [InlineData("null", "'schema' is not")]
    [InlineData("{}", "not a results file")]
    [InlineData("[1, 2]", "not a results file")]
    public void WhatIsNotAResultsFileSaysSo(string text, string reason)
    {
        var exception = Assert.Throws<ResultsFormatException>(() => ResultsJson.Deserialize(text, "some.json"));
        Assert.StartsWith("some.json: ", exception.Message, StringComparison.Ordinal);
        Assert.Contains(reason, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnotherSchemaOrVersionIsRefused()
    {
        string text = ResultsJson.Serialize(Sample.Run());
        Assert.Throws<ResultsFormatException>(() => ResultsJson.Deserialize(text.Replace("kernels-results", "other", StringComparison.Ordinal), "f"));
        var exception = Assert.Throws<ResultsFormatException>(
            () => ResultsJson.Deserialize(text.Replace("\"schema_version\": 2", "\"schema_version\": 3", StringComparison.Ordinal), "f"));
        Assert.Contains("version 3", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFileOfVersion1IsRead()
    {
        string text = ResultsJson.Serialize(Sample.Run(Sample.Gemm())).Replace("\"schema_version\": 2", "\"schema_version\": 1", StringComparison.Ordinal);
        int peers = text.IndexOf("\"peers\"", StringComparison.Ordinal);
        string old = text[..peers] + "\"peers\": [{ \"name\": \"OpenBLAS f32 sgemm\", \"version\": \"0.3.21\", \"time_ns\": 4000, \"speedup\": 4 }] }] }";
        PeerResult peer = Assert.Single(ResultsJson.Deserialize(old, "f").Cases[0].Peers);
        Assert.Equal((4.0, null, null), (peer.Speedup!.Value, peer.OwnTimeNs, peer.Failure));
    }

    [Fact]
    public void TheBestPeerIsTheFastestThatIsRight()
    {
        PeerResult right = new("a", "1", 3000, 3), faster = new("b", "1", 2000, 2), wrong = new("c", "1", 100, null, Failure: "wrong result");
        CaseResult result = Sample.Gemm() with { Peers = [right, wrong, faster] };
        Assert.Equal("b", result.BestPeer!.Name);
        Assert.Null((result with { Peers = [wrong] }).BestPeer);
        string markdown = MarkdownWriter.Write(Sample.Run(result));
        Assert.Contains("| m1-n64-k64 | 1 | c 1 | 100 ns |  | WRONG |  | wrong result |\n", markdown, StringComparison.Ordinal);
        Assert.Contains("| 2.00x | exact |", markdown, StringComparison.Ordinal);
        Assert.Contains(",b 1,2000,2", CsvWriter.Write(Sample.Run(result)), StringComparison.Ordinal);
    }

    [Fact]
    public void ATruncatedFileIsRefused()
    {
        string text = ResultsJson.Serialize(Sample.Run(Sample.Gemm()));
        for (int length = 0; length < text.Length - 2; length += 37)
            Assert.Throws<ResultsFormatException>(() => ResultsJson.Deserialize(text[..length], "f"));
    }

    [Fact]
    public void CsvIsAFunctionOfTheJson()
    {
        RunResult run = Sample.Run(Sample.Gemm(layer: "a,\"b\"\nc"));
        string csv = CsvWriter.Write(run);
        Assert.Equal(csv, CsvWriter.Write(ResultsJson.Deserialize(ResultsJson.Serialize(run), "f")));
        string[] lines = csv.Split('\n', 2);
        Assert.StartsWith("id,layer,op,scheme,shape,threads,isa,time_median_ns,", lines[0], StringComparison.Ordinal);
        Assert.StartsWith(
            "gemm/w8-a8/m1-n64-k64/t1/avx512vnni,\"a,\"\"b\"\"\nc\",gemm,w8-a8,m1-n64-k64,1,avx512vnni,1000,900,1100,400,4.5,int8_dot,468,0.8,4352,8192,128,0.53125,0,exact,0,1E-08,0.01,35.2,",
            lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public void MarkdownIsAFunctionOfTheJson()
    {
        RunResult run = Sample.Run(Sample.Gemm(), Sample.Gemm(m: 128), Sample.Gemm("w4g128-f32"));
        string markdown = MarkdownWriter.Write(run);
        Assert.Equal(markdown, MarkdownWriter.Write(ResultsJson.Deserialize(ResultsJson.Serialize(run), "f")));
        Assert.Contains("| int8_dot | avx512vnni | 468 GOPS | 933 GOPS |\n", markdown, StringComparison.Ordinal);
        Assert.Contains("| dram_read | avx512 | 30.0 GB/s |  |\n", markdown, StringComparison.Ordinal);
        Assert.Contains("## gemm/w8-a8 on avx512vnni\n", markdown, StringComparison.Ordinal);
        Assert.Contains("| m128-n64-k64 | 1 | 1.00 us | 400 | 4.50 | 80.0% | int8\\_dot | 53.1% | 1.25x | 4.00x | exact | 35.2 |".Replace("\\", "", StringComparison.Ordinal), markdown, StringComparison.Ordinal);
        foreach (IGrouping<int, string> table in markdown.Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal)).GroupBy(line => line.Count(c => c == '|')))
            Assert.Contains(table.Key, new[] { 5, 13 });
    }

    [Fact]
    public void NamesFromFilesCannotBreakATable()
    {
        string markdown = MarkdownWriter.Write(Sample.Run(Sample.Gemm(layer: "a|b\n<script>")));
        Assert.Contains("| a\\|b \\<script> |", markdown, StringComparison.Ordinal);
        Assert.Equal("a?b", Printable.Of("a\u001bb"));
    }

    [Theory]
    [InlineData(0.5, "0.50 ns")]
    [InlineData(999.4, "999 ns")]
    [InlineData(12_345, "12.3 us")]
    [InlineData(1.5e6, "1.50 ms")]
    [InlineData(2e9, "2.00 s")]
    public void TimesAreShort(double nanoseconds, string text) => Assert.Equal(text, Figures.Time(nanoseconds));

    [Fact]
    public void WrongKernelsAreShownAsWrong()
    {
        CaseResult wrong = Sample.Gemm() with { KernelError = new KernelError("exact", 64, 64, 3, 1, 1) };
        Assert.Equal("WRONG (3)", CaseTable.KernelErrorOf(wrong));
        Assert.Equal("25.0% of bound", CaseTable.KernelErrorOf(wrong with { KernelError = new KernelError("bound", 1, 1, 0, 0, 0.25) }));
        Assert.Equal("<0.1% of bound", CaseTable.KernelErrorOf(wrong with { KernelError = new KernelError("bound", 1, 1, 0, 0, 1e-5) }));
    }

    [Fact]
    public void TheMachineHasNoNames()
    {
        string text = ResultsJson.Serialize(Sample.Run() with { Machine = MachineProbe.Machine(), Build = MachineProbe.Build() });
        Assert.DoesNotContain(Environment.MachineName, text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(Path.DirectorySeparatorChar + "home", text, StringComparison.Ordinal);
        Assert.DoesNotContain(AppContext.BaseDirectory, text, StringComparison.Ordinal);
    }

    internal static string RepositoryRoot()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "Kernels.sln")))
            at = at.Parent;
        return at?.FullName ?? throw new InvalidOperationException("The tests do not run inside the repository.");
    }

    private static IEnumerable<string> NamesOf(JsonElement element) => element.EnumerateObject().Select(p => p.Name);

    private static IEnumerable<string> AllNames(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(p => AllNames(p.Value).Prepend(p.Name)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(AllNames),
        _ => [],
    };
}
