using System.Globalization;

namespace Kernels.Harness.Results;

/// <summary>How figures are shown to people: three digits or so, with the unit that makes them short.</summary>
internal static class Figures
{
    /// <summary>Nanoseconds as ns, us, ms or s.</summary>
    public static string Time(double nanoseconds) => nanoseconds switch
    {
        < 1e3 => Digits(nanoseconds) + " ns",
        < 1e6 => Digits(nanoseconds / 1e3) + " us",
        < 1e9 => Digits(nanoseconds / 1e6) + " ms",
        _ => Digits(nanoseconds / 1e9) + " s",
    };

    /// <summary>A rate in 10^9 a second.</summary>
    public static string Rate(double value) => Digits(value);

    /// <summary>A share as a percentage.</summary>
    public static string Percent(double share) => Format(share * 100, "0.0") + "%";

    /// <summary>A difference as a percentage with its sign.</summary>
    public static string SignedPercent(double share) => Format(share * 100, "+0.0;-0.0;0.0") + "%";

    /// <summary>A share as a percentage that may be small.</summary>
    public static string SmallPercent(double share) => share is > 0 and < 0.001 ? "<0.1%" : Percent(share);

    /// <summary>Bytes as B, KiB, MiB or GiB.</summary>
    public static string Bytes(double bytes) => bytes switch
    {
        < 1024 => Format(bytes, "0") + " B",
        < 1024 * 1024 => Digits(bytes / 1024) + " KiB",
        < 1024 * 1024 * 1024 => Digits(bytes / (1024 * 1024)) + " MiB",
        _ => Digits(bytes / (1024 * 1024 * 1024)) + " GiB",
    };

    /// <summary>A count.</summary>
    public static string Count(double value) => Format(value, "0");

    /// <summary>An error: two digits and an exponent.</summary>
    public static string Error(double value) => value == 0 ? "0" : Format(value, "0.0e-0");

    /// <summary>Decibels.</summary>
    public static string Decibels(double value) => Format(value, "0.0");

    /// <summary>A cosine close to 1.</summary>
    public static string Cosine(double value) => Format(value, "0.00000");

    /// <summary>A factor such as "4.12x".</summary>
    public static string Factor(double value) => Digits(value) + "x";

    /// <summary>Three digits, without an exponent.</summary>
    public static string Digits(double value) => Math.Abs(value) switch
    {
        < 9.995 => Format(value, "0.00"),
        < 99.95 => Format(value, "0.0"),
        _ => Format(value, "0"),
    };

    private static string Format(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
