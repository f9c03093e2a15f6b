using System.Buffers.Binary;
using System.Text.Json;

namespace Kernels.Harness.Formats;

/// <summary>
/// The header of one safetensors file:
/// <code>
/// byte 0        8        8 + n                          end
///      | n u64 | JSON   | data, without gaps           |
/// </code>
/// The rules are those of the upstream reader: at most 100 MB of header, data_offsets that follow each other without
/// gap or overlap in some order of the tensors, and that end where the file ends.
/// </summary>
internal sealed class SafetensorsHeader
{
    public const long MaxHeaderBytes = 100_000_000;
    public const int LengthBytes = 8;
    private const string MetadataName = "__metadata__";

    // More dimensions than any framework writes; it bounds what one line of a hostile header can ask for.
    private const int MaxRank = 64;

    private readonly RandomAccessFile _file;
    private readonly long _dataStart;
    private readonly List<Entry> _entries = [];

    private SafetensorsHeader(RandomAccessFile file, long dataStart)
    {
        _file = file;
        _dataStart = dataStart;
    }

    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    public ModelTensor[] Tensors { get; private set; } = [];

    public static SafetensorsHeader Read(RandomAccessFile file)
    {
        Span<byte> prefix = stackalloc byte[LengthBytes];
        file.Read(0, prefix);
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxHeaderBytes)
        {
            throw file.Fail(
                0, $"the header claims {length} bytes, more than the {MaxHeaderBytes} that a safetensors header may have");
        }

        if ((long)length > file.Length - LengthBytes)
        {
            throw file.Fail(0, $"the header claims {length} bytes, but the file ends at byte {file.Length}");
        }

        byte[] json = new byte[length];
        file.Read(LengthBytes, json);
        if (json.Length == 0 || json[0] != (byte)'{')
        {
            throw file.Fail(LengthBytes, "a safetensors header starts with '{'");
        }

        var header = new SafetensorsHeader(file, LengthBytes + (long)length);
        BoundedJson.ParseObject(file, LengthBytes, json, header.ReadEntry);
        header.PlaceTensors();
        return header;
    }

    private void ReadEntry(string name, ref Utf8JsonReader reader)
    {
        if (name == MetadataName)
        {
            BoundedJson.ReadObject(
                ref reader, (string key, ref Utf8JsonReader value) => Metadata.Add(key, BoundedJson.ReadString(ref value)));
            return;
        }

        long headerOffset = LengthBytes + reader.TokenStartIndex;
        string? dtype = null;
        long[]? shape = null;
        long[]? offsets = null;
        BoundedJson.ReadObject(ref reader, (string key, ref Utf8JsonReader value) =>
        {
            switch (key)
            {
                case "dtype":
                    dtype = BoundedJson.ReadString(ref value);
                    break;
                case "shape":
                    shape = BoundedJson.ReadCounts(ref value, MaxRank);
                    break;
                case "data_offsets":
                    offsets = BoundedJson.ReadCounts(ref value, 2);
                    break;
                default:
                    value.Skip();
                    break;
            }
        });

        if (dtype is null || shape is null || offsets is not [long begin, long end])
        {
            throw _file.Fail(
                headerOffset, $"tensor '{BoundedJson.Shorten(name)}' must have dtype, shape and two data_offsets");
        }

        _entries.Add(new Entry(name, headerOffset, dtype, shape, begin, end));
    }

    private void PlaceTensors()
    {
        _entries.Sort((left, right) => (left.Begin, left.End).CompareTo((right.Begin, right.End)));
        long dataBytes = _file.Length - _dataStart;
        long expected = 0;
        var tensors = new ModelTensor[_entries.Count];
        for (int i = 0; i < tensors.Length; i++)
        {
            Entry entry = _entries[i];
            if (entry.End < entry.Begin || entry.End > dataBytes)
            {
                throw Fail(entry, $"data_offsets [{entry.Begin}, {entry.End}] are not inside the {dataBytes} bytes of data");
            }

            if (entry.Begin != expected)
            {
                string fault = entry.Begin < expected ? "overlaps the tensor before it" : "leaves a gap";
                throw Fail(entry, $"its data starts at {entry.Begin}, where {expected} is expected: it {fault}");
            }

            expected = entry.End;
            tensors[i] = MakeTensor(entry);
        }

        if (expected != dataBytes)
        {
            throw _file.Fail(_dataStart + expected, $"the tensors end here, but the file goes on to byte {_file.Length}");
        }

        Tensors = tensors;
    }

    private BlockTensor MakeTensor(Entry entry)
    {
        TensorType type = SafetensorsTypes.Find(BoundedJson.Shorten(entry.DataType));
        string dimensions = string.Join(", ", entry.Shape);
        if (!Shapes.TryGetElementCount(entry.Shape, out long elements))
        {
            throw Fail(entry, $"the product of its shape [{dimensions}] overflows");
        }

        long bytes = entry.End - entry.Begin;
        bool sizeIsKnown = type.BlockBytes > 0;
        if (sizeIsKnown && (!type.TryGetByteCount(elements, out long needed) || needed != bytes))
        {
            throw Fail(entry, $"{type} of shape [{dimensions}] does not take the {bytes} bytes between its data_offsets");
        }

        return new BlockTensor(_file, entry.Name, type, entry.Shape, elements, _dataStart + entry.Begin, bytes);
    }

    private ModelFormatException Fail(Entry entry, string reason) =>
        _file.Fail(entry.HeaderOffset, $"tensor '{BoundedJson.Shorten(entry.Name)}': {reason}");

    private sealed record Entry(string Name, long HeaderOffset, string DataType, long[] Shape, long Begin, long End);
}
