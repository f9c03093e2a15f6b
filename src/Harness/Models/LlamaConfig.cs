using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>The sizes and constants of a Llama model.</summary>
internal sealed record LlamaConfig
{
    // Far above any model; products of two of them fit an int.
    private const long MaxSize = 1 << 20;
    private const long MaxWidth = 1 << 15;

    /// <summary>The width of the residual stream.</summary>
    public required int Dim { get; init; }

    /// <summary>The width inside the feed-forward part.</summary>
    public required int HiddenDim { get; init; }

    /// <summary>Decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key and value heads: a divisor of <see cref="Heads"/>.</summary>
    public required int KvHeads { get; init; }

    /// <summary>The width of one head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Tokens in the vocabulary.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>The longest sequence that the model was made for.</summary>
    public required int ContextLength { get; init; }

    /// <summary>What RMSNorm adds to the mean square.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>The rotary embedding of queries and keys.</summary>
    public required RopeOptions Rope { get; init; }

    /// <summary>The width of the queries of a token.</summary>
    public int QueryDim => Heads * HeadDim;

    /// <summary>The width of the keys, and of the values, of a token.</summary>
    public int KvDim => KvHeads * HeadDim;

    /// <summary>What a file tells.</summary>
    /// <exception cref="ModelFormatException">It is no Llama model, or one with parts that are not computed
    /// here.</exception>
    public static LlamaConfig Of(ModelFile model)
    {
        ModelFacts facts = model.Facts;
        if (facts.Architecture is not ("llama" or "mistral"))
        {
            throw Fail(model, $"the architecture is {facts.Architecture ?? "not told"}, and only llama is computed here");
        }

        int heads = Size(facts.Heads, "attention heads", MaxWidth);
        int dim = Size(facts.Dim, "width", MaxSize);
        int headDim = facts.HeadDim is null && dim % heads == 0 ? dim / heads : Size(facts.HeadDim, "head dimension", MaxWidth);
        int kvHeads = facts.KvHeads is null ? heads : Size(facts.KvHeads, "KV heads", MaxWidth);
        if (heads % kvHeads != 0 || headDim % 2 != 0)
        {
            throw Fail(model, $"{heads} heads of {headDim} elements cannot share {kvHeads} KV heads, or cannot be rotated in pairs");
        }

        return new LlamaConfig
        {
            Dim = dim,
            HiddenDim = Size(facts.HiddenDim, "feed-forward width", MaxSize),
            Layers = Size(facts.Layers, "layers", MaxWidth),
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            VocabularySize = Size(facts.VocabularySize, "vocabulary", MaxSize),
            ContextLength = Size(facts.ContextLength, "context length", RopeTable.MaxPositions),
            NormEpsilon = facts.NormEpsilon ?? throw Fail(model, "the epsilon of the norms is not told"),
            Rope = RopeOf(model, headDim),
        };

        int Size(long? value, string name, long most) => value is { } size && size > 0 && size <= most
            ? (int)size
            : throw Fail(model, value is null ? $"the {name} is not told" : $"the {name} is {value}, and must be 1 to {most}");
    }

    private static RopeOptions RopeOf(ModelFile model, int headDim)
    {
        // Hugging Face stores the rows of wq and wk so that a head is rotated by halves; the other formats keep the
        // order of the training.
        RopeLayout layout = model.Format == ModelFormat.Safetensors ? RopeLayout.Half : RopeLayout.Interleaved;
        var rope = new RopeOptions(layout, headDim) { ThetaBase = model.Facts.RopeTheta ?? 10000 };
        RopeScalingFacts? scaling = model.Facts.RopeScaling;
        rope = scaling switch
        {
            null => rope,
            { Type: "linear", Factor: { } factor } => rope with { Scaling = RopeScaling.Linear, Factor = factor },
            { Type: "llama3", Factor: { } factor, LowFreqFactor: { } low, HighFreqFactor: { } high, OriginalContext: { } original } => rope with
            {
                Scaling = RopeScaling.Llama3,
                Factor = factor,
                LowFreqFactor = low,
                HighFreqFactor = high,
                OriginalContext = original,
            },
            _ => throw Fail(model, $"a rotary embedding scaled by '{BoundedJson.Shorten(scaling.Type)}' is not computed here, or its factors are not all told"),
        };
        try
        {
            _ = new RopeTable(rope, 0, 0);
        }
        catch (ArgumentOutOfRangeException fault)
        {
            throw new ModelFormatException(model.Path, 0, $"the rotary embedding of {headDim} elements with base {rope.ThetaBase} has a constant out of range", fault);
        }

        return rope;
    }

    private static ModelFormatException Fail(ModelFile model, string reason) => new(model.Path, 0, reason);
}
