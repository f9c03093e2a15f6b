namespace Kernels.Harness.Benchmarks;

/// <summary>Order statistics of samples.</summary>
internal static class Statistics
{
    /// <summary>The median; of an even number of samples the mean of the middle two.</summary>
    public static double Median(ReadOnlySpan<double> samples) => Percentile(samples, 0.5);

    /// <summary>A percentile, interpolated linearly between the samples around it (Hyndman and Fan's type 7).</summary>
    /// <param name="samples">At least one sample, in any order.</param>
    /// <param name="share">0 for the smallest, 1 for the largest.</param>
    public static double Percentile(ReadOnlySpan<double> samples, double share)
    {
        if (samples.IsEmpty)
            throw new ArgumentException("There are no samples.", nameof(samples));
        ArgumentOutOfRangeException.ThrowIfLessThan(share, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(share, 1);

        double[] sorted = samples.ToArray();
        Array.Sort(sorted);
        double position = share * (sorted.Length - 1);
        int below = (int)position;
        int above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
    }
}
