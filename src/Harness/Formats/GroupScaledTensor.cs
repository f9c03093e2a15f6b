using System.Buffers;
using System.Runtime.InteropServices;

namespace Kernels.Harness.Formats;

/// <summary>
/// A tensor of llama2.c version 2: all signed bytes first, then one binary32 scale for each group of consecutive
/// elements. w = scale[i / group size] * q[i].
/// </summary>
internal sealed class GroupScaledTensor : ModelTensor
{
    private const int ChunkElements = 64 * 1024;
    private const int ChunkGroups = 16 * 1024;

    private readonly int _groupSize;

    public GroupScaledTensor(
        RandomAccessFile file, string name, int groupSize, TensorType type, long[] shape, long elementCount, long fileOffset)
        : base(file, name, type, shape, elementCount, fileOffset, elementCount + elementCount / groupSize * sizeof(float))
    {
        _groupSize = groupSize;
    }

    private protected override void Decode(BlockDecoder decoder, long firstElement, Span<float> destination)
    {
        byte[] codes = ArrayPool<byte>.Shared.Rent(ChunkElements);
        float[] scales = ArrayPool<float>.Shared.Rent(ChunkGroups + 1);
        try
        {
            while (!destination.IsEmpty)
            {
                // At most ChunkGroups groups begin inside a chunk, and one more may have begun before it.
                int count = (int)Math.Min(Math.Min(destination.Length, ChunkElements), (long)ChunkGroups * _groupSize);
                long firstGroup = firstElement / _groupSize;
                long lastGroup = (firstElement + count - 1) / _groupSize;
                Span<float> groupScales = scales.AsSpan(0, (int)(lastGroup - firstGroup + 1));

                File.Read(FileOffset + firstElement, codes.AsSpan(0, count));
                File.Read(FileOffset + ElementCount + firstGroup * sizeof(float), MemoryMarshal.AsBytes(groupScales));
                Span<float> values = destination[..count];
                decoder(codes.AsSpan(0, count), values);
                int done = 0;
                for (int group = 0; group < groupScales.Length; group++)
                {
                    int end = (int)Math.Min(count, (firstGroup + group + 1) * _groupSize - firstElement);
                    for (; done < end; done++)
                    {
                        values[done] *= groupScales[group];
                    }
                }

                firstElement += count;
                destination = destination[count..];
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(scales);
            ArrayPool<byte>.Shared.Return(codes);
        }
    }
}
