namespace Kernels.Harness.Cases;

/// <summary>What a KV cache keeps keys and values in, written <c>s8</c>, <c>u4-kivi64</c>, <c>f8-static</c>, <c>s8-bf16</c>: the type of both,
/// which elements share a scale unless those of a token do, and the type of the tokens that come unless it is f32.</summary>
/// <param name="Type">F32, BF16, S8, S4, U4 or F8E4M3 (<c>f8</c>).</param>
/// <param name="Granularity">Of keys; values are per token unless it is static.</param>
/// <param name="KeyGroup">Tokens of a group with <see cref="KvGranularity.Channel"/>, else 0.</param>
/// <param name="Source">F32, F16 or BF16.</param>
internal readonly record struct KvScheme(ElementType Type, KvGranularity Granularity, int KeyGroup, ElementType Source)
{
    private const int MaxGroup = 128, GroupStep = 16;

    /// <summary>Whether there are scales.</summary>
    public bool HasScales => Type is not (ElementType.F32 or ElementType.BF16);

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(string text, out KvScheme scheme)
    {
        scheme = default;
        string[] parts = text.Split('-');
        ElementType type = parts[0] switch
        {
            "f32" => ElementType.F32,
            "bf16" => ElementType.BF16,
            "s8" => ElementType.S8,
            "s4" => ElementType.S4,
            "u4" => ElementType.U4,
            "f8" => ElementType.F8E4M3,
            _ => default,
        };
        if (type == default)
            return false;
        int next = 1, group = 0;
        var granularity = KvGranularity.Token;
        bool hasScales = type is not (ElementType.F32 or ElementType.BF16);
        if (next < parts.Length && hasScales && parts[next] == "static")
        {
            granularity = KvGranularity.Static;
            next++;
        }
        else if (next < parts.Length && hasScales && type != ElementType.F8E4M3 && parts[next].StartsWith("kivi", StringComparison.Ordinal))
        {
            if (!WeightScheme.TryParseNumber(parts[next].AsSpan(4), out long tokens) || tokens is 0 or > MaxGroup || tokens % GroupStep != 0)
                return false;
            granularity = KvGranularity.Channel;
            group = (int)tokens;
            next++;
        }

        var source = ElementType.F32;
        if (next < parts.Length)
        {
            if (!ElementNames.TryParseFloat(parts[next], out source) || source == ElementType.F32)
                return false;
            next++;
        }

        scheme = new KvScheme(type, granularity, group, source);
        return next == parts.Length;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static KvScheme Parse(string text) =>
        TryParse(text, out KvScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a format of a KV cache.");

    /// <summary>A scale and a zero point for every head, for static formats; they differ from head to head.</summary>
    public (float[] Scales, int[] ZeroPoints) StaticScales(int heads) => Granularity != KvGranularity.Static ? ([], []) :
        ([.. Enumerable.Range(0, heads).Select(head => (head + 3) / 64f)],
        Type == ElementType.U4 ? [.. Enumerable.Range(0, heads).Select(head => (7 + head) % 16)] : []);

    /// <summary>The cache of one sequence.</summary>
    public KvCacheOptions ToOptions(int heads, int headDim, long maxTokens) => ToOptions(heads, headDim, [maxTokens]);

    /// <summary>The cache of sequences of these lengths.</summary>
    public KvCacheOptions ToOptions(int heads, int headDim, IReadOnlyList<long> lengths)
    {
        (float[] scales, int[] zeroPoints) = StaticScales(heads);
        long maxTokens = lengths.Max();
        // Groups divide the usual page of 64 tokens, or are pages.
        long pageTokens = KeyGroup == 0 || 64 % KeyGroup == 0 ? 64 : KeyGroup == 128 ? 128 : (maxTokens + KeyGroup - 1) / KeyGroup * KeyGroup;
        return new KvCacheOptions(lengths.Count, heads, headDim, maxTokens)
        {
            PageTokens = pageTokens,
            Pages = lengths.Sum(length => (length + pageTokens - 1) / pageTokens),
            KeyType = Type,
            ValueType = Type,
            KeyGranularity = Granularity,
            ValueGranularity = Granularity == KvGranularity.Static ? KvGranularity.Static : KvGranularity.Token,
            KeyGroup = KeyGroup,
            KeyScales = scales,
            ValueScales = scales,
            KeyZeroPoints = zeroPoints,
            ValueZeroPoints = zeroPoints,
        };
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string type = Type == ElementType.F8E4M3 ? "f8" : ElementNames.NameOf(Type);
        string granularity = Granularity switch
        {
            KvGranularity.Channel => $"-kivi{KeyGroup}",
            KvGranularity.Static => "-static",
            _ => "",
        };
        return type + granularity + (Source == ElementType.F32 ? "" : "-" + ElementNames.NameOf(Source));
    }
}
