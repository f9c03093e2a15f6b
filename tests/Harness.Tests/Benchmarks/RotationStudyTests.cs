using Kernels.Harness.Benchmarks;

namespace Kernels.Harness.Tests.Benchmarks;

public class RotationStudyTests
{
    [Fact]
    public void RotationSpreadsOutliersOfTheGenerator()
    {
        using var context = new KernelContext();
        RotationGain[] gains = [.. RotationStudy.Gains(context, new SyntheticActivationSource(1024, 1))];
        Assert.Equal([ElementType.S8, ElementType.S4], gains.Select(gain => gain.Type));
        // Outliers of 20 to 100 times the rest take more than a bit of range away from it.
        Assert.All(gains, gain => Assert.True(gain.RotatedDb > gain.PlainDb + 6, $"{gain}"));
    }

    [Fact]
    public void ValuesWithoutOutliersStayAsTheyAre()
    {
        using var context = new KernelContext();
        RotationGain gain = RotationStudy.Gains(context, new Normal()).First();
        Assert.InRange(gain.RotatedDb - gain.PlainDb, -1, 1);
    }

    private sealed class Normal : IActivationSource
    {
        public string Name => "normal";

        public int Channels => 512;

        public float[] Tokens(int most)
        {
            var random = new Random(1);
            var values = new float[16 * Channels];
            for (int i = 0; i < values.Length; i++)
                values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
            return values;
        }
    }
}
