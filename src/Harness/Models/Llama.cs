using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>The weights of a decoder layer.</summary>
internal sealed record LlamaLayer(
    float[] AttentionNorm, ILinear Query, ILinear Key, ILinear Value, ILinear AttentionOutput, float[] FeedForwardNorm, ILinear Gate,
    ILinear Up, ILinear Down);

/// <summary>Makes a linear layer of the weight that a file has for it, so that it may be quantized on the
/// way.</summary>
/// <param name="tensor">The weight, [N, K].</param>
internal delegate ILinear LinearMaker(ModelTensor tensor);

/// <summary>The weights of a Llama model. They never change: any number of sessions may read them.</summary>
internal sealed class Llama
{
    private readonly float[] _embedding;

    private Llama(LlamaConfig config, float[] embedding, LlamaLayer[] layers, float[] norm, ILinear classifier)
    {
        Config = config;
        _embedding = embedding;
        Layers = layers;
        Norm = norm;
        Classifier = classifier;
    }

    /// <summary>Sizes and constants.</summary>
    public LlamaConfig Config { get; }

    /// <summary>The decoder layers.</summary>
    public IReadOnlyList<LlamaLayer> Layers { get; }

    /// <summary>The weight of the norm before the classifier.</summary>
    public float[] Norm { get; }

    /// <summary>From the residual stream to logits; the embedding itself where the file has no other.</summary>
    public ILinear Classifier { get; }

    /// <summary>Reads a model.</summary>
    /// <param name="model">The file.</param>
    /// <param name="makeLinear">Makes the linear layers; null for float weights.</param>
    /// <exception cref="ModelFormatException">It is no Llama model, lacks a tensor, or has one that is not computed
    /// here.</exception>
    public static Llama Load(ModelFile model, LinearMaker? makeLinear = null)
    {
        LlamaConfig config = LlamaConfig.Of(model);
        LlamaTensorNames names = LlamaTensorNames.Of(model.Format);
        makeLinear ??= tensor => new DenseLinear(tensor.Name, (int)tensor.Shape[0], (int)tensor.Shape[1], tensor.ReadFloats());
        if (model.Tensors.FirstOrDefault(IsNotComputed) is { } other)
        {
            throw new ModelFormatException(other.FilePath, other.FileOffset, $"the tensor '{BoundedJson.Shorten(other.Name)}' is not part of a plain Llama model");
        }

        var layers = new LlamaLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = new LlamaLayer(
                Vector(names.AttentionNorm, i), Linear(names.Query, config.QueryDim, config.Dim, i), Linear(names.Key, config.KvDim, config.Dim, i),
                Linear(names.Value, config.KvDim, config.Dim, i), Linear(names.AttentionOutput, config.Dim, config.QueryDim, i),
                Vector(names.FeedForwardNorm, i), Linear(names.Gate, config.HiddenDim, config.Dim, i), Linear(names.Up, config.HiddenDim, config.Dim, i),
                Linear(names.Down, config.Dim, config.HiddenDim, i));
        }

        float[] embedding = Find(names.Embedding, [config.VocabularySize, config.Dim]).ReadFloats();
        // Only some files say whether the embedding serves as classifier; the others leave the tensor out.
        ILinear classifier = model.Facts.IsTied == false || model.TryFind(names.Classifier, out _)
            ? Linear(names.Classifier, config.VocabularySize, config.Dim, 0)
            : new DenseLinear(names.Embedding, config.VocabularySize, config.Dim, embedding);
        return new Llama(config, embedding, layers, Vector(names.Norm, 0), classifier);

        float[] Vector(string name, int layer) => Find(LlamaTensorNames.InLayer(name, layer), [config.Dim]).ReadFloats();

        ILinear Linear(string name, int outputs, int inputs, int layer) =>
            makeLinear(Find(LlamaTensorNames.InLayer(name, layer), [outputs, inputs]));

        ModelTensor Find(string name, long[] shape)
        {
            if (!model.TryFind(name, out ModelTensor? tensor))
            {
                throw new ModelFormatException(model.Path, 0, $"the tensor '{name}' is missing");
            }

            return tensor.Shape.SequenceEqual(shape)
                ? tensor
                : throw new ModelFormatException(
                    tensor.FilePath, tensor.FileOffset,
                    $"tensor '{name}' is [{string.Join(", ", tensor.Shape)}], and by the model's sizes must be [{string.Join(", ", shape)}]");
        }
    }

    /// <summary>Copies the embeddings of tokens.</summary>
    public void Embed(ReadOnlySpan<int> tokens, Span<float> target)
    {
        for (int i = 0; i < tokens.Length; i++)
        {
            _embedding.AsSpan(tokens[i] * Config.Dim, Config.Dim).CopyTo(target[(i * Config.Dim)..]);
        }
    }

    // What other members of the family add, and what would be wrong without it: biases, norms of queries and keys,
    // factors of frequencies.
    private static bool IsNotComputed(ModelTensor tensor) =>
        tensor.Name.EndsWith(".bias", StringComparison.Ordinal) || tensor.Name == "rope_freqs.weight"
        || tensor.Name.Contains("q_norm", StringComparison.Ordinal) || tensor.Name.Contains("k_norm", StringComparison.Ordinal);
}
