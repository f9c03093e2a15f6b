using System.Globalization;

namespace Kernels.Harness.Synthetic;

internal static class Require
{
    /// <summary>Refuses a value outside a range, and NaN.</summary>
    public static void InRange(double value, double minimum, double maximum, string name)
    {
        if (!(value >= minimum && value <= maximum))
        {
            throw new ArgumentOutOfRangeException(
                name, value, string.Create(CultureInfo.InvariantCulture, $"{name} must be from {minimum} to {maximum}."));
        }
    }
}
