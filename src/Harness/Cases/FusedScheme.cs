namespace Kernels.Harness.Cases;

/// <summary>The steps that end in codes.</summary>
internal enum FusedStep
{
    /// <summary>RMSNorm.</summary>
    RmsNorm,

    /// <summary>RMSNorm of a sum that is also written.</summary>
    ResidualRmsNorm,

    /// <summary>LayerNorm.</summary>
    LayerNorm,

    /// <summary>LayerNorm with a bias.</summary>
    LayerNormBias,

    /// <summary>silu(gate) * up.</summary>
    SiluMul,

    /// <summary>gelu(gate) * up by erf.</summary>
    GeluMul,

    /// <summary>gelu(gate) * up by tanh.</summary>
    GeluTanhMul,

    /// <summary>Times a vector.</summary>
    Smooth,

    /// <summary>Rotation.</summary>
    Hadamard,

    /// <summary>RMSNorm and rotation.</summary>
    RmsNormHadamard,

    /// <summary>silu(gate) * up and rotation.</summary>
    SiluMulHadamard,
}

/// <summary>A fused step, written <c>rmsnorm-quantize-s8</c>, <c>silu-mul-quantize-s4g128-bf16</c>: what is computed, the codes and the size of
/// their groups unless they are per token, and the source type unless it is f32. <c>rmsnorm-then-quantize-s8</c> is the same work call by call
/// with an f32 matrix between them. Signed codes are symmetric and unsigned ones asymmetric.</summary>
/// <param name="Step">The step.</param>
/// <param name="IsUnfused">Whether it is done call by call.</param>
/// <param name="Type">S8, U8, S4 or U4.</param>
/// <param name="GroupSize">Elements per group; 0 per token.</param>
/// <param name="Source">F32, F16 or BF16.</param>
internal readonly record struct FusedScheme(FusedStep Step, bool IsUnfused, ElementType Type, long GroupSize, ElementType Source)
{
    private const string FusedWord = "-quantize-", UnfusedWord = "-then-quantize-";

    private static readonly (FusedStep Step, string Name)[] s_steps =
    [
        (FusedStep.RmsNorm, "rmsnorm"), (FusedStep.ResidualRmsNorm, "residual-rmsnorm"), (FusedStep.LayerNorm, "layernorm"),
        (FusedStep.LayerNormBias, "layernorm-bias"),
        (FusedStep.SiluMul, "silu-mul"), (FusedStep.GeluMul, "gelu-mul"), (FusedStep.GeluTanhMul, "gelu-tanh-mul"), (FusedStep.Smooth, "smooth"),
        (FusedStep.Hadamard, "hadamard"), (FusedStep.RmsNormHadamard, "rmsnorm-hadamard"), (FusedStep.SiluMulHadamard, "silu-mul-hadamard"),
    ];

    /// <summary>Whether the step takes gates and ups.</summary>
    public bool IsGate => Step is FusedStep.SiluMul or FusedStep.GeluMul or FusedStep.GeluTanhMul or FusedStep.SiluMulHadamard;

    /// <summary>Whether the step is a norm.</summary>
    public bool IsNorm => Step is FusedStep.RmsNorm or FusedStep.ResidualRmsNorm or FusedStep.LayerNorm or FusedStep.LayerNormBias or FusedStep.RmsNormHadamard;

    /// <summary>Whether the step rotates.</summary>
    public bool Rotates => Step is FusedStep.Hadamard or FusedStep.RmsNormHadamard or FusedStep.SiluMulHadamard;

    /// <summary>Whether the step reads two matrices.</summary>
    public bool HasSecond => IsGate || Step == FusedStep.ResidualRmsNorm;

    /// <summary>The options of the library for the codes.</summary>
    public QuantizeOptions ToOptions() => new(
        Type, GroupSize == 0 ? Granularity.Token : Granularity.Group, Type is ElementType.U8 or ElementType.U4, GroupSize);

    /// <summary>Reads what <see cref="ToString"/> writes.</summary>
    public static bool TryParse(string text, out FusedScheme scheme)
    {
        scheme = default;
        bool isUnfused = text.Contains(UnfusedWord, StringComparison.Ordinal);
        string[] parts = text.Split(isUnfused ? UnfusedWord : FusedWord);
        if (parts.Length != 2)
            return false;
        (FusedStep Step, string Name) step = s_steps.FirstOrDefault(known => known.Name == parts[0]);
        if (step.Name is null)
            return false;

        string[] words = parts[1].Split('-');
        ElementType source = ElementType.F32;
        if (words.Length is < 1 or > 2 || words.Length == 2 && (!ElementNames.TryParseFloat(words[1], out source) || source == ElementType.F32))
            return false;
        int g = words[0].IndexOf('g', StringComparison.Ordinal);
        long groupSize = 0;
        if (g >= 0 && (!WeightScheme.TryParseNumber(words[0].AsSpan(g + 1), out groupSize) || groupSize < WeightScheme.MinGroupSize))
            return false;
        if (!ElementNames.TryParseInteger(g < 0 ? words[0] : words[0].AsSpan(0, g), out ElementType type) || type == ElementType.C4)
            return false;
        scheme = new FusedScheme(step.Step, isUnfused, type, groupSize, source);
        return true;
    }

    /// <summary>Reads a scheme that is known to be right.</summary>
    public static FusedScheme Parse(string text) =>
        TryParse(text, out FusedScheme scheme) ? scheme : throw new FormatException($"'{text}' is not a fused step.");

    /// <inheritdoc/>
    public override string ToString()
    {
        FusedStep step = Step;
        string group = GroupSize == 0 ? "" : $"g{GroupSize}";
        string source = Source == ElementType.F32 ? "" : "-" + ElementNames.NameOf(Source);
        return $"{s_steps.First(known => known.Step == step).Name}{(IsUnfused ? UnfusedWord : FusedWord)}{ElementNames.NameOf(Type)}{group}{source}";
    }
}
