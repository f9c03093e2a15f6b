using Kernels.Harness.Accuracy.Verification;
using Kernels.Harness.Report;
using Kernels.Harness.Results;

namespace Kernels.Harness.Tests.Results;

public sealed class RunComparisonTests
{
    [Theory]
    [InlineData(1040, nameof(Verdict.Same))]
    [InlineData(1060, nameof(Verdict.Slower))]
    [InlineData(960, nameof(Verdict.Same))]
    [InlineData(940, nameof(Verdict.Faster))]
    public void TimesAreComparedWithAThreshold(double median, string verdict)
    {
        RunComparison comparison = RunComparison.Of(
            Sample.Run(Sample.Gemm(median: 1000)), Sample.Run(Sample.Gemm(median: median)), ComparedMetric.Time, 0.05);
        ComparedCase only = Assert.Single(comparison.Cases);
        Assert.Equal(Enum.Parse<Verdict>(verdict), only.Verdict);
        Assert.Equal(median / 1000 - 1, only.Change!.Value, 12);
    }

    [Fact]
    public void SharesAreComparedTheOtherWayRound()
    {
        RunComparison comparison = RunComparison.Of(
            Sample.Run(Sample.Gemm(share: 0.8)), Sample.Run(Sample.Gemm(share: 0.4)), ComparedMetric.Share, 0.05);
        Assert.Equal(Verdict.Slower, comparison.Cases[0].Verdict);
        Assert.Equal(1, comparison.Cases[0].Change!.Value, 12);
    }

    [Fact]
    public void CasesComeAndGo()
    {
        RunComparison comparison = RunComparison.Of(
            Sample.Run(Sample.Gemm(m: 1), Sample.Gemm(m: 2), Sample.Gemm(m: 2, layer: "a")), Sample.Run(Sample.Gemm(m: 2), Sample.Gemm(m: 3)),
            ComparedMetric.Time, 0.05);
        Assert.Equal([Verdict.Gone, Verdict.Same, Verdict.Gone, Verdict.New], comparison.Cases.Select(c => c.Verdict));
        Assert.Equal("gemm/w8-a8/m2-n64-k64/t1/avx512vnni [a]", comparison.Cases[2].Key);
    }

    [Fact]
    public void ACaseWithoutTimesIsNotComparedByThem()
    {
        CaseResult untimed = Sample.Gemm() with { TimeNs = null };
        Assert.Equal(Verdict.Same, RunComparison.Of(Sample.Run(untimed), Sample.Run(Sample.Gemm()), ComparedMetric.Time, 0).Cases[0].Verdict);
    }

    [Theory]
    [InlineData(0, 1.0e-6, 0.5, false)]
    [InlineData(0, 1.09e-6, 0.54, false)]
    [InlineData(0, 1.2e-6, 0.5, true)]
    [InlineData(0, 1.0e-6, 0.6, true)]
    [InlineData(1, 1.0e-6, 0.5, true)]
    [InlineData(0, 0.1e-6, 0.1, false)]
    public void ErrorsMayNotGrow(long mismatches, double relative, double ofBound, bool isWorse)
    {
        CaseResult before = Sample.Gemm() with { KernelError = new KernelError("bound", 64, 64, 0, 1e-6, 0.5) };
        CaseResult now = before with { KernelError = new KernelError("bound", 64, 64, mismatches, relative, ofBound) };
        Assert.Equal(isWorse ? 1 : 0, ErrorBaseline.Worse(Sample.Run(before), Sample.Run(now)).Count);
        Assert.Equal(1, ErrorBaseline.Common(Sample.Run(before), Sample.Run(now)));
    }

    [Fact]
    public void TheReportIsAFunctionOfTheJsonAndLoadsNothing()
    {
        RunResult run = Sample.Run(Sample.Gemm(), Sample.Gemm("w4g128-a8", layer: "<b>&"), Sample.Gemm("w4g128-a8", m: 8));
        string html = HtmlReport.Write(run);
        Assert.Equal(html, HtmlReport.Write(ResultsJson.Deserialize(ResultsJson.Serialize(run), "f")));
        Assert.Contains("<svg", html, StringComparison.Ordinal);
        Assert.Contains("&lt;b&gt;&amp;", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<b>&", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", html, StringComparison.Ordinal);
        // The only address is the name of the SVG namespace, which nobody loads.
        Assert.Equal(html.Split("http").Length, html.Split("http://www.w3.org/2000/svg").Length);
        System.Xml.Linq.XDocument.Parse(html.Replace("<!DOCTYPE html>", "", StringComparison.Ordinal)
            .Replace("<meta charset=\"utf-8\">", "", StringComparison.Ordinal).Replace("<br>", "<br/>", StringComparison.Ordinal));
    }

    [Fact]
    public void AReportOfNothingIsAReport() => Assert.Contains("</html>", HtmlReport.Write(Sample.Run() with { Ceilings = [] }), StringComparison.Ordinal);
}
