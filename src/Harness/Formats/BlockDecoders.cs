using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Kernels.Harness.Formats;

/// <summary>
/// The decoders of <see cref="TensorType"/>. All formats are little-endian, and so are all machines that the kernels
/// run on. A product is rounded once to binary32, as ggml's own dequantization does, so that the bits agree with it.
/// </summary>
internal static class BlockDecoders
{
    private const int BlockElements = 32;
    private const int ScaleBytes = 2;

    public static void F32(ReadOnlySpan<byte> blocks, Span<float> values) => blocks.CopyTo(MemoryMarshal.AsBytes(values));

    public static void F16(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        ReadOnlySpan<Half> halfs = MemoryMarshal.Cast<byte, Half>(blocks);
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)halfs[i];
        }
    }

    public static void BF16(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        ReadOnlySpan<ushort> bits = MemoryMarshal.Cast<byte, ushort>(blocks);
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = BitConverter.UInt32BitsToSingle((uint)bits[i] << 16);
        }
    }

    public static void I8(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (sbyte)blocks[i];
        }
    }

    /// <summary>Bytes 0..1 d (binary16), 2..33 the codes q; w = d * q.</summary>
    public static void Q8_0(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        while (!values.IsEmpty)
        {
            float scale = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            ReadOnlySpan<byte> codes = blocks.Slice(ScaleBytes, BlockElements);
            for (int i = 0; i < BlockElements; i++)
            {
                values[i] = scale * (sbyte)codes[i];
            }

            blocks = blocks[(ScaleBytes + BlockElements)..];
            values = values[BlockElements..];
        }
    }

    /// <summary>
    /// Bytes 0..1 d (binary16), 2..17 nibbles: byte j has element j low and element j + 16 high; w = d * (q - 8).
    /// </summary>
    public static void Q4_0(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        const int HalfBlock = BlockElements / 2;
        while (!values.IsEmpty)
        {
            float scale = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            ReadOnlySpan<byte> codes = blocks.Slice(ScaleBytes, HalfBlock);
            for (int i = 0; i < HalfBlock; i++)
            {
                values[i] = scale * ((codes[i] & 15) - 8);
                values[i + HalfBlock] = scale * ((codes[i] >> 4) - 8);
            }

            blocks = blocks[(ScaleBytes + HalfBlock)..];
            values = values[BlockElements..];
        }
    }
}
