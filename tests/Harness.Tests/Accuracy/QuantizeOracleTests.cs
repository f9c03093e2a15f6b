using Kernels.Harness.Accuracy;

namespace Kernels.Harness.Tests.Accuracy;

public sealed class QuantizeOracleTests
{
    [Fact]
    public void SymmetricByHand()
    {
        QuantizedReference result = QuantizeOracle.Quantize(
            new QuantizeOptions(ElementType.S8, Granularity.Token), 2, 4, [127, -63.5f, 0.5f, 1.5f, 0, 0, 0, 0]);
        Assert.Equal([127, -64, 0, 2, 0, 0, 0, 0], result.Codes); // halves go to even
        Assert.Equal([1f, 0], result.Scales);
        Assert.Equal([0, 0], result.ZeroPoints);
    }

    [Fact]
    public void AsymmetricByHand()
    {
        QuantizedReference result = QuantizeOracle.Quantize(
            new QuantizeOptions(ElementType.U8, Granularity.Token, Asymmetric: true), 2, 3, [-55, 0, 200, 10, 20, 255]);
        Assert.Equal([0, 55, 255, 10, 20, 255], result.Codes);
        Assert.Equal([1f, 1], result.Scales);
        Assert.Equal([55, 0], result.ZeroPoints); // zero stays in the range
    }

    [Fact]
    public void UnsignedSymmetricSitsInTheMiddle()
    {
        QuantizedReference result = QuantizeOracle.Quantize(new QuantizeOptions(ElementType.U4, Granularity.Tensor), 1, 4, [7, -7, 3, 0]);
        Assert.Equal([15, 1, 11, 8], result.Codes);
        Assert.Equal([8], result.ZeroPoints);
    }

    [Theory]
    [InlineData(Granularity.Tensor, 1)]
    [InlineData(Granularity.Token, 3)]
    [InlineData(Granularity.Group, 0)]
    public void ARowOfNothingHasAScaleButNoGroups(Granularity granularity, int scales)
    {
        QuantizedReference result = QuantizeOracle.Quantize(new QuantizeOptions(ElementType.S8, granularity, GroupSize: 16), 3, 0, []);
        Assert.Equal(new float[scales], result.Scales);
    }

    [Fact]
    public void TheLastGroupMayBeShorter()
    {
        float[] source = [.. Enumerable.Repeat(7f, 16), 14, -14];
        QuantizedReference result = QuantizeOracle.Quantize(
            new QuantizeOptions(ElementType.S4, Granularity.Group, GroupSize: 16), 1, 18, source);
        Assert.Equal([1f, 2], result.Scales);
        Assert.Equal([7, -7], result.Codes[16..]);
    }

    [Fact]
    public void ATinyScaleCountsAsZero()
    {
        QuantizedReference result = QuantizeOracle.Quantize(new QuantizeOptions(ElementType.S8, Granularity.Token), 1, 2, [1e-37f, -1e-37f]);
        Assert.Equal([0, 0], result.Codes);
        Assert.Equal([0f], result.Scales);
        result = QuantizeOracle.Quantize(new QuantizeOptions(ElementType.S8, Granularity.Token, Asymmetric: true), 1, 1, [0]);
        Assert.Equal(-128, result.ZeroPoints[0]);
        Assert.Equal(-128, result.Codes[0]);
    }

    [Fact]
    public void ClippingSaturates()
    {
        QuantizedReference result = QuantizeOracle.Quantize(
            new QuantizeOptions(ElementType.S8, Granularity.Token, ClipRatio: 0.5f), 1, 2, [254, 127]);
        Assert.Equal([127, 127], result.Codes);
        Assert.Equal([1f], result.Scales);
    }
}
