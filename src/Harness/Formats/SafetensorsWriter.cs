using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Kernels.Harness.Formats;

/// <summary>
/// Writes a safetensors file. The bytes depend on the tensors and the metadata alone, not on the order in which they
/// were added: tensors are placed by falling element size, so that each is aligned, then by name; the header lists them
/// in that order, and is filled with spaces to a multiple of 8 bytes.
/// </summary>
public sealed class SafetensorsWriter
{
    private const int HeaderAlignment = 8;

    private static readonly UTF8Encoding s_strictUtf8 = new(
        encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> _metadata = new(StringComparer.Ordinal);

    /// <summary>Adds a string to __metadata__.</summary>
    /// <param name="key">A key that was not added before.</param>
    /// <param name="value">Its value.</param>
    public void AddMetadata(string key, string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        CheckText(key, nameof(key));
        CheckText(value, nameof(value));
        _metadata.Add(key, value);
    }

    /// <summary>Adds an F32 tensor.</summary>
    /// <param name="name">A name that was not added before.</param>
    /// <param name="shape">The dimensions, outermost first.</param>
    /// <param name="data">Its elements; they must stay as they are until the file is written.</param>
    public void Add(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<float> data) =>
        AddTyped(name, TensorType.F32, shape, data);

    /// <summary>Adds an F16 tensor.</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{long}, ReadOnlyMemory{float})"/>
    public void Add(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<Half> data) =>
        AddTyped(name, TensorType.F16, shape, data);

    /// <summary>Adds an I8 tensor.</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{long}, ReadOnlyMemory{float})"/>
    public void Add(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<sbyte> data) =>
        AddTyped(name, TensorType.I8, shape, data);

    /// <summary>Adds a U8 tensor.</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{long}, ReadOnlyMemory{float})"/>
    public void Add(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<byte> data) =>
        AddTyped(name, TensorType.U8, shape, data);

    /// <summary>Adds an I32 tensor.</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{long}, ReadOnlyMemory{float})"/>
    public void Add(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<int> data) =>
        AddTyped(name, TensorType.I32, shape, data);

    /// <summary>Adds a BF16 tensor, given as bits.</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{long}, ReadOnlyMemory{float})"/>
    public void AddBFloat16(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<ushort> data) =>
        AddTyped(name, TensorType.BF16, shape, data);

    /// <summary>
    /// Adds a tensor whose bytes are made when the file is written, so that a large model need not be in memory.
    /// </summary>
    /// <param name="name">A name that was not added before.</param>
    /// <param name="type">F32, F16, BF16, I8, U8 or I32.</param>
    /// <param name="shape">The dimensions, outermost first.</param>
    /// <param name="write">Writes exactly the bytes of the tensor, little-endian.</param>
    public void Add(string name, TensorType type, ReadOnlySpan<long> shape, Action<Stream> write)
    {
        ArgumentNullException.ThrowIfNull(type);
        ArgumentNullException.ThrowIfNull(write);
        CheckText(name, nameof(name));
        if (name == "__metadata__" || _entries.ContainsKey(name))
        {
            throw new ArgumentException($"The name '{name}' is taken.", nameof(name));
        }

        if (SafetensorsTypes.Find(type.Name) != type || type.BlockElements != 1)
        {
            throw new ArgumentException($"Type {type} cannot be written to safetensors.", nameof(type));
        }

        if (!Shapes.TryGetElementCount(shape, out long elements) || !type.TryGetByteCount(elements, out long bytes))
        {
            throw new ArgumentException("A dimension is negative, or their product overflows.", nameof(shape));
        }

        _entries.Add(name, new Entry(name, type, shape.ToArray(), bytes, write));
    }

    /// <summary>Writes the file. It appears under its name only when it is complete.</summary>
    /// <param name="path">The file; replaced if it exists.</param>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string partial = path + ".partial";
        try
        {
            using (FileStream stream = File.Create(partial))
            {
                WriteTo(stream);
            }

            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Writes the content of the file.</summary>
    /// <param name="stream">A stream that can seek.</param>
    public void WriteTo(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Entry[] entries =
        [
            .. _entries.Values
                .OrderByDescending(entry => entry.Type.BlockBytes)
                .ThenBy(entry => entry.Name, StringComparer.Ordinal),
        ];
        WriteHeader(stream, entries);
        foreach (Entry entry in entries)
        {
            long start = stream.Position;
            entry.Write(stream);
            long written = stream.Position - start;
            if (written != entry.Bytes)
            {
                throw new InvalidOperationException(
                    $"Tensor '{entry.Name}' has {entry.Bytes} bytes, and {written} were written.");
            }
        }
    }

    private void WriteHeader(Stream stream, Entry[] entries)
    {
        var header = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(header))
        {
            json.WriteStartObject();
            if (_metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__");
                foreach ((string key, string value) in _metadata)
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach (Entry entry in entries)
            {
                json.WriteStartObject(entry.Name);
                json.WriteString("dtype", entry.Type.Name);
                WriteArray(json, "shape", entry.Shape);
                WriteArray(json, "data_offsets", [offset, checked(offset + entry.Bytes)]);
                json.WriteEndObject();
                offset += entry.Bytes;
            }

            json.WriteEndObject();
        }

        int padding = -header.WrittenCount & (HeaderAlignment - 1);
        header.GetSpan(padding)[..padding].Fill((byte)' ');
        header.Advance(padding);
        if (header.WrittenCount > SafetensorsHeader.MaxHeaderBytes)
        {
            throw new InvalidOperationException(
                $"The header would have {header.WrittenCount} bytes, more than a safetensors header may have.");
        }

        Span<byte> length = stackalloc byte[SafetensorsHeader.LengthBytes];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.WrittenCount);
        stream.Write(length);
        stream.Write(header.WrittenSpan);
    }

    private static void WriteArray(Utf8JsonWriter json, string name, ReadOnlySpan<long> values)
    {
        json.WriteStartArray(name);
        foreach (long value in values)
        {
            json.WriteNumberValue(value);
        }

        json.WriteEndArray();
    }

    private void AddTyped<T>(string name, TensorType type, ReadOnlySpan<long> shape, ReadOnlyMemory<T> data)
        where T : unmanaged
    {
        if (!Shapes.TryGetElementCount(shape, out long elements) || elements != data.Length)
        {
            throw new ArgumentException(
                $"The shape [{string.Join(", ", shape.ToArray())}] does not fit {data.Length} elements.", nameof(shape));
        }

        Add(name, type, shape, stream => WriteElements(stream, data.Span));
    }

    private static void WriteElements<T>(Stream stream, ReadOnlySpan<T> data)
        where T : unmanaged
    {
        // In parts: the bytes of an array can be more than one span of bytes can hold.
        const int PartElements = 1 << 20;
        for (int first = 0; first < data.Length; first += PartElements)
        {
            stream.Write(MemoryMarshal.AsBytes(data.Slice(first, Math.Min(PartElements, data.Length - first))));
        }
    }

    /// <summary>Refuses half a surrogate pair, which JSON text could not carry.</summary>
    private static void CheckText(string text, string parameter)
    {
        ArgumentNullException.ThrowIfNull(text, parameter);
        try
        {
            _ = s_strictUtf8.GetByteCount(text);
        }
        catch (EncoderFallbackException fault)
        {
            throw new ArgumentException("The text is not valid Unicode.", parameter, fault);
        }
    }

    private sealed record Entry(string Name, TensorType Type, long[] Shape, long Bytes, Action<Stream> Write);
}
