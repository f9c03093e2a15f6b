using Kernels.Harness.Benchmarks;

namespace Kernels.Harness.Tests.Benchmarks;

public sealed class StatisticsTests
{
    [Theory]
    [InlineData(new[] { 3.0 }, 3)]
    [InlineData(new[] { 4.0, 1, 2 }, 2)]
    [InlineData(new[] { 4.0, 1, 2, 3 }, 2.5)]
    public void TheMedianIsTheMiddle(double[] samples, double median) => Assert.Equal(median, Statistics.Median(samples));

    [Theory]
    [InlineData(0, 10)]
    [InlineData(1, 50)]
    [InlineData(0.25, 20)]
    [InlineData(0.95, 48)]
    public void PercentilesAreInterpolated(double share, double value) =>
        Assert.Equal(value, Statistics.Percentile([50, 10, 40, 20, 30], share), 12);

    [Fact]
    public void TheSamplesStayAsTheyAre()
    {
        double[] samples = [3, 1, 2];
        _ = Statistics.Median(samples);
        Assert.Equal([3, 1, 2], samples);
    }

    [Fact]
    public void NoSamplesAndNoShareAreRefused()
    {
        Assert.Throws<ArgumentException>(() => Statistics.Median([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Statistics.Percentile([1], 1.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => Statistics.Percentile([1], double.NaN));
    }
}
