using Kernels.Harness.Report;
using Kernels.Harness.Results;
using Kernels.Harness.Tests.Results;
using Kernels.Harness.Tests.Verbs;

namespace Kernels.Harness.Tests.Report;

public sealed class ReadmeTableTests : IDisposable
{
    private const string Place = "before\n<!-- kernels report: r.json -->\nstale\n<!-- kernels report ends -->\nafter\n";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void TheTableOfTheReadmeIsThatOfItsResults()
    {
        string root = ResultsTests.RepositoryRoot();
        string readme = Path.Combine(root, "README.md");
        IReadOnlyList<string> sources = ReadmeTable.Sources(File.ReadAllText(readme));
        Assert.NotEmpty(sources);
        foreach (string source in sources)
        {
            (int code, _, string error) = CommandLineTests.Run("report", Path.Combine(root, source), "--readme", readme, "--check");
            Assert.True(code == 0, error);
        }
    }

    [Fact]
    public void ARowIsACellAndAColumnABatch()
    {
        RunResult run = Sample.Run(
            Sample.Gemm(m: 8, share: 0.75), Sample.Gemm(m: 1, share: 0.8), Sample.Gemm("w4-a8", m: 1) with { Peers = [] },
            Sample.Gemm("w4-a8", m: 8) with { KernelError = new KernelError("exact", 64, 64, 5, 1, 1) });
        string table = ReadmeTable.Write(run, "r.json");
        Assert.Contains("| cell | T | variant | M = 1 | M = 8 |\n|---|---:|---|---:|---:|\n", table, StringComparison.Ordinal);
        Assert.Contains("| `w8-a8` | 1 | avx512vnni | 80.0%, 4.00x <sup>1</sup> | 75.0%, 4.00x <sup>1</sup> |\n", table, StringComparison.Ordinal);
        Assert.Contains("| `w4-a8` | 1 | avx512vnni | 80.0% | WRONG |\n", table, StringComparison.Ordinal);
        Assert.Contains("\nPeers: 1 OpenBLAS f32 sgemm 0.3.21 (SkylakeX).\n", table, StringComparison.Ordinal);
        Assert.Contains("[r.json](r.json)", table, StringComparison.Ordinal);
    }

    [Fact]
    public void OtherShapesHaveAColumnEach()
    {
        CaseResult Of(int m, long n, double share, int threads = 1) =>
            Sample.Gemm(m: m, share: share) with { Threads = threads, Shape = new Dictionary<string, long> { ["m"] = m, ["n"] = n, ["k"] = 4096 } };
        CaseResult[] square = [Of(1, 4096, 0.8), Of(8, 4096, 0.7), Of(8, 4096, 0.7, threads: 2)];
        string table = ReadmeTable.Write(
            Sample.Run([.. square, Of(8, 1024, 0.914), Of(1, 1024, 0.5), Of(1, 1024, 0.123, threads: 2), Of(512, 28672, 0.4) with { KernelError = new KernelError("exact", 64, 64, 5, 1, 1) }]),
            "r.json");
        Assert.EndsWith(
            """

            Other layers (N x K), one thread, shares in percent:

            | cell | variant | 1024 x 4096, M = 1, 8 | 28672 x 4096, M = 512 |
            |---|---|---:|---:|
            | `w8-a8` | avx512vnni | 50, 91 | WRONG |

            """, table, StringComparison.Ordinal);
        Assert.DoesNotContain("Other layers", ReadmeTable.Write(Sample.Run(square), "r.json"), StringComparison.Ordinal);
    }

    [Fact]
    public void OnlyWhatIsBetweenTheCommentsChanges()
    {
        RunResult run = Sample.Run(Sample.Gemm());
        string made = ReadmeTable.Replace(Place, "r.json", run);
        Assert.StartsWith("before\n<!-- kernels report: r.json -->\n", made, StringComparison.Ordinal);
        Assert.EndsWith("<!-- kernels report ends -->\nafter\n", made, StringComparison.Ordinal);
        Assert.DoesNotContain("stale", made, StringComparison.Ordinal);
        Assert.Equal(made, ReadmeTable.Replace(made, "r.json", run));
        // The only table may be that of another file from now on.
        Assert.Equal(["new.json"], ReadmeTable.Sources(ReadmeTable.Replace(made, "new.json", run)));
    }

    [Fact]
    public void OfTwoTablesTheOneOfTheFileChanges()
    {
        string two = Place + Place.Replace("r.json", "s.json", StringComparison.Ordinal);
        string made = ReadmeTable.Replace(two, "s.json", Sample.Run(Sample.Gemm()));
        Assert.StartsWith(Place, made, StringComparison.Ordinal);
        Assert.Equal(["r.json", "s.json"], ReadmeTable.Sources(made));
        Assert.Throws<FormatException>(() => ReadmeTable.Replace(two, "t.json", Sample.Run(Sample.Gemm())));
    }

    [Theory]
    [InlineData("no comments")]
    [InlineData("<!-- kernels report: r.json -->\n")]
    [InlineData("<!-- kernels report: r.json\n<!-- kernels report ends -->")]
    [InlineData("<!-- kernels report ends -->\n<!-- kernels report: r.json -->\n")]
    [InlineData("<!-- kernels report: r.json -->\n<!-- kernels report: s.json -->\n<!-- kernels report ends -->")]
    public void ATextWithoutAPlaceIsRefused(string text) =>
        Assert.Throws<FormatException>(() => ReadmeTable.Replace(text, "r.json", Sample.Run(Sample.Gemm())));

    [Fact]
    public void OpsBesideGemmHaveATableEach()
    {
        CaseResult append = Step("kv_append/s8/h8-d128-c16384-q512/t1/avx512", "kv_append", "s8", 2000);
        CaseResult step = Step("fused/rmsnorm-quantize-s8/rows512-n4096/t1/avx512", "fused", "rmsnorm-quantize-s8", 1000);
        CaseResult parts = Step("fused/rmsnorm-then-quantize-s8/rows512-n4096/t1/avx512", "fused", "rmsnorm-then-quantize-s8", 3000);
        CaseResult slower = append with
        {
            Id = append.Id.Replace("avx512", "avx2", StringComparison.Ordinal),
            Isa = "avx2",
            BestVariant = new VariantResult("avx512", 1000, 1250),
        };
        CaseResult wrong = Step("fused/rmsnorm-quantize-s8/rows512-n8192/t1/avx512", "fused", "rmsnorm-quantize-s8", 1000) with
        {
            KernelError = new KernelError("exact", 64, 64, 5, 1, 1),
            Ceiling = new CaseCeiling("dram_read", 10, "gb_per_s", 800),
        };
        string table = ReadmeTable.Write(Sample.Run(append, slower, step, parts, wrong), "r.json");
        Assert.Contains("Of `dram_copy`:\n\n| `kv_append` | T | variant | h8-d128-c16384-q512 |\n|---|---:|---|---:|\n", table, StringComparison.Ordinal);
        Assert.Contains($"| `s8` | 1 | avx512 | {Figures.Time(2000)}, 80.0% |\n", table, StringComparison.Ordinal);
        Assert.Contains($"| `s8` | 1 | avx2 | {Figures.Time(2000)}, 80.0%, 1.25x the time of avx512 |\n", table, StringComparison.Ordinal);
        Assert.Contains("| `fused` | T | variant | rows512-n4096 | rows512-n8192 |\n", table, StringComparison.Ordinal);
        Assert.Contains($"| 1 | avx512 | {Figures.Time(1000)}, 80.0% (`dram_copy`), 3.00x | WRONG |\n", table, StringComparison.Ordinal);
        Assert.DoesNotContain("then-quantize", table, StringComparison.Ordinal);
        Assert.Equal(table, ReadmeTable.Write(Sample.Run(append, slower, step, parts, wrong), "r.json"));
    }

    private static CaseResult Step(string id, string op, string scheme, double median) => Sample.Gemm(median: median) with
    {
        Id = id,
        Op = op,
        Scheme = scheme,
        Isa = "avx512",
        Ceiling = new CaseCeiling("dram_copy", 10, "gb_per_s", median * 0.8),
        Peers = [],
        BestVariant = null,
    };

    [Fact]
    public void ARunWithNothingToShowIsRefused() =>
        Assert.Throws<FormatException>(() => ReadmeTable.Replace(Place, "r.json", Sample.Run(Sample.Gemm(layer: "a layer"))));

    [Fact]
    public void TheVerbWritesAndChecks()
    {
        string json = _folder.PathOf("r.json"), readme = _folder.PathOf("README.md");
        ResultsJson.Save(Sample.Run(Sample.Gemm()), json);
        File.WriteAllText(readme, Place);
        (int code, _, string error) = CommandLineTests.Run("report", json, "--readme", readme, "--check");
        Assert.Equal(1, code);
        Assert.Contains("is not what", error, StringComparison.Ordinal);
        Assert.Equal(Place, File.ReadAllText(readme));

        Assert.Equal(0, CommandLineTests.Run("report", json, "--readme", readme).Code);
        Assert.Equal(ReadmeTable.Replace(Place, "r.json", ResultsJson.Load(json)), File.ReadAllText(readme));
        Assert.Equal(0, CommandLineTests.Run("report", json, "--readme", readme, "--check").Code);

        File.WriteAllText(readme, "nothing");
        (code, _, error) = CommandLineTests.Run("report", json, "--readme", readme);
        Assert.Equal(2, code);
        Assert.Contains("places for a table of r.json", error, StringComparison.Ordinal);
    }
}
