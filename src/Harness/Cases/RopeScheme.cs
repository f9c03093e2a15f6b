namespace Kernels.Harness.Cases;

/// <summary>A rotary embedding, written <c>f32</c>, <c>bf16-interleaved</c>, <c>f16-r32</c>: the type, the layout
/// unless it is the half one, and how many elements of a head are rotated unless all are.</summary>
/// <param name="Type">F32, F16 or BF16.</param>
/// <param name="Layout">Which elements are rotated together.</param>
/// <param name="RotaryDim">Elements of a head that are rotated; 0 for all.</param>
internal readonly record struct RopeScheme(ElementType Type, RopeLayout Layout, long RotaryDim)
{
    private const string InterleavedName = "interleaved";

    /// <summary>The options of the library for this scheme.</summary>
    public RopeOptions ToOptions(long headDim) => new(Layout, headDim) { RotaryDim = RotaryDim };

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(string text, out RopeScheme scheme)
    {
        scheme = default;
        Span<string> parts = text.Split('-');
        if (!ElementNames.TryParseFloat(parts[0], out ElementType type))
            return false;
        parts = parts[1..];
        RopeLayout layout = RopeLayout.Half;
        if (parts.Length > 0 && parts[0] == InterleavedName)
        {
            layout = RopeLayout.Interleaved;
            parts = parts[1..];
        }

        long rotaryDim = 0;
        if (parts.Length > 0)
        {
            if (!parts[0].StartsWith('r') || !WeightScheme.TryParseNumber(parts[0].AsSpan(1), out rotaryDim) || rotaryDim < 2 || rotaryDim % 2 != 0)
                return false;
            parts = parts[1..];
        }

        scheme = new RopeScheme(type, layout, rotaryDim);
        return parts.Length == 0;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static RopeScheme Parse(string text) =>
        TryParse(text, out RopeScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a scheme of a rotary embedding.");

    /// <inheritdoc/>
    public override string ToString() =>
        ElementNames.NameOf(Type) + (Layout == RopeLayout.Interleaved ? $"-{InterleavedName}" : "") + (RotaryDim == 0 ? "" : $"-r{RotaryDim}");
}

/// <summary>Rotary embedding of [Rows, Heads, HeadDim], a row being a token.</summary>
internal sealed record RopeSpec(RopeScheme Way, long Rows, long Heads, long HeadDim) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "rope";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => Way.ToString();

    /// <inheritdoc/>
    public override string Shape => $"rows{Rows}-h{Heads}-d{HeadDim}";
}
