namespace Kernels.Harness.Cases;

/// <summary>A way to quantize, written <c>s8-per-token</c>, <c>u4-g128</c>, <c>s8-per-tensor-bf16</c>: the type, what shares a
/// scale, and the source type unless it is f32. Signed types are symmetric and unsigned ones asymmetric; the other way round the
/// type says so: <c>s8asym-per-token</c>, <c>u8sym-per-token</c>.</summary>
/// <param name="Type">S8, U8, S4, U4 or C4 (<c>nf4</c>).</param>
/// <param name="Granularity">Which elements share a scale.</param>
/// <param name="GroupSize">Elements per group with <see cref="Granularity.Group"/>, else 0.</param>
/// <param name="Asymmetric">Whether every block has a zero point of its own.</param>
/// <param name="Source">F32, F16 or BF16.</param>
internal readonly record struct QuantizeScheme(
    ElementType Type, Granularity Granularity, long GroupSize, bool Asymmetric, ElementType Source)
{
    private bool IsUnsigned => Type is ElementType.U8 or ElementType.U4;

    /// <summary>The options of the library for this scheme.</summary>
    public QuantizeOptions ToOptions() => new(Type, Granularity, Asymmetric, GroupSize);

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out QuantizeScheme scheme)
    {
        scheme = default;
        int dash = text.IndexOf('-');
        if (dash < 0)
            return false;

        ReadOnlySpan<char> typeName = text[..dash];
        ReadOnlySpan<char> rest = text[(dash + 1)..];
        bool isAsymmetricNamed = typeName.EndsWith("asym");
        bool isSymmetricNamed = !isAsymmetricNamed && typeName.EndsWith("sym");
        typeName = typeName[..^(isAsymmetricNamed ? 4 : isSymmetricNamed ? 3 : 0)];
        if (!ElementNames.TryParseInteger(typeName, out ElementType type))
            return false;
        bool isUnsigned = type is ElementType.U8 or ElementType.U4;
        if (isUnsigned ? isAsymmetricNamed : isSymmetricNamed)
            return false;
        if (type == ElementType.C4 && isAsymmetricNamed)
            return false;

        ElementType source = ElementType.F32;
        int last = rest.LastIndexOf('-');
        if (last >= 0 && ElementNames.TryParseFloat(rest[(last + 1)..], out source))
        {
            if (source == ElementType.F32)
                return false;
            rest = rest[..last];
        }
        else
        {
            source = ElementType.F32;
        }

        Granularity granularity;
        long groupSize = 0;
        if (rest is "per-tensor")
            granularity = Granularity.Tensor;
        else if (rest is "per-channel")
            granularity = Granularity.Channel;
        else if (rest is "per-token")
            granularity = Granularity.Token;
        else if (rest.StartsWith("g") && WeightScheme.TryParseNumber(rest[1..], out groupSize) && groupSize >= WeightScheme.MinGroupSize)
            granularity = Granularity.Group;
        else
            return false;

        scheme = new QuantizeScheme(type, granularity, groupSize, isUnsigned ? !isSymmetricNamed : isAsymmetricNamed, source);
        return true;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static QuantizeScheme Parse(string text) =>
        TryParse(text, out QuantizeScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a scheme of quantization.");

    /// <inheritdoc/>
    public override string ToString()
    {
        string symmetry = Asymmetric == IsUnsigned ? "" : Asymmetric ? "asym" : "sym";
        string granularity = Granularity switch
        {
            Granularity.Tensor => "per-tensor",
            Granularity.Channel => "per-channel",
            Granularity.Token => "per-token",
            _ => $"g{GroupSize}",
        };
        string source = Source == ElementType.F32 ? "" : "-" + ElementNames.NameOf(Source);
        return $"{ElementNames.NameOf(Type)}{symmetry}-{granularity}{source}";
    }
}
