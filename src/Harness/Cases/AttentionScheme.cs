namespace Kernels.Harness.Cases;

/// <summary>Attention over a KV cache, written <c>decode-kv8</c>, <c>prefill-kvbf16</c>, <c>decode-kviu4</c>: a few query tokens or many, and what
/// the cache keeps; <c>i</c> is KIVI, keys per channel in groups of 64 tokens.</summary>
/// <param name="IsDecode">Whether there are at most 8 query tokens.</param>
/// <param name="Cache">What the cache keeps.</param>
internal readonly record struct AttentionScheme(bool IsDecode, KvScheme Cache)
{
    /// <summary>The most query tokens of decode.</summary>
    public const int MaxDecodeTokens = 8;

    private const int KiviGroup = 64;

    private static readonly (string Name, ElementType Type)[] s_types =
    [
        ("8", ElementType.S8), ("4", ElementType.S4), ("u4", ElementType.U4), ("bf16", ElementType.BF16), ("f32", ElementType.F32),
        ("fp8", ElementType.F8E4M3),
    ];

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(string text, out AttentionScheme scheme)
    {
        scheme = default;
        string[] parts = text.Split('-');
        if (parts.Length != 2 || parts[0] is not ("decode" or "prefill") || !parts[1].StartsWith("kv", StringComparison.Ordinal))
            return false;
        string name = parts[1][2..];
        bool isKivi = name.StartsWith('i');
        name = isKivi ? name[1..] : name;
        foreach ((string known, ElementType type) in s_types)
        {
            if (known != name || (isKivi && type is not (ElementType.S8 or ElementType.S4 or ElementType.U4)))
                continue;
            var cache = new KvScheme(
                type, isKivi ? KvGranularity.Channel : KvGranularity.Token, isKivi ? KiviGroup : 0, ElementType.F32);
            scheme = new AttentionScheme(parts[0] == "decode", cache);
            return true;
        }

        return false;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static AttentionScheme Parse(string text) =>
        TryParse(text, out AttentionScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a scheme of attention.");

    /// <inheritdoc/>
    public override string ToString()
    {
        ElementType type = Cache.Type;
        string name = s_types.First(known => known.Type == type).Name;
        return (IsDecode ? "decode-kv" : "prefill-kv") + (Cache.Granularity == KvGranularity.Channel ? "i" : "") + name;
    }
}
