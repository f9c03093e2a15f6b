using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Kernels.Harness.Formats;

/// <summary>
/// A tensor whose blocks lie one after the other: all of safetensors and GGUF, and llama2.c except its version 2.
/// </summary>
internal sealed class BlockTensor : ModelTensor
{
    // Large enough that a read costs little beside the copy, small enough that the decoder finds the bytes in the L2
    // cache.
    private const int ChunkBytes = 256 * 1024;

    public BlockTensor(
        RandomAccessFile file,
        string name,
        TensorType type,
        long[] shape,
        long elementCount,
        long fileOffset,
        long byteCount)
        : base(file, name, type, shape, elementCount, fileOffset, byteCount)
    {
    }

    private protected override void Decode(BlockDecoder decoder, long firstElement, Span<float> destination)
    {
        if (Type == TensorType.F32)
        {
            File.Read(FileOffset + firstElement * sizeof(float), MemoryMarshal.AsBytes(destination));
            return;
        }

        int blockElements = Type.BlockElements;
        int blocksPerChunk = ChunkBytes / Type.BlockBytes;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(blocksPerChunk * Type.BlockBytes);
        float[] partial = ArrayPool<float>.Shared.Rent(blockElements);
        try
        {
            while (!destination.IsEmpty)
            {
                long block = firstElement / blockElements;
                int skipped = (int)(firstElement % blockElements);
                int wholeBlocks = skipped == 0 ? Math.Min(destination.Length / blockElements, blocksPerChunk) : 0;
                Span<byte> bytes = buffer.AsSpan(0, Math.Max(wholeBlocks, 1) * Type.BlockBytes);
                File.Read(FileOffset + block * Type.BlockBytes, bytes);

                int count;
                if (wholeBlocks > 0)
                {
                    count = wholeBlocks * blockElements;
                    decoder(bytes, destination[..count]);
                }
                else
                {
                    count = Math.Min(blockElements - skipped, destination.Length);
                    decoder(bytes, partial.AsSpan(0, blockElements));
                    partial.AsSpan(skipped, count).CopyTo(destination);
                }

                Debug.Assert(count > 0, "Every turn takes at least one element, or the loop would not end.");
                firstElement += count;
                destination = destination[count..];
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(partial);
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
