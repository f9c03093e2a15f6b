using System.Runtime.InteropServices;

namespace Kernels.Harness.Formats;

/// <summary>
/// A tensor in a model file. Its data stays in the file until it is asked for, may be asked for in parts, and from
/// several threads at once, until the file is disposed.
/// </summary>
public abstract class ModelTensor
{
    private readonly long[] _shape;

    private protected ModelTensor(
        RandomAccessFile file,
        string name,
        TensorType type,
        long[] shape,
        long elementCount,
        long fileOffset,
        long byteCount)
    {
        File = file;
        Name = name;
        Type = type;
        _shape = shape;
        ElementCount = elementCount;
        FileOffset = fileOffset;
        ByteCount = byteCount;
    }

    /// <summary>The name in the file.</summary>
    public string Name { get; }

    /// <summary>How the elements are stored.</summary>
    public TensorType Type { get; }

    /// <summary>The dimensions, outermost first: a weight is [N out, K in] whichever way its format counts.</summary>
    public IReadOnlyList<long> Shape => _shape;

    /// <summary>The product of <see cref="Shape"/>; 1 for a scalar.</summary>
    public long ElementCount { get; }

    /// <summary>The byte of the file at which the data starts.</summary>
    public long FileOffset { get; }

    /// <summary>The bytes of data in the file.</summary>
    public long ByteCount { get; }

    /// <summary>The file that holds the data; of a sharded model, the shard.</summary>
    public string FilePath => File.Path;

    private protected RandomAccessFile File { get; }

    /// <summary>Reads elements as floats, in row-major order.</summary>
    /// <param name="firstElement">The index of the first element.</param>
    /// <param name="destination">Filled entirely.</param>
    /// <exception cref="ModelFormatException">The type has no decoder, or the file became shorter.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The elements are not all inside the tensor.</exception>
    public void ReadFloats(long firstElement, Span<float> destination)
    {
        BlockDecoder decoder = Type.Decoder ?? throw CannotDecode();
        CheckRange(firstElement, destination.Length, ElementCount, nameof(firstElement));
        Decode(decoder, firstElement, destination);
    }

    /// <summary>Reads the whole tensor as floats.</summary>
    /// <exception cref="ModelFormatException">The type has no decoder, or the file became shorter.</exception>
    /// <exception cref="InvalidOperationException">The tensor has more elements than an array can.</exception>
    public float[] ReadFloats()
    {
        if (!Type.CanDecode)
        {
            throw CannotDecode();
        }

        if (ElementCount > Array.MaxLength)
        {
            throw new InvalidOperationException(
                $"Tensor '{Name}' has {ElementCount} elements, more than one array can hold: read it in parts.");
        }

        float[] values = GC.AllocateUninitializedArray<float>((int)ElementCount);
        ReadFloats(0, values);
        return values;
    }

    /// <summary>Reads the bits of F16 or BF16 elements as they are in the file.</summary>
    /// <param name="firstElement">The index of the first element.</param>
    /// <param name="destination">Filled entirely.</param>
    /// <exception cref="ModelFormatException">The type is neither F16 nor BF16, or the file became shorter.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The elements are not all inside the tensor.</exception>
    public void ReadBits16(long firstElement, Span<ushort> destination)
    {
        if (Type != TensorType.F16 && Type != TensorType.BF16)
        {
            throw File.Fail(FileOffset, $"tensor '{Name}' has type {Type}, and 16-bit elements were asked for");
        }

        CheckRange(firstElement, destination.Length, ElementCount, nameof(firstElement));
        File.Read(FileOffset + firstElement * sizeof(ushort), MemoryMarshal.AsBytes(destination));
    }

    /// <summary>Reads data as it is in the file; any type.</summary>
    /// <param name="firstByte">The byte of the data to start at.</param>
    /// <param name="destination">Filled entirely.</param>
    /// <exception cref="ModelFormatException">The file became shorter.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are not all inside the data.</exception>
    public void ReadBytes(long firstByte, Span<byte> destination)
    {
        CheckRange(firstByte, destination.Length, ByteCount, nameof(firstByte));
        File.Read(FileOffset + firstByte, destination);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {Type} [{string.Join(", ", _shape)}]";

    /// <summary>Decodes a checked range.</summary>
    private protected abstract void Decode(BlockDecoder decoder, long firstElement, Span<float> destination);

    private static void CheckRange(long first, int count, long total, string parameter)
    {
        if (first < 0 || first > total || count > total - first)
        {
            throw new ArgumentOutOfRangeException(
                parameter, first, $"{count} from here on are not inside a tensor that has {total}.");
        }
    }

    private ModelFormatException CannotDecode() =>
        File.Fail(
            FileOffset,
            $"tensor '{Name}' has type {Type}, whose data cannot be read as floats here (F32, F16, BF16, Q8_0 and Q4_0 can)");
}
