using Kernels.Harness.Cases;

namespace Kernels.Harness.Tests.Cases;

public sealed class CaseGlobTests
{
    private const string Id = "gemm/w4g128-a8/m128-n4096-k4096/t1/avx512vnni";

    [Theory]
    [InlineData("*", true)]
    [InlineData(Id, true)]
    [InlineData("gemm/*", true)]
    [InlineData("*/avx512vnni", true)]
    [InlineData("gemm/w4g*-a8/m128-*/t1/*", true)]
    [InlineData("gemm/{w8,w4g128}-a8/*", true)]
    [InlineData("gemm/w4g12?-a8/*", true)]
    [InlineData("gemm/{w8,w4}-a8/*", false)]
    [InlineData("gemm", false)]
    [InlineData("w4g128", false)]
    [InlineData("*/avx512", false)]
    [InlineData("gemm/w4g12.-a8/*", false)]
    [InlineData("GEMM/*", false)]
    public void APatternCoversTheWholeId(string pattern, bool matches) =>
        Assert.Equal(matches, CaseGlob.Parse(pattern).IsMatch(Id));

    [Theory]
    [InlineData("")]
    [InlineData("{a")]
    [InlineData("a}")]
    [InlineData("{a{b}}")]
    public void WhatIsNotAPatternIsRefused(string pattern) => Assert.Throws<FormatException>(() => CaseGlob.Parse(pattern));

    [Fact]
    public void ALongPatternIsRefusedAndAWickedOneIsFast()
    {
        Assert.Throws<FormatException>(() => CaseGlob.Parse(new string('*', 1001)));
        // Exponential in an engine that backtracks.
        Assert.False(CaseGlob.Parse(string.Concat(Enumerable.Repeat("*a", 300)) + "!").IsMatch(new string('a', 5000)));
    }

    [Theory]
    [InlineData("*/t4/*", new[] { 4 })]
    [InlineData("*/t1/*", new[] { 1 })]
    [InlineData("*", new int[0])]
    public void NamedThreads(string pattern, int[] threads) => Assert.Equal(threads, CaseGlob.Parse(pattern).NamedThreads());

    [Theory]
    [InlineData("*/avx2", true)]
    [InlineData("*avx2", true)]
    [InlineData("*/{ref,avx2}", true)]
    [InlineData("gemm/*", false)]
    [InlineData("*/avx2/*", false)]
    public void NamedVariant(string pattern, bool isNamed) =>
        Assert.Equal(isNamed, CaseGlob.Parse(pattern).NamesVariant(["avx512vnni", "avx2", "ref"]));
}
