using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>
/// A model in any format that is read: its facts, its tensors, and those of them that are linear layers.
/// </summary>
public sealed class ModelFile : IDisposable
{
    private readonly TensorContainer _container;

    private ModelFile(ModelFormat format, TensorContainer container, ModelFacts facts)
    {
        _container = container;
        Format = format;
        Facts = facts;
        LinearLayers = [.. container.Tensors.Where(LinearLayerRule.IsLinear).Select(tensor => new LinearLayer(tensor))];
    }

    /// <summary>The path that was opened.</summary>
    public string Path => _container.Path;

    /// <summary>The format that the content has.</summary>
    public ModelFormat Format { get; }

    /// <summary>What the file tells about the model.</summary>
    public ModelFacts Facts { get; }

    /// <summary>All tensors, in the order of the file.</summary>
    public IReadOnlyList<ModelTensor> Tensors => _container.Tensors;

    /// <summary>The linear layers by <see cref="LinearLayerRule"/>, in the order of the file.</summary>
    public IReadOnlyList<LinearLayer> LinearLayers { get; }

    /// <summary>
    /// Opens a model. The content decides the format: "GGUF" or "ak42" at the start, a JSON header for safetensors,
    /// else a head that fits the length of the file for legacy llama2.c. Only where the content fits none does the
    /// extension tell whose error is reported.
    /// </summary>
    /// <param name="path">
    /// A file, or a directory that holds safetensors (see <see cref="SafetensorsFile.Open"/>).
    /// </param>
    /// <exception cref="ModelFormatException">The content is not valid, or of no known format.</exception>
    /// <exception cref="IOException">A file cannot be read, or does not exist.</exception>
    public static ModelFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ModelFormat format = Directory.Exists(path) ? ModelFormat.Safetensors : DetectFormat(path);
        TensorContainer? container = null;
        try
        {
            switch (format)
            {
                case ModelFormat.Gguf:
                    GgufFile gguf = GgufFile.Open(path);
                    container = gguf;
                    return new ModelFile(format, gguf, FactsOf(gguf));
                case ModelFormat.Llama2c:
                    Llama2cFile llama2c = Llama2cFile.Open(path);
                    container = llama2c;
                    return new ModelFile(format, llama2c, FactsOf(llama2c.Header));
                default:
                    container = SafetensorsFile.Open(path);
                    string directory = Directory.Exists(path) ? path : System.IO.Path.GetDirectoryName(path) ?? string.Empty;
                    return new ModelFile(format, container, HuggingFaceConfig.Read(directory));
            }
        }
        catch
        {
            container?.Dispose();
            throw;
        }
    }

    /// <summary>Finds a tensor by its name.</summary>
    /// <param name="name">The exact name.</param>
    /// <param name="tensor">The tensor, if there is one.</param>
    public bool TryFind(string name, [NotNullWhen(true)] out ModelTensor? tensor) => _container.TryFind(name, out tensor);

    /// <summary>Closes the file; layers cannot be loaded any more.</summary>
    public void Dispose() => _container.Dispose();

    private static ModelFormat DetectFormat(string path)
    {
        using RandomAccessFile file = RandomAccessFile.Open(path);
        Span<byte> start = stackalloc byte[12];
        start = start[..(int)Math.Min(start.Length, file.Length)];
        file.Read(0, start);

        if (start.IsEmpty)
        {
            throw file.Fail(0, "the file is empty");
        }

        if (start.StartsWith("GGUF"u8))
        {
            return ModelFormat.Gguf;
        }

        if (start.Length >= sizeof(uint) && BinaryPrimitives.ReadUInt32LittleEndian(start) == Llama2cHeader.Magic)
        {
            return ModelFormat.Llama2c;
        }

        // The length of a header below 100 MB leaves the upper half of the u64 zero, which no llama2.c checkpoint has
        // there.
        bool isSafetensors = start.Length > sizeof(ulong) && start[sizeof(ulong)] == (byte)'{'
            && BinaryPrimitives.ReadUInt64LittleEndian(start) <= SafetensorsHeader.MaxHeaderBytes;
        bool isIndex = start[0] == (byte)'{';
        if (isSafetensors || isIndex && HasExtension(path, ".json"))
        {
            return ModelFormat.Safetensors;
        }

        if (start.StartsWith("PK"u8))
        {
            throw file.Fail(0, "this is a zip archive, as PyTorch writes checkpoints; convert it to safetensors");
        }

        if (Llama2cFile.Fits(file))
        {
            return ModelFormat.Llama2c;
        }

        string bytes = Convert.ToHexString(start);
        return FormatByExtension(path)
            ?? throw file.Fail(0, $"the content, {bytes}..., is neither safetensors, nor GGUF, nor a llama2.c checkpoint");
    }

    private static ModelFormat? FormatByExtension(string path) =>
        HasExtension(path, ".safetensors") || HasExtension(path, ".json") ? ModelFormat.Safetensors
        : HasExtension(path, ".gguf") ? ModelFormat.Gguf
        : HasExtension(path, ".bin") ? ModelFormat.Llama2c
        : null;

    private static bool HasExtension(string path, string extension) =>
        path.EndsWith(extension, StringComparison.OrdinalIgnoreCase);

    // The export keeps neither the epsilon nor the base: they are constants of the program that trains and of the one
    // that runs.
    private static ModelFacts FactsOf(Llama2cHeader header) => new()
    {
        HeadDim = header.HeadDim,
        NormEpsilon = 1e-5f,
        RopeTheta = 10000,
        Architecture = "llama",
        Dim = header.Dim,
        HiddenDim = header.HiddenDim,
        Layers = header.Layers,
        Heads = header.Heads,
        KvHeads = header.KvHeads,
        VocabularySize = header.VocabularySize,
        ContextLength = header.ContextLength,
    };

    private static ModelFacts FactsOf(GgufFile file)
    {
        string? architecture = null;
        file.Metadata.GetValueOrDefault("general.architecture")?.TryGetString(out architecture);
        return new ModelFacts
        {
            Architecture = architecture,
            Dim = Count("embedding_length"),
            HiddenDim = Count("feed_forward_length"),
            Layers = Count("block_count"),
            Heads = Count("attention.head_count"),
            KvHeads = Count("attention.head_count_kv"),
            HeadDim = Count("attention.key_length") ?? Count("rope.dimension_count"),
            NormEpsilon = (float?)Number("attention.layer_norm_rms_epsilon"),
            RopeTheta = Number("rope.freq_base"),
            RopeScaling = ScalingOf(),
            VocabularySize = Count("vocab_size") ?? VocabularyOf(file),
            ContextLength = Count("context_length"),
        };

        double? Number(string key) => file.Metadata.GetValueOrDefault($"{architecture}.{key}")?.Value switch
        {
            float value => value,
            double value => value,
            _ => null,
        };

        RopeScalingFacts? ScalingOf()
        {
            string? type = null;
            file.Metadata.GetValueOrDefault($"{architecture}.rope.scaling.type")?.TryGetString(out type);
            return type is null or "none"
                ? null
                : new RopeScalingFacts(type, Number("rope.scaling.factor"), null, null, Count("rope.scaling.original_context_length"));
        }

        long? Count(string key)
        {
            GgufValue? value = file.Metadata.GetValueOrDefault($"{architecture}.{key}");
            return value is not null && value.TryGetInteger(out long count) && count >= 0 ? count : null;
        }
    }

    private static long? VocabularyOf(GgufFile file) =>
        file.Metadata.GetValueOrDefault("tokenizer.ggml.tokens")?.Value is GgufArray tokens ? tokens.Items.LongLength : null;
}
