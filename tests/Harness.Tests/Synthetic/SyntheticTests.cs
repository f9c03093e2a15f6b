using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Tests.Synthetic;

public sealed class SyntheticTests
{
    /// <summary>The bits are promised: a change of these hashes changes every benchmark that is kept.</summary>
    [Theory]
    [InlineData(64, 256, 1, "8AEEF8E944BCCD650C16764197A34687")]
    [InlineData(7, 100, 0xFFFFFFFFFFFFFFFF, "455EA706F9A58886C485ACAB7FD99CD3")]
    public void WeightsKeepTheirBits(long rows, long columns, ulong seed, string hash)
    {
        Assert.Equal(hash, Hash(new SyntheticWeights(rows, columns, seed).ToArray()));
    }

    [Theory]
    [InlineData(64, 256, 1, "9F068D7D54D8DB5F0007FAF0547622B8")]
    [InlineData(7, 100, 0xFFFFFFFFFFFFFFFF, "D6E14BB9B5DE02CCCB6D794487CD0461")]
    public void ActivationsKeepTheirBits(long rows, long columns, ulong seed, string hash)
    {
        Assert.Equal(hash, Hash(new SyntheticActivations(rows, columns, seed).ToArray()));
    }

    [Fact]
    public void ARowDependsOnNothingButItself()
    {
        SyntheticMatrix[] large = [new SyntheticWeights(100, 333, 5), new SyntheticActivations(100, 333, 5)];
        SyntheticMatrix[] small = [new SyntheticWeights(10, 333, 5), new SyntheticActivations(10, 333, 5)];
        foreach ((SyntheticMatrix of100, SyntheticMatrix of10) in large.Zip(small))
        {
            float[] whole = of100.ToArray();
            Assert.Equal(whole[..3330], of10.ToArray());
            float[] rows = new float[333 * 5];
            of100.FillRows(40, rows);
            Assert.Equal(whole.AsSpan(333 * 40, 333 * 5).ToArray(), rows);
        }
    }

    [Fact]
    public void SeedsAndKindsAreIndependent()
    {
        float[] first = new SyntheticWeights(64, 1024, 1).ToArray();
        Assert.InRange(Correlation(first, new SyntheticWeights(64, 1024, 2).ToArray()), -0.02, 0.02);
        Assert.InRange(
            Correlation(
                first, new SyntheticActivations(64, 1024, 1, new ActivationProfile { OutlierFraction = 0 }).ToArray()),
            -0.02,
            0.02);
        Assert.InRange(Correlation(first.AsSpan(..^1024), first.AsSpan(1024)), -0.02, 0.02);
        Assert.InRange(Correlation(first.AsSpan(..^1), first.AsSpan(1)), -0.02, 0.02);
    }

    [Fact]
    public void WeightsHaveHeavyTailsAndUnequalRows()
    {
        const int Rows = 1024;
        const int Columns = 1024;
        float[] weights = new SyntheticWeights(Rows, Columns, 42).ToArray();
        double[] rowRms = [.. Enumerable.Range(0, Rows).Select(row => Rms(weights.AsSpan(row * Columns, Columns)))];

        // exp(2 * 0.25^2) is the mean of the squared row scales; that of 1024 rows is near it.
        Assert.Equal(Math.Exp(0.125) / Columns, Square(Rms(weights)), 0.06 / Columns);
        Assert.InRange(Mean(weights) * Math.Sqrt(Columns), -0.005, 0.005);
        Assert.InRange(Kurtosis(weights), 5.3, 6.3);
        double[] logs = [.. rowRms.Select(rms => Math.Log(rms * Math.Sqrt(Columns)))];
        Assert.InRange(StandardDeviation(logs), 0.23, 0.27);

        // Within a row only the tails of the t distribution are left.
        float[] flat = new SyntheticWeights(Rows, Columns, 42, new WeightProfile { RowSpread = 0, Rms = 0.5 }).ToArray();
        Assert.Equal(0.5, Rms(flat), 0.005);
        Assert.InRange(Kurtosis(flat), 4.2, 4.9);
    }

    [Theory]
    [InlineData(0.5)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(6)]
    public void TheDistributionIsStudentsT(double standardDeviations)
    {
        // The 97.5th percentile in every table shows that the closed form is the right one.
        Assert.Equal(0.95, ShareOfT8(2.306004), 1e-6);

        float[] values = new SyntheticWeights(1, 2_000_000, 9, new WeightProfile { RowSpread = 0, Rms = 1 }).ToArray();
        double expected = ShareOfT8(standardDeviations * Math.Sqrt(8.0 / 6.0));
        double found = values.Count(value => Math.Abs(value) < standardDeviations) / (double)values.Length;
        Assert.Equal(expected, found, 4 * Math.Sqrt(expected * (1 - expected) / values.Length));
    }

    [Fact]
    public void ActivationsHaveOutlierChannels()
    {
        const int Tokens = 256;
        const int Channels = 4096;
        var matrix = new SyntheticActivations(Tokens, Channels, 7);
        float[] values = matrix.ToArray();
        double[] channelRms = [.. Enumerable.Range(0, Channels).Select(channel => Rms(Column(values, Channels, channel)))];
        double typical = channelRms.Order().ElementAt(Channels / 2);

        Assert.Equal(8, matrix.OutlierChannels.Count);
        Assert.Equal(matrix.OutlierChannels.Order(), matrix.OutlierChannels);
        foreach (int channel in matrix.OutlierChannels)
        {
            Assert.InRange(channelRms[channel] / typical, 17, 115);
            float[] column = Column(values, Channels, channel);
            int positive = column.Count(value => value > 0);
            Assert.True(positive is < Tokens / 20 or > Tokens * 19 / 20, "An outlier channel keeps to one side of zero.");
        }

        Assert.All(
            channelRms.Where((_, channel) => !matrix.OutlierChannels.Contains(channel)),
            rms => Assert.InRange(rms / typical, 0.2, 5));
        Assert.True(Kurtosis(values) > 100, "Outlier channels dominate the fourth moment.");
        Assert.All(values, value => Assert.True(Half.IsFinite((Half)value)));

        double[] tokenLogs = [.. Enumerable.Range(0, Tokens).Select(token => Math.Log(Rms(values.AsSpan(token * Channels, Channels))))];
        Assert.InRange(StandardDeviation(tokenLogs), 0.2, 0.3);
    }

    [Theory]
    [InlineData(63, 0.002, 0)]
    [InlineData(64, 0.002, 1)]
    [InlineData(14336, 0.002, 29)]
    [InlineData(64, 0.0, 0)]
    [InlineData(64, 0.1, 6)]
    public void OutlierChannelsAreCounted(int channels, double fraction, int count)
    {
        var matrix = new SyntheticActivations(1, channels, 3, new ActivationProfile { OutlierFraction = fraction });
        Assert.Equal(count, matrix.OutlierChannels.Count);
        Assert.All(matrix.OutlierChannels, channel => Assert.InRange(channel, 0, channels - 1));
    }

    [Fact]
    public void EmptyMatricesAndBadArguments()
    {
        Assert.Empty(new SyntheticWeights(0, 5, 1).ToArray());
        Assert.Empty(new SyntheticActivations(5, 0, 1).ToArray());
        new SyntheticActivations(5, 0, 1).FillRows(3, []);
        var matrix = new SyntheticWeights(4, 3, 1);
        Assert.Throws<ArgumentException>("destination", () => matrix.FillRows(0, new float[4]));
        Assert.Throws<ArgumentException>("destination", () => matrix.FillRows(3, new float[6]));
        Assert.Throws<ArgumentOutOfRangeException>("firstRow", () => matrix.FillRows(-1, new float[3]));
        Assert.Throws<ArgumentOutOfRangeException>("firstRow", () => matrix.FillRows(5, new float[3]));
        Assert.Throws<ArgumentException>("destination", () => matrix.Fill(new float[13]));
        Assert.Throws<ArgumentOutOfRangeException>("rows", () => new SyntheticWeights(-1, 3, 1));
        Assert.Throws<ArgumentOutOfRangeException>("columns", () => new SyntheticActivations(1, -3, 1));
        Assert.Throws<ArgumentOutOfRangeException>(
            "RowSpread", () => new SyntheticWeights(1, 1, 1, new WeightProfile { RowSpread = double.NaN }));
        Assert.Throws<ArgumentOutOfRangeException>(
            "Rms", () => new SyntheticWeights(1, 1, 1, new WeightProfile { Rms = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(
            "OutlierMaximum", () => new SyntheticActivations(1, 1, 1, new ActivationProfile { OutlierMaximum = 10 }));
        Assert.Throws<InvalidOperationException>(() => new SyntheticWeights(1L << 40, 1L << 30, 1).ToArray());
    }

    private static string Hash(float[] values) =>
        Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes(values.AsSpan())))[..32];

    // The integral of the density of t with 8 degrees of freedom from -t to t; with s = t / sqrt(8 + t^2) it is a
    // polynomial in s.
    private static double ShareOfT8(double t)
    {
        double s = t / Math.Sqrt(8 + t * t);
        double c2 = 1 - s * s;
        return s * (1 + c2 / 2 * (1 + 3 * c2 / 4 * (1 + 5 * c2 / 6)));
    }

    private static double Square(double value) => value * value;

    private static double Mean(ReadOnlySpan<float> values)
    {
        double sum = 0;
        foreach (float value in values)
        {
            sum += value;
        }

        return sum / values.Length;
    }

    private static double Rms(ReadOnlySpan<float> values) => Math.Sqrt(Moment(values, 2));

    private static double Kurtosis(ReadOnlySpan<float> values) => Moment(values, 4) / Square(Moment(values, 2));

    private static double Moment(ReadOnlySpan<float> values, int order)
    {
        double sum = 0;
        foreach (float value in values)
        {
            sum += order == 2 ? (double)value * value : Square((double)value * value);
        }

        return sum / values.Length;
    }

    private static double StandardDeviation(double[] values)
    {
        double mean = values.Average();
        return Math.Sqrt(values.Average(value => Square(value - mean)));
    }

    private static double Correlation(ReadOnlySpan<float> left, ReadOnlySpan<float> right)
    {
        double sum = 0;
        for (int i = 0; i < left.Length; i++)
        {
            sum += (double)left[i] * right[i];
        }

        return sum / left.Length / (Rms(left) * Rms(right));
    }

    private static float[] Column(float[] values, int columns, int column) =>
        [.. Enumerable.Range(0, values.Length / columns).Select(row => values[row * columns + column])];
}
