using Kernels.Harness.Accuracy;
using Kernels.Harness.Results;

namespace Kernels.Harness.Tests.Accuracy;

public sealed class ErrorMeterTests
{
    [Fact]
    public void QuantizationErrorsAreThoseOfThePaper()
    {
        var meter = new QuantizationErrorMeter();
        meter.Add(3, 4);
        meter.Add(-1, 0);
        meter.Add(2, 2);
        QuantizationError error = meter.Result()!;
        Assert.Equal(2.0 / 3, error.Mse, 12);
        Assert.Equal(Math.Sqrt(2.0 / 20), error.RelativeFrobenius!.Value, 12);
        Assert.Equal(10, error.SqnrDb!.Value, 12);
        Assert.Equal(16 / Math.Sqrt(14 * 20), error.Cosine!.Value, 12);
        Assert.Equal(1, error.MaxAbs);
        Assert.Equal(1, error.P999Abs);
    }

    [Fact]
    public void WithoutNoiseOrSignalThereIsNoRatio()
    {
        Assert.Null(new QuantizationErrorMeter().Result());
        var exact = new QuantizationErrorMeter();
        exact.Add(1, 1);
        Assert.Null(exact.Result()!.SqnrDb);
        Assert.Equal(0, exact.Result()!.RelativeFrobenius);
        var zero = new QuantizationErrorMeter();
        zero.Add(1, 0);
        Assert.Null(zero.Result()!.RelativeFrobenius);
        Assert.Null(zero.Result()!.Cosine);
    }

    [Fact]
    public void ExactOutputsAreComparedBitByBit()
    {
        var meter = new KernelErrorMeter("exact");
        meter.AddExact(1.5f, 1.5f, 1.5, 0.1, () => "a");
        meter.AddExact(float.NaN, BitConverter.Int32BitsToSingle(0x7FC00001), 0, 0.1, () => "b");
        Assert.Equal(0, meter.Mismatches);
        meter.AddExact(-0f, 0f, 0, 0.1, () => "c");
        meter.AddExact(MathF.BitIncrement(1), 1, 1, 0.1, () => "d");
        Assert.Equal(2, meter.Mismatches);
        Assert.StartsWith("c is -0, the contract says 0", meter.FirstMismatch, StringComparison.Ordinal);
    }

    [Fact]
    public void BoundedOutputsMustStayInside()
    {
        var meter = new KernelErrorMeter("bound");
        meter.AddBounded(1.05f, 1, 0.1, () => "a");
        KernelError inside = meter.Result(10);
        Assert.Equal((0L, 1L, 10L), (inside.Mismatches, inside.OutputsChecked, inside.OutputsTotal));
        Assert.Equal(0.5, inside.MaxOfBound!.Value, 5);
        Assert.Equal(0.05, inside.RelativeFrobenius, 5);

        meter.AddBounded(1.2f, 1, 0.1, () => "b");
        meter.AddBounded(float.NaN, 1, 0.1, () => "c");
        meter.AddBounded(float.PositiveInfinity, 1, 0.1, () => "d");
        Assert.Equal(3, meter.Mismatches);
        // JSON has no infinity: the figures stay finite.
        KernelError outside = meter.Result(10);
        Assert.True(double.IsFinite(outside.RelativeFrobenius) && double.IsFinite(outside.MaxOfBound!.Value));
    }
}
