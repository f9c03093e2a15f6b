using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>Device memory with content.</summary>
internal static class DeviceMemory
{
    // What is copied at once, and what it is cut out of, at ever other places, all of them whole elements.
    private const int ChunkBytes = 1 << 16;
    private const int PoolBytes = 1 << 22;
    private const int Step = 7919 * 8;

    /// <summary>A buffer that holds values.</summary>
    public static CudaBuffer<T> Copy<T>(CudaContext context, ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var buffer = new CudaBuffer<T>(context, values.Length);
        buffer.CopyFrom(values);
        return buffer;
    }

    /// <summary>A buffer of zeros.</summary>
    public static CudaBuffer<T> Zeros<T>(CudaContext context, long elements)
        where T : unmanaged
    {
        var buffer = new CudaBuffer<T>(context, elements);
        buffer.Fill(0);
        return buffer;
    }

    /// <summary>Normal values on the host, and now and then an outlier.</summary>
    public static float[] WithOutliers(long count, ulong seed)
    {
        var random = new Xoshiro256(seed, (ulong)count);
        float[] values = new float[count];
        for (long i = 0; i < count; i++)
            values[i] = (float)random.NextNormal() * (i % 61 == 60 ? 20 : 1);
        return values;
    }

    /// <summary>Random bytes, which are also fair codes.</summary>
    public static CudaBuffer<byte> RandomBytes(CudaContext context, long bytes, ulong seed)
    {
        var random = new Xoshiro256(seed, 1);
        byte[] pool = new byte[PoolBytes];
        for (int i = 0; i < pool.Length; i++)
            pool[i] = (byte)random.Next();
        return Filled<byte>(context, bytes, pool);
    }

    /// <summary>Normal values.</summary>
    public static CudaBuffer<T> Normal<T>(CudaContext context, long elements, ulong seed, Func<float, T> convert)
        where T : unmanaged => Filled<T>(context, elements, NormalPool(seed, convert));

    /// <summary>Normal values, for others than this library.</summary>
    public static CudaBuffer<byte> NormalBytes<T>(CudaContext context, long elements, ulong seed, Func<float, T> convert)
        where T : unmanaged => Filled<byte>(context, elements * Unsafe.SizeOf<T>(), MemoryMarshal.AsBytes(NormalPool(seed, convert).AsSpan()));

    private static T[] NormalPool<T>(ulong seed, Func<float, T> convert)
    {
        var random = new Xoshiro256(seed, 2);
        T[] pool = new T[PoolBytes / sizeof(float)];
        for (int i = 0; i < pool.Length; i++)
            pool[i] = convert((float)random.NextNormal());
        return pool;
    }

    private static CudaBuffer<T> Filled<T>(CudaContext context, long elements, ReadOnlySpan<T> pool)
        where T : unmanaged
    {
        var buffer = new CudaBuffer<T>(context, elements);
        int chunk = ChunkBytes / Unsafe.SizeOf<T>(), from = 0;
        for (long at = 0; at < elements; at += chunk)
        {
            buffer.CopyFrom(pool.Slice(from, (int)Math.Min(chunk, elements - at)), at);
            from = (from + Step) % (pool.Length - chunk);
        }

        return buffer;
    }
}
