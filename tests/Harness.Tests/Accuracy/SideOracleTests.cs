using Kernels.Harness.Accuracy;

namespace Kernels.Harness.Tests.Accuracy;

public sealed class SideOracleTests
{
    // Column 1 holds an outlier in the second row.
    private static readonly float[][] s_rows = [[1, -2, 3], [0.5f, 9, -4]];

    private static readonly OracleChannel s_channel = new([2, -3, 5], [0.5f], 3);

    [Fact]
    public void AColumnIsAnOutlierInEveryRowWhenItIsInOne()
    {
        int[] outliers = SideOracle.FindOutliers(s_rows, 3, 6);
        Assert.Equal([1], outliers);
        var side = new SideOracle(outliers, null);
        Assert.Equal([1, 0, 3], side.WithoutOutliers(s_rows[0]));
        // 127 stands for 3, not for an outlier.
        IntegerRow row = side.Quantize(ElementType.S8, s_rows[0]);
        Assert.Equal([42, 0, 127], row.Values);
        Assert.Equal(-2f * (-3 * 0.5f), side.Bits(side.Row(s_rows[0]), s_channel, 0));
        Assert.Equal(new OracleOutput(3, 3), side.Exact(side.Row(s_rows[0]), s_channel, 0));
        Assert.Empty(SideOracle.FindOutliers(s_rows, 3, 9));
    }

    [Fact]
    public void AnAdapterProjectsAndExpands()
    {
        // Rank 2 over K = 3, N = 2, all in numbers that binary32 holds exactly.
        var lora = new LoraOperand(2, 0.5f, [1, 0, 2, 0, 1, -1], [1, 2, 3, -4]);
        var side = new SideOracle([], lora);
        SideRow row = side.Row(s_rows[0]);
        Assert.Equal([3.5f, -2.5f], row.P);
        Assert.Equal([3.5, 2.5], row.Magnitudes);
        Assert.Equal((3 * 3.5f) - (4 * -2.5f), side.Bits(row, s_channel, 1));
        Assert.Equal(new OracleOutput(20.5, 20.5), side.Exact(row, s_channel, 1));
    }

    [Fact]
    public void NothingToAddIsNotZero()
    {
        var side = new SideOracle([], null);
        Assert.Null(side.Bits(side.Row(s_rows[0]), s_channel, 0));
    }
}
