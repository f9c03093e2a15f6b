namespace Kernels.Harness.Models;

/// <summary>What a model file tells about the model. Null is what it does not tell.</summary>
public sealed record ModelFacts
{
    /// <summary>The architecture, for example "llama".</summary>
    public string? Architecture { get; init; }

    /// <summary>The width of the residual stream.</summary>
    public long? Dim { get; init; }

    /// <summary>The width inside the feed-forward part.</summary>
    public long? HiddenDim { get; init; }

    /// <summary>Decoder layers.</summary>
    public long? Layers { get; init; }

    /// <summary>Query heads.</summary>
    public long? Heads { get; init; }

    /// <summary>Key and value heads.</summary>
    public long? KvHeads { get; init; }

    /// <summary>Tokens in the vocabulary.</summary>
    public long? VocabularySize { get; init; }

    /// <summary>The longest sequence that the model was made for.</summary>
    public long? ContextLength { get; init; }
}
