using Kernels.Harness.Accuracy;

namespace Kernels.Harness.Tests.Accuracy;

public sealed class GemmOracleTests
{
    // Two channels of five inputs in groups of three and two, worked out by hand.
    private static readonly OracleWeights s_weights = new(
        new WeightsShape(ElementType.U4, 2, 5, 3), [0x21, 0x43, 0x05, 0xFF, 0xFF, 0x0F], 3, [0.5f, 2, 1, -1], [1, 2, 15, 0]);

    [Fact]
    public void AChannelIsItsCodesLessItsZeroPoints()
    {
        OracleChannel first = s_weights.Channel(0), second = s_weights.Channel(1);
        Assert.Equal([0, 1, 2, 2, 3], first.Values);
        Assert.Equal([0.5f, 2], first.Scales);
        Assert.Equal([0, 0, 0, 15, 15], second.Values);
        Assert.Equal([1f, -1], second.Scales);
    }

    [Fact]
    public void IntegerOutputsFollowTheContract()
    {
        var row = new IntegerRow([1, -2, 3, -4, 5], 0.25f);
        // Groups: 0 - 2 + 6 = 4 and -8 + 15 = 7; 4 * 0.5 + 7 * 2 = 16; 16 * 0.25 = 4.
        Assert.Equal(4f, GemmOracle.ExactInteger(row, s_weights.Channel(0), null, null));
        Assert.Equal(4f + 1.5f - 10, GemmOracle.ExactInteger(row, s_weights.Channel(0), 1.5f, -10f));
        OracleOutput output = GemmOracle.Integer(row, s_weights.Channel(0), 1.5f, -10f);
        Assert.Equal(-4.5, output.Value);
        // (0 + 2 + 6) * 0.5 + (8 + 15) * 2 = 50, times 0.25, and the two addends.
        Assert.Equal(12.5 + 1.5 + 10, output.Magnitude);
    }

    [Fact]
    public void FloatOutputsAreThoseOfFloat64()
    {
        OracleOutput output = GemmOracle.Float([1, -2, 3, -4, 5], s_weights.Channel(1), null, 3f);
        Assert.Equal(-(-4 * 15 + 5 * 15) + 3, output.Value);
        Assert.Equal(9 * 15 + 3, output.Magnitude);
    }

    [Fact]
    public void SumsThatOverflow32BitsAreExact()
    {
        const int K = 140_000;
        int[] ones = new int[K], values = new int[K];
        Array.Fill(ones, 255);
        Array.Fill(values, -128);
        float exact = GemmOracle.ExactInteger(new IntegerRow(ones, 1), new OracleChannel(values, [1], K), null, null);
        Assert.Equal((float)(-128L * 255 * K), exact);
    }

    [Fact]
    public void TheOracleAgreesWithABruteForceInWholeNumbers()
    {
        const int XUnit = 64, ScaleUnit = 256;
        var random = new Random(1);
        for (int turn = 0; turn < 50; turn++)
        {
            int k = random.Next(1, 70);
            int[] x = [.. Enumerable.Range(0, k).Select(_ => random.Next(-1000, 1001))];
            int[] w = [.. Enumerable.Range(0, k).Select(_ => random.Next(-128, 128))];
            int[] scales = [.. Enumerable.Range(0, (k + 15) / 16).Select(_ => random.Next(1, 64))];
            long sum = 0, magnitude = 0;
            for (int i = 0; i < k; i++)
            {
                long product = (long)x[i] * w[i] * scales[i / 16];
                sum += product;
                magnitude += Math.Abs(product);
            }

            var channel = new OracleChannel(w, [.. scales.Select(scale => (float)scale / ScaleUnit)], 16);
            OracleOutput output = GemmOracle.Float([.. x.Select(value => (float)value / XUnit)], channel, null, null);
            Assert.Equal((double)sum / (XUnit * ScaleUnit), output.Value);
            Assert.Equal((double)magnitude / (XUnit * ScaleUnit), output.Magnitude);
        }
    }

    [Fact]
    public void TheBoundIsThatOfTheHeader()
    {
        var output = new OracleOutput(100, 1000);
        double bound = (64 + 8) * 1000.0 / (1 << 24);
        Assert.Equal(bound, GemmOracle.Bound(output, 64, ElementType.F32), 12);
        Assert.Equal(bound + (100 + bound) / 2048, GemmOracle.Bound(output, 64, ElementType.F16), 12);
        Assert.Equal(bound + (100 + bound) / 256, GemmOracle.Bound(output, 64, ElementType.BF16), 12);
    }

    [Fact]
    public void CodesAreReadAndWritten()
    {
        foreach (ElementType type in new[] { ElementType.S8, ElementType.U8, ElementType.S4, ElementType.U4 })
        {
            int low = type switch { ElementType.S8 => -128, ElementType.S4 => -8, _ => 0 };
            int high = type switch { ElementType.S8 => 127, ElementType.U8 => 255, ElementType.S4 => 7, _ => 15 };
            int[] codes = [low, high, 0, 1, low];
            byte[] row = new byte[type.RowBytes(codes.Length)];
            CodeReader.Narrow(type, codes, row);
            int[] back = new int[codes.Length];
            CodeReader.Widen(type, row, back);
            Assert.Equal(codes, back);
        }

        byte[] nibbles = new byte[2];
        CodeReader.Narrow(ElementType.S4, [-8, 7, -1], nibbles);
        Assert.Equal([0x78, 0x0F], nibbles);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(5, 5)]
    [InlineData(64, 64)]
    [InlineData(4096, 64)]
    [InlineData(14336, 64)]
    public void ASampleHasBothEndsAndNoIndexTwice(long count, int samples)
    {
        long[] indices = SampleGrid.Indices(count);
        Assert.Equal(samples, indices.Distinct().Count());
        Assert.Equal(indices.Order(), indices);
        if (count > 0)
            Assert.Equal((0, count - 1), (indices[0], indices[^1]));
    }
}
