using Kernels.Harness.Accuracy.Verification;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;
using Kernels.Harness.Tests.Results;

namespace Kernels.Harness.Tests.Verbs;

public sealed class VerifyTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void EveryVariantOfEveryOpIsRight()
    {
        string json = _folder.PathOf("errors.json");
        (int code, string output, string error) = CommandLineTests.Run("verify", "--json", json);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains(" checks passed, 0 failed", output, StringComparison.Ordinal);

        // The same kernels on the same operands make the same errors.
        (code, output, _) = CommandLineTests.Run("verify", "--filter", "gemm/w4*", "--baseline", json);
        Assert.Equal(0, code);
        Assert.Contains("0 of ", output, StringComparison.Ordinal);
    }

    [Fact]
    public void AnErrorThatGrewIsADifference()
    {
        string json = _folder.PathOf("errors.json");
        Assert.Equal(0, CommandLineTests.Run("verify", "--filter", "gemm/w8-f32/*", "--isa", "ref", "--json", json).Code);
        RunResult saved = ResultsJson.Load(json);
        ResultsJson.Save(
            saved with { Cases = [.. saved.Cases.Select(c => c with { KernelError = c.KernelError! with { RelativeFrobenius = c.KernelError.RelativeFrobenius / 2 } })] },
            json);
        (int code, _, string error) = CommandLineTests.Run("verify", "--filter", "gemm/w8-f32/*", "--isa", "ref", "--baseline", json);
        Assert.Equal(1, code);
        Assert.Contains("worse than the baseline", error, StringComparison.Ordinal);
    }

    [Fact]
    public void TheGoldenVectorsAreThoseOfTheReference()
    {
        string path = _folder.PathOf("golden.json");
        Assert.Equal(0, CommandLineTests.Run("verify", "--write-golden", path).Code);
        string committed = Path.Combine(ResultsTests.RepositoryRoot(), "tests", "data", "golden", "kernels.json");
        Assert.Equal(File.ReadAllText(committed), File.ReadAllText(path));
        Assert.True(GoldenVectors.LoadCommitted().Count > 100);
    }

    [Fact]
    public void EveryIdOfACheckIsUnique()
    {
        using var contexts = new ContextPool();
        string[] ids = [.. VerifyCatalog.Checks(contexts, ContextPool.Levels).Select(check => check.Id)];
        Assert.Equal(ids.Length, ids.Distinct().Count());
        Assert.All(new[] { "gemm/", "quantize/", "dequantize/" }, op => Assert.Contains(ids, id => id.StartsWith(op, StringComparison.Ordinal)));
        Assert.Contains(ids, id => id.StartsWith("gemm/w8-u8/m2-n3-k140001/t1/", StringComparison.Ordinal));
    }

    [Fact]
    public void AResultThatDiffersFromItsGoldenVectorIsFound()
    {
        using var contexts = new ContextPool();
        VerifyCheck check = VerifyCatalog.Checks(contexts, [Isa.Reference]).First(VerifyCatalog.IsGolden);
        CheckOutcome outcome = check.Run(contexts);
        Assert.Null(outcome.Failure);

        var right = new GoldenVector(check.GoldenKey, outcome.InputHash!, outcome.OutputHash!);
        Assert.Null(Parse(right).Compare(check, outcome));
        Assert.Contains("differs", Parse(right with { Output = "00" }).Compare(check, outcome), StringComparison.Ordinal);
        Assert.Contains("generator", Parse(right with { Inputs = "00" }).Compare(check, outcome), StringComparison.Ordinal);
        Assert.Contains("no golden vector", Parse(right with { Id = "other" }).Compare(check, outcome), StringComparison.Ordinal);
        Assert.Null(Parse().Compare(check, outcome with { OutputHash = null }));

        static GoldenVectors Parse(params GoldenVector[] vectors) => GoldenVectors.Parse(GoldenVectors.Write(vectors));
    }
}
