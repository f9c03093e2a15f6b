using System.Globalization;

namespace Kernels.Harness.Cases;

/// <summary>A weight format as case ids write it: <c>w8</c>, <c>w4</c>, <c>w4z</c> (u4 with zero points), <c>w4zf</c> (u4 with float offsets)
/// or <c>nf4</c>; then <c>gSIZE</c> for groups along K (<c>bSIZE</c> for NF4, whose groups are called blocks), without it one scale per
/// channel; then <c>sf16</c>, <c>sbf16</c> or <c>sdq</c> for scales that are not f32 (f16, bf16, double-quantized); then <c>x1pct</c>,
/// <c>x1pctf16</c> or <c>x1pctbf16</c> where the one input in a hundred with the largest activations is an outlier column, kept in f32, f16 or bf16;
/// then <c>flat</c> for groups of the flattened tensor, as bitsandbytes stores them, or <c>o</c> for activation order.</summary>
/// <param name="Format">S8, S4, U4 or C4 (NF4).</param>
/// <param name="GroupSize">Elements per group, or 0 for one scale per channel.</param>
internal readonly record struct WeightScheme(ElementType Format, long GroupSize)
{
    /// <summary>The smallest group that the library packs.</summary>
    public const long MinGroupSize = 16;

    private static readonly (string Name, ElementType Format, bool HasOffsets)[] s_formats =
    [
        ("nf4", ElementType.C4, false), ("w4zf", ElementType.U4, true), ("w4z", ElementType.U4, false), ("w4", ElementType.S4, false),
        ("w8", ElementType.S8, false),
    ];

    private static readonly (string Name, ElementType Type)[] s_scaleTypes =
        [("sf16", ElementType.F16), ("sbf16", ElementType.BF16), ("sdq", ElementType.U8)];

    // Of two names that begin alike the longer one comes first.
    private static readonly (string Name, ElementType Type)[] s_outlierTypes =
        [("x1pctf16", ElementType.F16), ("x1pctbf16", ElementType.BF16), ("x1pct", ElementType.F32)];

    private const string Flattened = "flat";
    private const string Ordered = "o";

    /// <summary>Type of the scales; U8 for double-quantized ones.</summary>
    public ElementType ScaleType { get; init; } = ElementType.F32;

    /// <summary>Whether every group has a float offset, of the scales' type if that is a float.</summary>
    public bool HasOffsets { get; init; }

    /// <summary>Whether every input names its group.</summary>
    public bool IsOrdered { get; init; }

    /// <summary>Whether groups are cut from the flattened tensor.</summary>
    public bool IsFlattened { get; init; }

    /// <summary>Type that the weights of fixed outlier columns are kept in; null when there are none.</summary>
    public ElementType? OutlierType { get; init; }

    /// <summary>Bits of a code.</summary>
    public int Bits => Format == ElementType.S8 ? 8 : 4;

    /// <summary>Whether every group has an integer zero point of its own.</summary>
    public bool HasZeroPoints => Format == ElementType.U4 && !HasOffsets;

    private char GroupLetter => Format == ElementType.C4 ? 'b' : 'g';

    /// <summary>The groups of a channel of <paramref name="k"/> inputs. Without groups a channel has its scale even if it is empty.</summary>
    public long GroupsOf(long k) => GroupSize == 0 ? 1 : (k + GroupSize - 1) / GroupSize;

    /// <summary>The scales of N channels of <paramref name="k"/> inputs.</summary>
    public long ScalesOf(long n, long k) => IsFlattened ? GroupsOf(n * k) : n * GroupsOf(k);

    /// <summary>Fixed outlier columns of <paramref name="k"/> inputs: at least one, if there is an input.</summary>
    public long OutliersOf(long k) =>
        OutlierType is null ? 0 : Math.Min(k, Math.Max(1, (long)Math.Round(k * GemmScheme.OutlierShare)));

    /// <summary>The shape of weights of this format.</summary>
    public WeightsShape ToShape(long n, long k) => new(Format, n, k, GroupSize)
    {
        ScaleType = ScaleType,
        ZeroType = !HasOffsets ? null : ScaleType == ElementType.U8 ? ElementType.F32 : ScaleType,
        IsOrdered = IsOrdered,
        IsFlattened = IsFlattened,
        OutlierCount = OutliersOf(k),
        OutlierType = OutlierType ?? ElementType.F32,
    };

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out WeightScheme scheme)
    {
        scheme = default;
        foreach ((string name, ElementType format, bool hasOffsets) in s_formats)
        {
            if (!text.StartsWith(name, StringComparison.Ordinal))
                continue;
            ReadOnlySpan<char> rest = text[name.Length..];
            var read = new WeightScheme(format, 0) { HasOffsets = hasOffsets };
            if (TryReadGroup(ref rest, ref read) && TryReadSuffixes(rest, ref read))
            {
                scheme = read;
                return true;
            }

            return false;
        }

        return false;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static WeightScheme Parse(string text) =>
        TryParse(text, out WeightScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a weight format.");

    /// <inheritdoc/>
    public override string ToString()
    {
        WeightScheme self = this;
        string format = Array.Find(s_formats, f => f.Format == self.Format && f.HasOffsets == self.HasOffsets).Name
            ?? throw new InvalidOperationException($"{Format} is not a weight format.");
        string group = GroupSize == 0 ? "" : GroupLetter + GroupSize.ToString(CultureInfo.InvariantCulture);
        return format + group + Array.Find(s_scaleTypes, s => s.Type == self.ScaleType).Name
            + (OutlierType is null ? "" : Array.Find(s_outlierTypes, s => s.Type == self.OutlierType).Name)
            + (IsFlattened ? Flattened : IsOrdered ? Ordered : "");
    }

    private static bool TryReadGroup(ref ReadOnlySpan<char> rest, ref WeightScheme scheme)
    {
        if (rest.IsEmpty || rest[0] != scheme.GroupLetter)
            return true;
        int digits = 1;
        while (digits < rest.Length && char.IsAsciiDigit(rest[digits]))
            digits++;
        if (!TryParseNumber(rest[1..digits], out long groupSize) || groupSize < MinGroupSize)
            return false;
        scheme = scheme with { GroupSize = groupSize };
        rest = rest[digits..];
        return true;
    }

    private static bool TryReadSuffixes(ReadOnlySpan<char> rest, ref WeightScheme scheme)
    {
        if (TryReadType(ref rest, s_scaleTypes, out ElementType scales))
            scheme = scheme with { ScaleType = scales };
        // Codebooks have no integer arithmetic.
        if (scheme.Format != ElementType.C4 && TryReadType(ref rest, s_outlierTypes, out ElementType outliers))
            scheme = scheme with { OutlierType = outliers };
        scheme = scheme with { IsOrdered = rest is Ordered, IsFlattened = rest is Flattened && scheme.GroupSize > 0 };
        return rest.IsEmpty || scheme.IsOrdered || scheme.IsFlattened;
    }

    private static bool TryReadType(ref ReadOnlySpan<char> rest, (string Name, ElementType Type)[] names, out ElementType read)
    {
        foreach ((string name, ElementType type) in names)
        {
            if (!rest.StartsWith(name, StringComparison.Ordinal))
                continue;
            rest = rest[name.Length..];
            read = type;
            return true;
        }

        read = default;
        return false;
    }

    /// <summary>Reads a number written in the one way that ids allow: decimal digits, no sign, no leading zero.</summary>
    internal static bool TryParseNumber(ReadOnlySpan<char> text, out long value) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && (text.Length == 1 || text[0] != '0');
}

/// <summary>Element types as ids write them.</summary>
internal static class ElementNames
{
    /// <summary>The lower-case name of a type, such as "bf16".</summary>
    public static string NameOf(ElementType type) => type switch
    {
        ElementType.F32 => "f32",
        ElementType.F16 => "f16",
        ElementType.BF16 => "bf16",
        ElementType.S8 => "s8",
        ElementType.U8 => "u8",
        ElementType.S4 => "s4",
        ElementType.U4 => "u4",
        ElementType.C4 => "nf4",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not an element type."),
    };

    /// <summary>Reads the name of a float type.</summary>
    public static bool TryParseFloat(ReadOnlySpan<char> text, out ElementType type)
    {
        type = text switch
        {
            "f32" => ElementType.F32,
            "f16" => ElementType.F16,
            "bf16" => ElementType.BF16,
            _ => default,
        };
        return type != default;
    }

    /// <summary>Reads the name of a type of codes.</summary>
    public static bool TryParseInteger(ReadOnlySpan<char> text, out ElementType type)
    {
        type = text switch
        {
            "s8" => ElementType.S8,
            "u8" => ElementType.U8,
            "s4" => ElementType.S4,
            "u4" => ElementType.U4,
            "nf4" => ElementType.C4,
            _ => default,
        };
        return type != default;
    }
}
