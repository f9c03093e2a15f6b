namespace Kernels.Harness.Tests.Formats;

/// <summary>
/// Writes small llama2.c checkpoints whose n-th float is n, so that a test can tell where a tensor was read from.
/// </summary>
internal sealed record Llama2cBuilder
{
    public int Version { get; init; }

    public int Dim { get; init; } = 8;

    public int HiddenDim { get; init; } = 12;

    public int Layers { get; init; } = 2;

    public int Heads { get; init; } = 4;

    public int KvHeads { get; init; } = 2;

    public int VocabularySize { get; init; } = 10;

    public int ContextLength { get; init; } = 6;

    public bool SharedClassifier { get; init; } = true;

    public int GroupSize { get; init; } = 4;

    /// <summary>Floats, or for version 2 bytes, added to the right length.</summary>
    public int Surplus { get; init; }

    public byte[] Build()
    {
        var file = new MemoryStream();
        using var writer = new BinaryWriter(file);
        if (Version > 0)
        {
            writer.Write(0x616b3432);
            writer.Write(Version);
        }

        int vocabulary = Version == 0 && !SharedClassifier ? -VocabularySize : VocabularySize;
        Array.ForEach([Dim, HiddenDim, Layers, Heads, KvHeads, vocabulary, ContextLength], writer.Write);
        if (Version > 0)
        {
            writer.Write((byte)(SharedClassifier ? 1 : 0));
            writer.Write(Version == 2 ? GroupSize : 0);
            writer.Write(new byte[256 - file.Length]);
        }

        int kvDim = Dim / Heads * KvHeads;
        int norms = (2 * Layers + 1) * Dim;
        int perLayer = 2 * Dim * Dim + 2 * kvDim * Dim + 3 * Dim * HiddenDim;
        int matrices = Layers * perLayer + VocabularySize * Dim * (SharedClassifier ? 1 : 2);
        int tables = Version == 0 ? ContextLength * (Dim / Heads) : 0;
        int floats = Version == 2 ? norms : norms + matrices + tables + Surplus;
        for (int i = 0; i < floats; i++)
        {
            writer.Write((float)i);
        }

        if (Version == 2)
        {
            WriteQuantized(writer, kvDim);
            writer.Write(new byte[Surplus]);
        }

        return file.ToArray();
    }

    private void WriteQuantized(BinaryWriter writer, int kvDim)
    {
        List<int> sizes = [VocabularySize * Dim];
        int attention = Dim * Dim;
        int feedForward = Dim * HiddenDim;
        int[] ofEachLayer = [attention, kvDim * Dim, kvDim * Dim, attention, feedForward, feedForward, feedForward];
        foreach (int each in ofEachLayer)
        {
            sizes.AddRange(Enumerable.Repeat(each, Layers));
        }

        if (!SharedClassifier)
        {
            sizes.Add(VocabularySize * Dim);
        }

        foreach (int size in sizes)
        {
            for (int i = 0; i < size; i++)
            {
                writer.Write((sbyte)(i % 255 - 127));
            }

            for (int group = 0; group < size / GroupSize; group++)
            {
                writer.Write(0.5f + group);
            }
        }
    }
}
