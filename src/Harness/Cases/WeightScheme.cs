using System.Globalization;

namespace Kernels.Harness.Cases;

/// <summary>A weight format as case ids write it: <c>w8</c>, <c>w4</c>, <c>w4z</c> (u4 with zero points), each with an optional
/// <c>gSIZE</c> for groups along K; without it one scale per channel.</summary>
/// <param name="Format">S8, S4 or U4.</param>
/// <param name="GroupSize">Elements per group, or 0 for one scale per channel.</param>
internal readonly record struct WeightScheme(ElementType Format, long GroupSize)
{
    /// <summary>The smallest group that the library packs.</summary>
    public const long MinGroupSize = 16;

    /// <summary>Bits of a code.</summary>
    public int Bits => Format == ElementType.S8 ? 8 : 4;

    /// <summary>Whether every group has a zero point of its own.</summary>
    public bool HasZeroPoints => Format == ElementType.U4;

    /// <summary>The groups of a channel of <paramref name="k"/> inputs. Without groups a channel has its scale even if it is empty.</summary>
    public long GroupsOf(long k) => GroupSize == 0 ? 1 : (k + GroupSize - 1) / GroupSize;

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out WeightScheme scheme)
    {
        scheme = default;
        int group = text.IndexOf('g');
        long groupSize = 0;
        if (group >= 0)
        {
            if (!TryParseNumber(text[(group + 1)..], out groupSize) || groupSize < MinGroupSize)
                return false;
            text = text[..group];
        }

        ElementType format;
        if (text is "w8")
            format = ElementType.S8;
        else if (text is "w4")
            format = ElementType.S4;
        else if (text is "w4z")
            format = ElementType.U4;
        else
            return false;

        scheme = new WeightScheme(format, groupSize);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string format = Format switch
        {
            ElementType.S8 => "w8",
            ElementType.S4 => "w4",
            ElementType.U4 => "w4z",
            _ => throw new InvalidOperationException($"{Format} is not a weight format."),
        };
        return GroupSize == 0 ? format : format + "g" + GroupSize.ToString(CultureInfo.InvariantCulture);
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

    /// <summary>Reads the name of an integer type.</summary>
    public static bool TryParseInteger(ReadOnlySpan<char> text, out ElementType type)
    {
        type = text switch
        {
            "s8" => ElementType.S8,
            "u8" => ElementType.U8,
            "s4" => ElementType.S4,
            "u4" => ElementType.U4,
            _ => default,
        };
        return type != default;
    }
}
