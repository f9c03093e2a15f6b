using Kernels.Harness.Report;

namespace Kernels.Harness.Tests.Results;

public sealed class AxisTests
{
    [Theory]
    [InlineData(0, 1, 0, 1, 0.2)]
    [InlineData(0, 1.147, 0, 1.2, 0.2)]
    [InlineData(0, 13.4, 0, 15, 5)]
    [InlineData(4.0078, 8.25, 4, 9, 1)]
    [InlineData(0, 1e-3, 0, 1e-3, 2e-4)]
    [InlineData(-3, 7, -4, 8, 2)]
    public void ItBeginsAndEndsAtRoundTicksAroundTheValues(double low, double high, double expectedLow, double expectedHigh, double step)
    {
        var axis = Axis.Around(low, high, 6);
        Assert.Equal(expectedLow, axis.Low, 1e-12);
        Assert.Equal(expectedHigh, axis.High, 1e-12);
        Assert.Equal(step, axis.Step, 1e-12);
        Assert.Equal(axis.High, axis.Ticks().Last(), 1e-12);
    }

    [Fact]
    public void OneValueLiesInTheMiddle() => Assert.Equal(0.5, Axis.Around(5, 5, 6).Place(5), 1e-12);

    [Theory]
    [InlineData(0.2, 0.6000000000000001, "0.6")]
    [InlineData(5, 10, "10")]
    [InlineData(0.05, 0.15, "0.15")]
    public void ATickHasTheDigitsOfItsStep(double step, double tick, string expected) => Assert.Equal(expected, new Axis(0, 1, step).Write(tick));
}
