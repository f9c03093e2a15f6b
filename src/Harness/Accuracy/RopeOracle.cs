namespace Kernels.Harness.Accuracy;

/// <summary>Rotary embedding by the definition in rope.h.</summary>
internal static class RopeOracle
{
    // Of the angle, from the power, the scaling and the product in float64: 16 roundings are more than there are.
    private const double AngleError = 16 * 1.1102230246251565e-16;

    // Half a unit in the last place of binary32, and what the table may add to it.
    private const double Rounding = (0.5 + 1.0 / (1 << 20)) / (1 << 23);

    /// <summary>The frequency of a pair.</summary>
    public static double Frequency(RopeOptions options, long pair)
    {
        double rotated = options.RotaryDim == 0 ? options.HeadDim : options.RotaryDim;
        double frequency = Math.Pow(options.ThetaBase == 0 ? 10000 : options.ThetaBase, -2 * pair / rotated);
        switch (options.Scaling)
        {
            case RopeScaling.None:
                return frequency;
            case RopeScaling.Linear:
                return frequency / options.Factor;
            default:
                double turns = options.OriginalContext * frequency / (2 * Math.PI);
                double share = Math.Clamp((turns - options.LowFreqFactor) / (options.HighFreqFactor - options.LowFreqFactor), 0, 1);
                return frequency * (share + (1 - share) / options.Factor);
        }
    }

    /// <summary>What is wrong with a table; null when every entry is as near to the exact value as the contract
    /// says.</summary>
    public static string? CheckTable(RopeTable table)
    {
        int width = (int)(table.Options.RotaryDim == 0 ? table.Options.HeadDim : table.Options.RotaryDim), half = width / 2;
        for (int row = 0; row < table.Count; row++)
        {
            for (int pair = 0; pair < half; pair++)
            {
                double angle = (table.FirstPosition + row) * Frequency(table.Options, pair);
                (double sine, double cosine) = Math.SinCos(angle);
                if (!IsNear(table.CosSin[row * width + pair], cosine, angle) || !IsNear(table.CosSin[row * width + half + pair], sine, angle))
                    return $"the table's entry of pair {pair} at position {table.FirstPosition + row} is wrong";
            }
        }

        return null;
    }

    /// <summary>A head rotated with one rounding per operation: the bits that every variant has to give.</summary>
    /// <param name="options">The embedding.</param>
    /// <param name="cosSin">The row of the table.</param>
    /// <param name="head">The head; receives the result.</param>
    public static void Rotate(RopeOptions options, ReadOnlySpan<float> cosSin, Span<float> head)
    {
        int half = cosSin.Length / 2;
        for (int i = 0; i < half; i++)
        {
            int first = options.Layout == RopeLayout.Half ? i : 2 * i;
            int second = options.Layout == RopeLayout.Half ? i + half : 2 * i + 1;
            (float a, float b, float cosine, float sine) = (head[first], head[second], cosSin[i], cosSin[half + i]);
            // Separate statements: the runtime never fuses them, and a cast rounds to binary32.
            float aCosine = (float)(a * cosine), bSine = (float)(b * sine), aSine = (float)(a * sine), bCosine = (float)(b * cosine);
            head[first] = (float)(aCosine - bSine);
            head[second] = (float)(aSine + bCosine);
        }
    }

    private static bool IsNear(float entry, double exact, double angle)
    {
        // A unit in the last place is 2^-23 times the power of two at or below the magnitude.
        double power = exact == 0 ? 0 : Math.ScaleB(1, Math.ILogB(exact));
        return Math.Abs(entry - exact) <= Rounding * power + AngleError * (Math.Abs(angle) + 1);
    }
}
