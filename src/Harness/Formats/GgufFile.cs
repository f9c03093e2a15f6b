using System.Diagnostics.CodeAnalysis;

namespace Kernels.Harness.Formats;

/// <summary>
/// A GGUF file, version 2 or 3, little-endian:
/// <code>
/// "GGUF" | version u32 | tensor count u64 | pair count u64 | key-value pairs | tensor list | padding | data
/// </code>
/// Each tensor of the list has a name, its dimensions (innermost first), a type and an offset from the start of the
/// data, which is aligned like every tensor in it to general.alignment, 32 if that is not given. F32, F16, BF16, Q8_0
/// and Q4_0 can be read as floats; every other type is listed.
/// </summary>
public sealed class GgufFile : TensorContainer
{
    // The largest vocabularies with their merges take about 30 MB. Objects in memory are larger than what the file
    // needs to ask for them, so this also bounds what a hostile file can make the program allocate.
    private const long MaxHeaderBytes = 128 * 1024 * 1024;

    private const uint Magic = 0x46554747;
    private const int MaxDimensions = 4;

    // The least that a tensor takes in the list: a name of no bytes (8), no dimensions (4), type (4), offset (8).
    private const int MinTensorBytes = 24;

    private GgufFile(
        RandomAccessFile file,
        uint version,
        long alignment,
        IReadOnlyDictionary<string, GgufValue> metadata,
        ModelTensor[] tensors)
        : base(file.Path, [file], tensors)
    {
        Version = version;
        Alignment = alignment;
        Metadata = metadata;
    }

    /// <summary>The version of the format: 2 or 3.</summary>
    public uint Version { get; }

    /// <summary>The alignment of the data of each tensor, in bytes.</summary>
    public long Alignment { get; }

    /// <summary>The key-value pairs.</summary>
    public IReadOnlyDictionary<string, GgufValue> Metadata { get; }

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFormatException">The content is not valid.</exception>
    /// <exception cref="IOException">The file cannot be read, or does not exist.</exception>
    [SuppressMessage(
        "Reliability", "CA2000", Justification = "The file belongs to the returned object, or is disposed.")]
    public static GgufFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        RandomAccessFile file = RandomAccessFile.Open(path);
        try
        {
            return Read(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static GgufFile Read(RandomAccessFile file)
    {
        var reader = new HeaderReader(file, MaxHeaderBytes);
        if (reader.Read<uint>() != Magic)
        {
            throw file.Fail(0, "a GGUF file starts with 'GGUF'");
        }

        uint version = ReadVersion(file, reader);
        ulong tensorCount = reader.Read<ulong>();
        ulong pairCount = reader.Read<ulong>();
        var metadataReader = new GgufMetadataReader(file, reader);
        Dictionary<string, GgufValue> metadata = metadataReader.Read(pairCount);
        long alignment = metadataReader.Alignment;
        List<Entry> entries = ReadTensorList(file, reader, tensorCount);
        ModelTensor[] tensors = PlaceTensors(file, entries, AlignUp(reader.Position, alignment), alignment);
        return new GgufFile(file, version, alignment, metadata, tensors);
    }

    private static uint ReadVersion(RandomAccessFile file, HeaderReader reader)
    {
        long start = reader.Position;
        uint version = reader.Read<uint>();
        if (version is 2 or 3)
        {
            return version;
        }

        bool isBigEndian = version is 2u << 24 or 3u << 24;
        throw file.Fail(
            start,
            isBigEndian
                ? "the file is big-endian GGUF; only little-endian files are read"
                : $"GGUF version {version} is not read here, only 2 and 3");
    }

    private static List<Entry> ReadTensorList(RandomAccessFile file, HeaderReader reader, ulong count)
    {
        reader.Require(count, MinTensorBytes);
        var entries = new List<Entry>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (ulong i = 0; i < count; i++)
        {
            long start = reader.Position;
            string name = reader.ReadString(GgufMetadataReader.MaxNameBytes);
            if (!names.Add(name))
            {
                throw file.Fail(start, $"the tensor '{BoundedJson.Shorten(name)}' comes twice");
            }

            uint rank = reader.Read<uint>();
            if (rank > MaxDimensions)
            {
                throw file.Fail(
                    start, $"tensor '{BoundedJson.Shorten(name)}' claims {rank} dimensions, and may have {MaxDimensions}");
            }

            long[] shape = reader.ReadArray<long>(rank);
            Array.Reverse(shape);
            entries.Add(new Entry(name, start, shape, GgufTypes.Find(reader.Read<uint>()), reader.Read<ulong>()));
        }

        return entries;
    }

    private static ModelTensor[] PlaceTensors(RandomAccessFile file, List<Entry> entries, long dataStart, long alignment)
    {
        long dataBytes = Math.Max(file.Length - dataStart, 0);
        ModelTensor[] tensors = [.. entries.Select(entry => MakeTensor(file, entry, dataStart, dataBytes, alignment))];

        // Where a size is not known only the start can be checked.
        long end = 0;
        IEnumerable<(ModelTensor Tensor, Entry Entry)> inFileOrder = tensors.Zip(entries)
            .OrderBy(pair => pair.First.FileOffset)
            .ThenBy(pair => pair.First.ByteCount);
        foreach ((ModelTensor tensor, Entry entry) in inFileOrder)
        {
            long begin = tensor.FileOffset - dataStart;
            if (begin < end)
            {
                throw Fail(
                    file,
                    entry,
                    $"its data, from byte {tensor.FileOffset}, overlaps that of another, which goes to byte {dataStart + end}");
            }

            end = begin + tensor.ByteCount;
        }

        bool allSizesAreKnown = entries.TrueForAll(entry => entry.Type.BlockBytes > 0);
        if (allSizesAreKnown && dataBytes > AlignUp(end, alignment))
        {
            throw file.Fail(dataStart + end, $"the tensors end here, but the file goes on to byte {file.Length}");
        }

        return tensors;
    }

    private static BlockTensor MakeTensor(RandomAccessFile file, Entry entry, long dataStart, long dataBytes, long alignment)
    {
        string dimensions = string.Join(", ", entry.Shape);
        if (!Shapes.TryGetElementCount(entry.Shape, out long elements))
        {
            throw Fail(file, entry, $"a dimension of [{dimensions}] is negative, or their product overflows");
        }

        TensorType type = entry.Type;
        bool rowsAreWholeBlocks = (entry.Shape is [.., long rowElements] ? rowElements : 1) % type.BlockElements == 0;
        if (!rowsAreWholeBlocks || !type.TryGetByteCount(elements, out long bytes))
        {
            throw Fail(
                file,
                entry,
                $"rows of [{dimensions}] are not whole blocks of {type.BlockElements}, as {type} needs, or their size overflows");
        }

        if (entry.Offset % (ulong)alignment != 0)
        {
            throw Fail(file, entry, $"the offset {entry.Offset} of its data is not a multiple of {alignment}");
        }

        if (entry.Offset > (ulong)dataBytes || bytes > dataBytes - (long)entry.Offset)
        {
            throw Fail(
                file, entry, $"{bytes} bytes from offset {entry.Offset} are not inside the {dataBytes} bytes of data");
        }

        return new BlockTensor(file, entry.Name, type, entry.Shape, elements, dataStart + (long)entry.Offset, bytes);
    }

    private static long AlignUp(long offset, long alignment) => (offset + alignment - 1) & -alignment;

    private static ModelFormatException Fail(RandomAccessFile file, Entry entry, string reason) =>
        file.Fail(entry.HeaderOffset, $"tensor '{BoundedJson.Shorten(entry.Name)}': {reason}");

    private sealed record Entry(string Name, long HeaderOffset, long[] Shape, TensorType Type, ulong Offset);
}
