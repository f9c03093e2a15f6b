using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Kernels.Harness.Formats;

/// <summary>
/// A llama2.c checkpoint. The file has no names, only an order; the tensors are named as in the training code that it
/// is exported from: tok_embeddings.weight, layers.0.attention.wq.weight, layers.0.feed_forward.w1.weight (gate), .w2
/// (down), .w3 (up), layers.0.attention_norm.weight, layers.0.ffn_norm.weight, norm.weight, and output.weight for a
/// classifier of its own.
/// <code>
/// legacy   embedding, attention norms, wq, wk, wv, wo, FFN norms, w1, w2, w3, norm, two rotation tables, [classifier]
/// v1, v2   attention norms, FFN norms, norm, embedding, wq, wk, wv, wo, w1, w2, w3, [classifier]
/// </code>
/// each for all layers one after the other. Version 2 keeps norms in float32 and the others as signed bytes followed by
/// group scales.
/// </summary>
public sealed class Llama2cFile : TensorContainer
{
    private Llama2cFile(RandomAccessFile file, Llama2cHeader header, ModelTensor[] tensors)
        : base(file.Path, [file], tensors)
    {
        Header = header;
    }

    /// <summary>The dimensions of the model.</summary>
    public Llama2cHeader Header { get; }

    /// <summary>Opens a checkpoint.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFormatException">The content is not valid.</exception>
    /// <exception cref="IOException">The file cannot be read, or does not exist.</exception>
    [SuppressMessage(
        "Reliability", "CA2000", Justification = "The file belongs to the returned object, or is disposed.")]
    public static Llama2cFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        RandomAccessFile file = RandomAccessFile.Open(path);
        try
        {
            (Llama2cHeader header, Section[] sections) = ReadLayout(file);
            return new Llama2cFile(file, header, PlaceTensors(file, header, sections));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Whether the file is a checkpoint. The legacy layout has no mark: its head must be plausible and fit the length
    /// of the file.
    /// </summary>
    internal static bool Fits(RandomAccessFile file)
    {
        try
        {
            ReadLayout(file);
            return true;
        }
        catch (ModelFormatException)
        {
            return false;
        }
    }

    private static (Llama2cHeader Header, Section[] Sections) ReadLayout(RandomAccessFile file)
    {
        Llama2cHeader header = Llama2cHeader.Read(file);
        Section[] sections = Layout(header);
        CheckLength(file, header, sections);
        return (header, sections);
    }

    private static Section[] Layout(Llama2cHeader header)
    {
        long dim = header.Dim;
        long hidden = header.HiddenDim;
        long kv = header.KvDim;
        int layers = header.Layers;
        var embedding = new Section("tok_embeddings.weight", 1, [header.VocabularySize, dim]);
        var attentionNorm = new Section("layers.{0}.attention_norm.weight", layers, [dim]);
        var ffnNorm = new Section("layers.{0}.ffn_norm.weight", layers, [dim]);
        var norm = new Section("norm.weight", 1, [dim]);
        Section[] attention =
        [
            new("layers.{0}.attention.wq.weight", layers, [dim, dim]),
            new("layers.{0}.attention.wk.weight", layers, [kv, dim]),
            new("layers.{0}.attention.wv.weight", layers, [kv, dim]),
            new("layers.{0}.attention.wo.weight", layers, [dim, dim]),
        ];
        Section[] feedForward =
        [
            new("layers.{0}.feed_forward.w1.weight", layers, [hidden, dim]),
            new("layers.{0}.feed_forward.w2.weight", layers, [dim, hidden]),
            new("layers.{0}.feed_forward.w3.weight", layers, [hidden, dim]),
        ];
        Section[] classifier = header.SharedClassifier ? [] : [new("output.weight", 1, [header.VocabularySize, dim])];
        if (header.Version > 0)
        {
            return [attentionNorm, ffnNorm, norm, embedding, .. attention, .. feedForward, .. classifier];
        }

        // Cosines and sines of the rotary embedding, which newer programs compute; the export still writes them.
        var cosines = new Section("freqs_cos", 1, [header.ContextLength, header.HeadDim / 2]);
        var sines = new Section("freqs_sin", 1, [header.ContextLength, header.HeadDim / 2]);
        return [embedding, attentionNorm, .. attention, ffnNorm, .. feedForward, norm, cosines, sines, .. classifier];
    }

    /// <summary>Checks the length before anything is made for each layer.</summary>
    private static void CheckLength(RandomAccessFile file, Llama2cHeader header, Section[] sections)
    {
        Int128 expected = header.DataStart;
        foreach (Section section in sections)
        {
            if (header.Version == 2 && section.IsQuantized && section.ElementsEach % header.GroupSize != 0)
            {
                throw file.Fail(
                    header.DataStart,
                    $"groups of {header.GroupSize} do not divide the {section.ElementsEach} elements of {section.NameFormat}");
            }

            expected += BytesEach(header, section) * section.Count;
        }

        if (expected != file.Length)
        {
            string fault = expected > file.Length ? "ends too early" : "goes on after its last tensor";
            long offset = expected > file.Length ? file.Length : (long)expected;
            throw file.Fail(
                offset,
                $"a llama2.c checkpoint with this header has {expected} bytes; the file has {file.Length}, so it {fault}");
        }
    }

    private static ModelTensor[] PlaceTensors(RandomAccessFile file, Llama2cHeader header, Section[] sections)
    {
        var tensors = new List<ModelTensor>();
        TensorType quantized = TensorType.GroupScaledInt8(header.GroupSize);
        long offset = header.DataStart;
        foreach (Section section in sections)
        {
            long bytes = (long)BytesEach(header, section);
            for (int layer = 0; layer < section.Count; layer++)
            {
                string name = section.NameOf(layer);
                tensors.Add(header.Version == 2 && section.IsQuantized
                    ? new GroupScaledTensor(
                        file, name, header.GroupSize, quantized, section.Shape, section.ElementsEach, offset)
                    : new BlockTensor(file, name, TensorType.F32, section.Shape, section.ElementsEach, offset, bytes));
                offset += bytes;
            }
        }

        return [.. tensors];
    }

    /// <summary>
    /// Two dimensions below 2^31 each: their product fits a long, its bytes may not until the length has been checked.
    /// </summary>
    private static Int128 BytesEach(Llama2cHeader header, Section section)
    {
        Int128 elements = section.ElementsEach;
        return header.Version == 2 && section.IsQuantized
            ? elements + elements / header.GroupSize * sizeof(float)
            : elements * sizeof(float);
    }

    /// <summary>Tensors of one kind that lie one after the other, one for each layer.</summary>
    private sealed record Section(string NameFormat, int Count, long[] Shape)
    {
        public long ElementsEach { get; } = Shape.Aggregate(1L, (product, dimension) => product * dimension);

        /// <summary>Version 2 quantizes everything that has two dimensions, the embedding too.</summary>
        public bool IsQuantized => Shape.Length == 2;

        public string NameOf(int layer) =>
            NameFormat.Replace("{0}", layer.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
    }
}
