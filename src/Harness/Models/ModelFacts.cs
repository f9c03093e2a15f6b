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

    /// <summary>The width of one head.</summary>
    public long? HeadDim { get; init; }

    /// <summary>What RMSNorm adds to the mean square.</summary>
    public float? NormEpsilon { get; init; }

    /// <summary>The base of the rotary embedding's frequencies.</summary>
    public double? RopeTheta { get; init; }

    /// <summary>How these frequencies are changed for longer contexts; null also if they are not.</summary>
    public RopeScalingFacts? RopeScaling { get; init; }

    /// <summary>Whether the classifier is the token embedding.</summary>
    public bool? IsTied { get; init; }

    /// <summary>Tokens in the vocabulary.</summary>
    public long? VocabularySize { get; init; }

    /// <summary>The longest sequence that the model was made for.</summary>
    public long? ContextLength { get; init; }
}

/// <summary>How a model changes the frequencies of its rotary embedding for longer contexts.</summary>
/// <param name="Type">The name of the way, such as "linear" or "llama3".</param>
/// <param name="Factor">By how much frequencies are divided; null if the file does not tell.</param>
/// <param name="LowFreqFactor">Of "llama3": below so many turns within the original context they are divided.</param>
/// <param name="HighFreqFactor">Of "llama3": above so many turns they stay.</param>
/// <param name="OriginalContext">Of "llama3": the original context length.</param>
public sealed record RopeScalingFacts(
    string Type, double? Factor, double? LowFreqFactor, double? HighFreqFactor, long? OriginalContext);
