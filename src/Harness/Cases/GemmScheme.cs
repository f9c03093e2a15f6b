namespace Kernels.Harness.Cases;

/// <summary>A cell of the GEMM: a weight format and an activation type, written <c>w4g128-a8</c>.</summary>
/// <param name="Weights">The weights.</param>
/// <param name="Activations">S8 (<c>a8</c>: symmetric per token), U8 (<c>u8</c>: asymmetric per token), F32, F16 or BF16.</param>
internal readonly record struct GemmScheme(WeightScheme Weights, ElementType Activations)
{
    /// <summary>Whether the dot products are exact integers.</summary>
    public bool IsInteger => Activations is ElementType.S8 or ElementType.U8;

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out GemmScheme scheme)
    {
        scheme = default;
        int dash = text.IndexOf('-');
        if (dash < 0 || !WeightScheme.TryParse(text[..dash], out WeightScheme weights))
            return false;

        ReadOnlySpan<char> name = text[(dash + 1)..];
        ElementType activations;
        if (name is "a8")
            activations = ElementType.S8;
        else if (name is "u8")
            activations = ElementType.U8;
        else if (!ElementNames.TryParseFloat(name, out activations))
            return false;

        scheme = new GemmScheme(weights, activations);
        return true;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static GemmScheme Parse(string text) =>
        TryParse(text, out GemmScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a GEMM scheme.");

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Weights}-{(Activations == ElementType.S8 ? "a8" : ElementNames.NameOf(Activations))}";
}
