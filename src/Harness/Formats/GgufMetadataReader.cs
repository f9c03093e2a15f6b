using System.Diagnostics;
using System.Numerics;

namespace Kernels.Harness.Formats;

/// <summary>Reads the key-value part of a GGUF file.</summary>
internal sealed class GgufMetadataReader(RandomAccessFile file, HeaderReader reader)
{
    public const int MaxNameBytes = 65535;
    private const int MaxStringBytes = 16 * 1024 * 1024;
    private const int MaxArrayDepth = 8;

    // The least that each can take: a key of no bytes (8), a type (4), a value (1); an array's element type (4) and
    // count (8).
    private const int MinPairBytes = 13;
    private const int MinStringBytes = 8;
    private const int MinArrayBytes = 12;

    /// <summary>The value of general.alignment, or what holds without it.</summary>
    public long Alignment { get; private set; } = 32;

    public Dictionary<string, GgufValue> Read(ulong count)
    {
        reader.Require(count, MinPairBytes);
        var metadata = new Dictionary<string, GgufValue>(StringComparer.Ordinal);
        for (ulong i = 0; i < count; i++)
        {
            long start = reader.Position;
            string key = reader.ReadString(MaxNameBytes);
            GgufValueType type = ReadType();
            long valueStart = reader.Position;
            var value = new GgufValue(type, ReadValue(type));
            if (!metadata.TryAdd(key, value))
            {
                throw file.Fail(start, $"the metadata key '{BoundedJson.Shorten(key)}' comes twice");
            }

            if (key == "general.alignment")
            {
                Alignment = value.Value is uint alignment && BitOperations.IsPow2(alignment)
                    ? alignment
                    : throw file.Fail(
                        valueStart, $"general.alignment is a {type}, or no power of two, and must be a UInt32 that is one");
            }
        }

        return metadata;
    }

    private GgufValueType ReadType()
    {
        long start = reader.Position;
        uint number = reader.Read<uint>();
        return number <= (uint)GgufValueType.Float64
            ? (GgufValueType)number
            : throw file.Fail(start, $"{number} is not the type of a metadata value");
    }

    private object ReadValue(GgufValueType type) => type switch
    {
        GgufValueType.UInt8 => reader.Read<byte>(),
        GgufValueType.Int8 => reader.Read<sbyte>(),
        GgufValueType.UInt16 => reader.Read<ushort>(),
        GgufValueType.Int16 => reader.Read<short>(),
        GgufValueType.UInt32 => reader.Read<uint>(),
        GgufValueType.Int32 => reader.Read<int>(),
        GgufValueType.Float32 => reader.Read<float>(),
        GgufValueType.Bool => ReadBool(),
        GgufValueType.String => reader.ReadString(MaxStringBytes),
        GgufValueType.Array => ReadArray(depth: 1),
        GgufValueType.UInt64 => reader.Read<ulong>(),
        GgufValueType.Int64 => reader.Read<long>(),
        GgufValueType.Float64 => reader.Read<double>(),
        _ => throw new UnreachableException(),
    };

    private GgufArray ReadArray(int depth)
    {
        long start = reader.Position;
        if (depth > MaxArrayDepth)
        {
            throw file.Fail(start, $"arrays are nested more than {MaxArrayDepth} deep");
        }

        GgufValueType type = ReadType();
        ulong count = reader.Read<ulong>();
        Array items = type switch
        {
            GgufValueType.UInt8 => reader.ReadArray<byte>(count),
            GgufValueType.Int8 => reader.ReadArray<sbyte>(count),
            GgufValueType.UInt16 => reader.ReadArray<ushort>(count),
            GgufValueType.Int16 => reader.ReadArray<short>(count),
            GgufValueType.UInt32 => reader.ReadArray<uint>(count),
            GgufValueType.Int32 => reader.ReadArray<int>(count),
            GgufValueType.Float32 => reader.ReadArray<float>(count),
            GgufValueType.Bool => ReadItems(count, 1, ReadBool),
            GgufValueType.String => ReadItems(count, MinStringBytes, () => reader.ReadString(MaxStringBytes)),
            GgufValueType.Array => ReadItems(count, MinArrayBytes, () => ReadArray(depth + 1)),
            GgufValueType.UInt64 => reader.ReadArray<ulong>(count),
            GgufValueType.Int64 => reader.ReadArray<long>(count),
            GgufValueType.Float64 => reader.ReadArray<double>(count),
            _ => throw new UnreachableException(),
        };
        return new GgufArray(type, items);
    }

    private T[] ReadItems<T>(ulong count, int minimumBytes, Func<T> read)
    {
        reader.Require(count, minimumBytes);
        var items = new T[count];
        for (int i = 0; i < items.Length; i++)
        {
            items[i] = read();
        }

        return items;
    }

    private bool ReadBool()
    {
        long start = reader.Position;
        byte value = reader.Read<byte>();
        return value <= 1 ? value != 0 : throw file.Fail(start, $"a boolean has the value {value}");
    }
}
