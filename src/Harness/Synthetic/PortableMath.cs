namespace Kernels.Harness.Synthetic;

/// <summary>
/// Functions made of IEEE additions, multiplications and comparisons in a fixed order, so that every machine and
/// runtime computes the same bits. Those of System.Math call the C library of the platform, and differ in the last
/// place.
/// </summary>
internal static class PortableMath
{
    private const double Ln2 = 0.6931471805599453;
    private const double Log2E = 1.4426950408889634;

    /// <summary>e^x for |x| at most 600, to about 1e-13 of it: near enough for a random scale.</summary>
    public static double Exp(double x)
    {
        double octaves = x * Log2E;
        double whole = Math.Floor(octaves);
        double rest = (octaves - whole) * Ln2;

        // The Taylor series on [0, ln 2), where its 17th term is below 2^-54.
        const int Terms = 17;
        double sum = 1;
        for (int i = Terms; i > 0; i--)
        {
            sum = 1 + rest * sum / i;
        }

        const int ExponentBias = 1023;
        const int MantissaBits = 52;
        return sum * BitConverter.UInt64BitsToDouble((ulong)((long)whole + ExponentBias) << MantissaBits);
    }
}
