using System.Diagnostics.CodeAnalysis;

namespace Kernels.Harness.Formats;

/// <summary>Turns whole blocks of encoded elements into floats.</summary>
/// <param name="blocks">A whole number of blocks.</param>
/// <param name="values">Exactly as many elements as the blocks hold.</param>
internal delegate void BlockDecoder(ReadOnlySpan<byte> blocks, Span<float> values);

/// <summary>
/// How the elements of a tensor are stored: blocks of <see cref="BlockElements"/> elements in <see cref="BlockBytes"/>
/// bytes. A plain type such as F32 has blocks of one element. A type that is only known by name is listed with tensors
/// too, with blocks of unknown size.
/// </summary>
[SuppressMessage("Naming", "CA1707", Justification = "Q8_0 and Q4_0 are the names that the format uses.")]
public sealed class TensorType
{
    private TensorType(string name, int blockElements, int blockBytes, BlockDecoder? decoder = null)
    {
        Name = name;
        BlockElements = blockElements;
        BlockBytes = blockBytes;
        Decoder = decoder;
    }

    /// <summary>IEEE binary32.</summary>
    public static TensorType F32 { get; } = new("F32", 1, 4, BlockDecoders.F32);

    /// <summary>IEEE binary16.</summary>
    public static TensorType F16 { get; } = new("F16", 1, 2, BlockDecoders.F16);

    /// <summary>The upper half of binary32.</summary>
    public static TensorType BF16 { get; } = new("BF16", 1, 2, BlockDecoders.BF16);

    /// <summary>Signed 8-bit integers.</summary>
    public static TensorType I8 { get; } = new("I8", 1, 1);

    /// <summary>Unsigned 8-bit integers.</summary>
    public static TensorType U8 { get; } = new("U8", 1, 1);

    /// <summary>Signed 32-bit integers.</summary>
    public static TensorType I32 { get; } = new("I32", 1, 4);

    /// <summary>GGUF: 32 elements in 34 bytes, a binary16 scale and 32 signed bytes.</summary>
    public static TensorType Q8_0 { get; } = new("Q8_0", 32, 34, BlockDecoders.Q8_0);

    /// <summary>GGUF: 32 elements in 18 bytes, a binary16 scale and 32 nibbles with offset 8.</summary>
    public static TensorType Q4_0 { get; } = new("Q4_0", 32, 18, BlockDecoders.Q4_0);

    /// <summary>The name by which the format calls it.</summary>
    public string Name { get; }

    /// <summary>Elements in a block, at least one.</summary>
    public int BlockElements { get; }

    /// <summary>Bytes in a block; 0 if the type is known by name only.</summary>
    public int BlockBytes { get; }

    /// <summary>Whether tensors of this type can be read as floats.</summary>
    public bool CanDecode => Decoder is not null;

    internal BlockDecoder? Decoder { get; }

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>A type whose tensors are listed and can be read as raw bytes, but not as floats.</summary>
    internal static TensorType Opaque(string name, int blockElements, int blockBytes) =>
        new(name, blockElements, blockBytes);

    /// <summary>A type of which only the name is known, so that the size of its tensors cannot be checked.</summary>
    internal static TensorType Unknown(string name) => new(name, 1, 0);

    /// <summary>llama2.c version 2: signed bytes, and apart from them one binary32 scale for each group.</summary>
    internal static TensorType GroupScaledInt8(int groupSize) => new($"Q8_0-GS{groupSize}", 1, 1, BlockDecoders.I8);

    /// <summary>The bytes that so many elements take; false if they do not fill whole blocks or overflow.</summary>
    internal bool TryGetByteCount(long elements, out long bytes)
    {
        bytes = 0;
        if (elements < 0 || elements % BlockElements != 0)
        {
            return false;
        }

        Int128 product = (Int128)(elements / BlockElements) * BlockBytes;
        bytes = product > long.MaxValue ? 0 : (long)product;
        return product <= long.MaxValue;
    }
}
