using System.Buffers.Binary;

namespace Kernels.Harness.Formats;

/// <summary>
/// The head of a llama2.c checkpoint, which fixes the place of everything in it.
/// <code>
/// legacy      7 x i32 (dim, hidden, layers, heads, KV heads, +-vocabulary, context), then data; a negative vocabulary says
///             that there is a classifier of its own
/// v1, v2      "ak42" | version i32 | the 7 x i32 | shared classifier u8 | v2: group size i32 | zeros to byte 256, then data
/// </code>
/// </summary>
/// <param name="Version">0 for the legacy layout, 1 (float32) or 2 (signed bytes with group scales).</param>
/// <param name="Dim">The width of the model.</param>
/// <param name="HiddenDim">The width inside the feed-forward part.</param>
/// <param name="Layers">The number of decoder layers.</param>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">Key and value heads; a divisor of <paramref name="Heads"/>.</param>
/// <param name="VocabularySize">The number of tokens.</param>
/// <param name="ContextLength">The longest sequence.</param>
/// <param name="SharedClassifier">Whether the classifier is the token embedding.</param>
/// <param name="GroupSize">Elements for each scale in version 2; 0 otherwise.</param>
public sealed record Llama2cHeader(
    int Version,
    int Dim,
    int HiddenDim,
    int Layers,
    int Heads,
    int KvHeads,
    int VocabularySize,
    int ContextLength,
    bool SharedClassifier,
    int GroupSize)
{
    internal const uint Magic = 0x616b3432;
    private const int LegacyBytes = 7 * sizeof(int);
    private const int VersionedBytes = 256;
    private const int ConfigOffset = 8;
    private const int SharedClassifierOffset = ConfigOffset + LegacyBytes;
    private const int GroupSizeOffset = SharedClassifierOffset + 1;

    // Far above any model; a sparse file of some gigabytes could otherwise claim, and fill, hundreds of millions of
    // tiny layers.
    private const int MaxLayers = 65536;

    /// <summary>The width of one head.</summary>
    public int HeadDim => Dim / Heads;

    /// <summary>The width of keys and values.</summary>
    public int KvDim => HeadDim * KvHeads;

    internal long DataStart => Version == 0 ? LegacyBytes : VersionedBytes;

    /// <summary>Reads and checks the head; whether the rest of the file fits it is not checked here.</summary>
    internal static Llama2cHeader Read(RandomAccessFile file)
    {
        Span<byte> bytes = stackalloc byte[VersionedBytes];
        file.Read(0, bytes[..LegacyBytes]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic)
        {
            return ReadConfig(file, bytes, 0, version: 0, sharedClassifier: null, groupSize: 0);
        }

        file.Read(0, bytes);
        int version = BinaryPrimitives.ReadInt32LittleEndian(bytes[sizeof(uint)..]);
        if (version is not (1 or 2))
        {
            throw file.Fail(sizeof(uint), $"llama2.c version {version} is not read here, only 1, 2 and the legacy layout");
        }

        byte shared = bytes[SharedClassifierOffset];
        if (shared > 1)
        {
            throw file.Fail(SharedClassifierOffset, $"the flag of the shared classifier is {shared}, and must be 0 or 1");
        }

        int groupSize = version == 2 ? BinaryPrimitives.ReadInt32LittleEndian(bytes[GroupSizeOffset..]) : 0;
        if (version == 2 && groupSize <= 0)
        {
            throw file.Fail(GroupSizeOffset, $"the group size is {groupSize}, and must be positive");
        }

        return ReadConfig(file, bytes, ConfigOffset, version, shared == 1, groupSize);
    }

    private static Llama2cHeader ReadConfig(
        RandomAccessFile file, ReadOnlySpan<byte> bytes, int offset, int version, bool? sharedClassifier, int groupSize)
    {
        Span<int> fields = stackalloc int[LegacyBytes / sizeof(int)];
        for (int i = 0; i < fields.Length; i++)
        {
            fields[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes[(offset + i * sizeof(int))..]);
        }

        const int VocabularyField = 5;
        bool isLegacy = version == 0;
        bool shared = sharedClassifier ?? fields[VocabularyField] > 0;
        if (isLegacy && fields[VocabularyField] < 0 && fields[VocabularyField] != int.MinValue)
        {
            fields[VocabularyField] = -fields[VocabularyField];
        }

        ReadOnlySpan<string> names =
        [
            "dim", "hidden dim", "layer count", "head count", "KV head count", "vocabulary size", "context length",
        ];
        for (int i = 0; i < fields.Length; i++)
        {
            if (fields[i] <= 0)
            {
                throw file.Fail(
                    offset + i * sizeof(int),
                    $"the {names[i]} of a llama2.c checkpoint is {fields[i]}, and must be positive");
            }
        }

        var header = new Llama2cHeader(
            version, fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], shared, groupSize);
        if (header.Layers > MaxLayers)
        {
            throw file.Fail(
                offset, $"a llama2.c checkpoint with {header.Layers} layers is not read here, at most {MaxLayers}");
        }

        if (header.Dim % header.Heads != 0 || header.Heads % header.KvHeads != 0)
        {
            throw file.Fail(
                offset, $"a width of {header.Dim} cannot be shared by {header.Heads} heads and {header.KvHeads} KV heads");
        }

        return header;
    }
}
