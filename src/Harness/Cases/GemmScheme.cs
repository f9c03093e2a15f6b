using System.Globalization;

namespace Kernels.Harness.Cases;

/// <summary>A cell of the GEMM: a weight format, how activations come and what is done to them. Ids write it
/// <c>WEIGHTS-ACTIVATIONS[-outlier1pct][-loraRANK]</c>:
/// <list type="bullet">
/// <item><c>a8</c>, <c>a4</c>: S8 and S4, symmetric per token; <c>u8</c>: U8, asymmetric per token;</item>
/// <item><c>f32</c>, <c>f16</c>, <c>bf16</c>: floats, with weights dequantized on the fly;</item>
/// <item><c>dyn8</c>, <c>dyn4</c>, <c>dynu8</c>: f32 that the call quantizes; <c>dyn8-bf16</c> and so on for other floats;</item>
/// <item><c>a8-outlier1pct</c>: f32 that the call quantizes to S8, but for the one column in a hundred that holds the largest values.</item>
/// </list></summary>
/// <param name="Weights">The weights.</param>
/// <param name="Activations">Type of the activations as they are passed: S8, U8, S4, F32, F16 or BF16.</param>
/// <param name="Compute">S8, U8 or S4: what the call quantizes floats to; null when it does not.</param>
/// <param name="HasOutliers">Whether outlier columns are kept in binary32.</param>
/// <param name="LoraRank">Rank of an adapter; 0 for none.</param>
internal readonly record struct GemmScheme(
    WeightScheme Weights, ElementType Activations, ElementType? Compute = null, bool HasOutliers = false, long LoraRank = 0)
{
    /// <summary>The share of columns that are outliers.</summary>
    public const double OutlierShare = 0.01;

    private const string OutlierSuffix = "-outlier1pct";
    private const string LoraPrefix = "-lora";
    private const long MaxLoraRank = 4096;

    private static readonly (string Name, ElementType Activations, ElementType? Compute)[] s_names =
    [
        ("a8", ElementType.S8, null), ("a4", ElementType.S4, null), ("u8", ElementType.U8, null),
        ("f32", ElementType.F32, null), ("f16", ElementType.F16, null), ("bf16", ElementType.BF16, null),
        ("dyn8", ElementType.F32, ElementType.S8), ("dyn8-f16", ElementType.F16, ElementType.S8), ("dyn8-bf16", ElementType.BF16, ElementType.S8),
        ("dyn4", ElementType.F32, ElementType.S4), ("dyn4-f16", ElementType.F16, ElementType.S4), ("dyn4-bf16", ElementType.BF16, ElementType.S4),
        ("dynu8", ElementType.F32, ElementType.U8), ("dynu8-f16", ElementType.F16, ElementType.U8), ("dynu8-bf16", ElementType.BF16, ElementType.U8),
    ];

    /// <summary>Whether the dot products are exact integers.</summary>
    public bool IsInteger => Compute is not null || !Activations.IsFloat();

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out GemmScheme scheme)
    {
        scheme = default;
        int dash = text.IndexOf('-');
        if (dash < 0 || !WeightScheme.TryParse(text[..dash], out WeightScheme weights))
            return false;

        ReadOnlySpan<char> name = text[(dash + 1)..];
        long rank = 0;
        int lora = name.IndexOf(LoraPrefix, StringComparison.Ordinal);
        if (lora >= 0)
        {
            if (!WeightScheme.TryParseNumber(name[(lora + LoraPrefix.Length)..], out rank) || rank is < 1 or > MaxLoraRank)
                return false;
            name = name[..lora];
        }

        bool hasOutliers = name.EndsWith(OutlierSuffix, StringComparison.Ordinal);
        if (hasOutliers)
            name = name[..^OutlierSuffix.Length];
        foreach ((string known, ElementType activations, ElementType? compute) in s_names)
        {
            if (!name.SequenceEqual(known))
                continue;
            scheme = hasOutliers
                ? new GemmScheme(weights, ElementType.F32, ElementType.S8, true, rank)
                : new GemmScheme(weights, activations, compute, false, rank);
            // Outliers are those of a8, and adapters take floats.
            return hasOutliers ? known == "a8" : rank == 0 || activations.IsFloat();
        }

        return false;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static GemmScheme Parse(string text) =>
        TryParse(text, out GemmScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a GEMM scheme.");

    /// <inheritdoc/>
    public override string ToString()
    {
        string lora = LoraRank == 0 ? "" : LoraPrefix + LoraRank.ToString(CultureInfo.InvariantCulture);
        return $"{Weights}-{NameOf()}{lora}";
    }

    private string NameOf()
    {
        if (HasOutliers)
            return "a8" + OutlierSuffix;
        foreach ((string name, ElementType activations, ElementType? compute) in s_names)
        {
            if (activations == Activations && compute == Compute)
                return name;
        }

        throw new InvalidOperationException($"{Activations} quantized to {Compute} is not a way to take activations.");
    }
}
