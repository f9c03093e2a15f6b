using System.Text;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Tests.Formats;

/// <summary>Writes GGUF files, valid ones and others, for tests.</summary>
internal sealed class GgufBuilder
{
    private readonly List<byte> _pairs = [];
    private readonly List<byte> _list = [];
    private readonly List<byte> _data = [];
    private ulong _pairCount;
    private ulong _tensorCount;

    public uint Version { get; init; } = 3;

    public int Alignment { get; init; } = 32;

    public GgufBuilder Pair(string key, GgufValueType type, Action<BinaryWriter> value)
    {
        Write(_pairs, writer =>
        {
            WriteString(writer, key);
            writer.Write((uint)type);
            value(writer);
        });
        _pairCount++;
        return this;
    }

    public GgufBuilder Pair(string key, uint value) => Pair(key, GgufValueType.UInt32, writer => writer.Write(value));

    public GgufBuilder Pair(string key, string value) =>
        Pair(key, GgufValueType.String, writer => WriteString(writer, value));

    /// <summary>Adds a tensor, dimensions innermost first as in the file; its offset may be told a lie.</summary>
    public GgufBuilder Tensor(string name, uint type, long[] dimensions, byte[] data, ulong? offset = null)
    {
        Write(_list, writer =>
        {
            WriteString(writer, name);
            writer.Write((uint)dimensions.Length);
            Array.ForEach(dimensions, writer.Write);
            writer.Write(type);
            writer.Write(offset ?? (ulong)_data.Count);
        });
        _data.AddRange(data);
        Pad(_data);
        _tensorCount++;
        return this;
    }

    public byte[] Build(ulong? tensorCount = null, ulong? pairCount = null)
    {
        var file = new List<byte>();
        Write(file, writer =>
        {
            writer.Write("GGUF"u8);
            writer.Write(Version);
            writer.Write(tensorCount ?? _tensorCount);
            writer.Write(pairCount ?? _pairCount);
            writer.Write(_pairs.ToArray());
            writer.Write(_list.ToArray());
        });
        Pad(file);
        file.AddRange(_data);
        return file.ToArray();
    }

    public static void WriteString(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private void Pad(List<byte> bytes) => bytes.AddRange(new byte[(Alignment - bytes.Count % Alignment) % Alignment]);

    private static void Write(List<byte> bytes, Action<BinaryWriter> write)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        write(writer);
        writer.Flush();
        bytes.AddRange(stream.ToArray());
    }
}
