using Kernels.Harness.Cases;

namespace Kernels.Harness.Tests.Cases;

public sealed class CasePlannerTests
{
    private static readonly Isa[] s_levels = [Isa.Avx512Bf16, Isa.Avx512Vnni, Isa.Avx512, Isa.Avx2, Isa.Reference];

    private static readonly CatalogEntry[] s_catalog =
    [
        new(new GemmSpec(GemmScheme.Parse("w8-a8"), 1, 64, 64), 2),
        new(new GemmSpec(GemmScheme.Parse("w4-a8"), 1, 64, 64), 1),
        new(new QuantizeSpec(QuantizeScheme.Parse("s8-per-token"), 4, 64), 0),
    ];

    [Fact]
    public void TheShortRunTakesTheBestLevelAndFewThreads() => Assert.Equal(
        ["gemm/w8-a8/m1-n64-k64/t1/avx512vnni", "gemm/w8-a8/m1-n64-k64/t4/avx512vnni", "gemm/w4-a8/m1-n64-k64/t1/avx512vnni"],
        Plan(new CaseSelection()));

    [Fact]
    public void TheFullRunTakesEverything() => Assert.Equal(
        [
            "gemm/w8-a8/m1-n64-k64/t1/avx512vnni", "gemm/w8-a8/m1-n64-k64/t4/avx512vnni", "gemm/w4-a8/m1-n64-k64/t1/avx512vnni",
            "gemm/w4-a8/m1-n64-k64/t4/avx512vnni", "quantize/s8-per-token/rows4-n64/t1/avx512", "quantize/s8-per-token/rows4-n64/t4/avx512",
        ],
        Plan(new CaseSelection { IsFull = true }));

    [Fact]
    public void AFilterLooksAtAllCases() => Assert.Equal(
        ["quantize/s8-per-token/rows4-n64/t1/avx512", "quantize/s8-per-token/rows4-n64/t4/avx512"],
        Plan(new CaseSelection { Filter = CaseGlob.Parse("quantize/*") }));

    [Fact]
    public void AFilterThatNamesAVariantAndThreadsFindsThem() => Assert.Equal(
        ["gemm/w8-a8/m1-n64-k64/t3/avx2", "gemm/w4-a8/m1-n64-k64/t3/avx2"],
        Plan(new CaseSelection { Filter = CaseGlob.Parse("gemm/*/t3/avx2") }));

    [Fact]
    public void LevelsWithTheSameVariantRunOnce() => Assert.Equal(
        ["gemm/w8-a8/m1-n64-k64/t1/avx512vnni", "gemm/w8-a8/m1-n64-k64/t1/avx2"],
        Plan(new CaseSelection { Levels = s_levels[..4], Threads = [1], Op = "gemm", Filter = CaseGlob.Parse("*w8*") }));

    [Fact]
    public void ThreadsThatWereAskedForHoldForEveryCase() => Assert.Equal(
        ["gemm/w8-a8/m1-n64-k64/t2/avx512vnni", "gemm/w4-a8/m1-n64-k64/t2/avx512vnni"],
        Plan(new CaseSelection { Threads = [2] }));

    private static string[] Plan(CaseSelection selection) =>
        [.. new CasePlanner(s_levels, 4, VariantOf).Plan(s_catalog, selection).Select(planned => planned.Id.ToString())];

    // Two levels without a kernel of their own, as on a real machine.
    private static string? VariantOf(CaseSpec spec, Isa level) => (spec, level) switch
    {
        (GemmSpec, Isa.Avx512Bf16 or Isa.Avx512Vnni) => "avx512vnni",
        (GemmSpec, Isa.Avx512 or Isa.Avx2) => "avx2",
        (QuantizeSpec, >= Isa.Avx512) => "avx512",
        (_, Isa.Avx2) => "avx2",
        _ => "ref",
    };
}
