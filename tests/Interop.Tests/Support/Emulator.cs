namespace Kernels.Tests.Support;

/// <summary>The device that tests have everywhere.</summary>
internal static class Emulator
{
    /// <summary>A context on the emulator; the test is skipped where it is not.</summary>
    public static CudaContext Open(CudaClass architecture = CudaClass.Auto) =>
        new(CudaDevice.Emulator ?? throw new SkipTestException("there is no library kernels_cuda_emulator."), architecture);

    /// <summary>A buffer that holds values.</summary>
    public static CudaBuffer<T> Copy<T>(this CudaContext context, ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var buffer = new CudaBuffer<T>(context, values.Length);
        buffer.CopyFrom(values);
        return buffer;
    }

    /// <summary>What a buffer holds.</summary>
    public static T[] Read<T>(this CudaBuffer<T> buffer)
        where T : unmanaged
    {
        var values = new T[buffer.Length];
        buffer.CopyTo(values);
        return values;
    }
}
