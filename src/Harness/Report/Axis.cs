using System.Globalization;

namespace Kernels.Harness.Report;

/// <summary>An axis that begins and ends at ticks, which are multiples of 1, 2 or 5 times a power of ten.</summary>
/// <param name="Low">Where it begins.</param>
/// <param name="High">Where it ends.</param>
/// <param name="Step">From one tick to the next.</param>
internal readonly record struct Axis(double Low, double High, double Step)
{
    /// <summary>The shortest axis around some values.</summary>
    /// <param name="low">The smallest value.</param>
    /// <param name="high">The largest value.</param>
    /// <param name="ticks">About how many ticks it should have.</param>
    public static Axis Around(double low, double high, int ticks)
    {
        // One value, or none, gets room on both sides.
        if (!(high > low))
            (low, high) = (low - 1, low + 1);
        double rough = (high - low) / ticks;
        double power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        double step = power * (rough / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        // A value that is a tick but for rounding needs no further one.
        const double Slack = 1e-9;
        return new Axis(Math.Floor(low / step + Slack) * step, Math.Ceiling(high / step - Slack) * step, step);
    }

    /// <summary>The ticks from low to high.</summary>
    public IEnumerable<double> Ticks()
    {
        // Sums of steps would drift.
        int count = (int)Math.Round((High - Low) / Step);
        for (int i = 0; i <= count; i++)
            yield return Low + i * Step;
    }

    /// <summary>A tick with the digits that tell it from its neighbours.</summary>
    public string Write(double tick)
    {
        int digits = Math.Max(0, (int)Math.Ceiling(-Math.Log10(Step) - 1e-9));
        return tick.ToString("F" + digits.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }

    /// <summary>Where a value lies between low (0) and high (1).</summary>
    public double Place(double value) => (value - Low) / (High - Low);
}
