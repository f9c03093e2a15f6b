using System.Diagnostics.CodeAnalysis;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Models;

/// <summary>A way to keep keys and values.</summary>
/// <param name="Name">What the command line calls it.</param>
/// <param name="Create">Makes the cache of a layer for so many tokens.</param>
internal sealed record KvScheme(string Name, Func<KernelContext, LlamaConfig, int, IKeyValueCache> Create)
{
    private const string CenterName = "center", RotateName = "rotate";

    // Groups of 128 tokens are the largest, and pages hold whole groups.
    private const int PageTokens = 128;

    /// <summary>Floats in arrays, with attention in plain C#: what the others are compared with.</summary>
    public static KvScheme Reference { get; } =
        new("reference", (_, config, capacity) => new FloatKeyValueCache(config, capacity));

    /// <summary>The reference, then caches of the library from many bits to few.</summary>
    public static IReadOnlyList<KvScheme> All { get; } =
    [
        Reference,
        .. new[]
        {
            "f32", "bf16", "f8", "f8-center", "s8", "s8-center", "s8-rotate", "s8-center-rotate", "s8-k32", "u4", "u4-rotate", "u4-center", "u4-k32",
            "s4", "s4-rotate", "s4-center", "s4-center-rotate", "s4-k32",
        }.Select(name => TryParse(name, out KvScheme? scheme) ? scheme : throw new InvalidOperationException($"'{name}' is no scheme.")),
    ];

    /// <summary>Reads a name: <c>reference</c>; or a type (f32, bf16, f8, s8, u4, s4), after which may stand
    /// <c>-center</c>, <c>-rotate</c> and <c>-kN</c>, in this order: keys without their mean, rotated, with a scale
    /// per channel in N tokens.</summary>
    public static bool TryParse(string name, [NotNullWhen(true)] out KvScheme? scheme)
    {
        scheme = null;
        if (name == Reference.Name)
        {
            scheme = Reference;
            return true;
        }

        Span<string> parts = name.Split('-');
        ElementType? type = parts[0] switch
        {
            "f32" => ElementType.F32,
            "bf16" => ElementType.BF16,
            "f8" => ElementType.F8E4M3,
            "s8" => ElementType.S8,
            "u4" => ElementType.U4,
            "s4" => ElementType.S4,
            _ => null,
        };
        if (type is not { } kept)
        {
            return false;
        }

        parts = parts[1..];
        bool isCentered = Take(ref parts, CenterName), isRotated = Take(ref parts, RotateName);
        long group = 0;
        if (parts.Length > 0)
        {
            bool isGroup = parts[0].StartsWith('k') && WeightScheme.TryParseNumber(parts[0].AsSpan(1), out group);
            if (!isGroup || group is not (16 or 32 or 64 or 128) || kept is not (ElementType.S8 or ElementType.U4 or ElementType.S4))
            {
                return false;
            }

            parts = parts[1..];
        }

        if (parts.Length > 0)
        {
            return false;
        }

        scheme = new KvScheme(name, (context, config, capacity) => new KernelKeyValueCache(
            context, config, new KvCacheOptions(1, config.KvHeads, config.HeadDim, capacity)
            {
                PageTokens = PageTokens,
                KeyType = kept,
                ValueType = kept,
                KeyGranularity = group > 0 ? KvGranularity.Channel : KvGranularity.Token,
                KeyGroup = (int)group,
                CenterKeys = isCentered,
                RotateKeys = isRotated,
            }));
        return true;

        static bool Take(ref Span<string> parts, string name)
        {
            bool isThere = parts.Length > 0 && parts[0] == name;
            parts = isThere ? parts[1..] : parts;
            return isThere;
        }
    }
}
