using System.Reflection;
using System.Runtime.InteropServices;
using Kernels.Bindgen;
using Kernels.Native;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>CUDA on machines with and without a device; where memory and streams are needed, on the emulator.</summary>
public class CudaTests
{
    [Fact]
    public void To_ask_for_devices_never_throws()
    {
        Assert.Equal(CudaDevice.Count > 0, CudaDevice.IsAvailable);
        Assert.Equal(CudaDevice.IsAvailable, CudaDevice.UnavailableReason is null);
    }

    [Fact]
    public void A_device_that_is_not_there_is_refused_with_the_reason()
    {
        ArgumentOutOfRangeException failure = Assert.Throws<ArgumentOutOfRangeException>("ordinal", () => CudaDevice.Get(CudaDevice.Count));
        if (CudaDevice.UnavailableReason is { } reason)
            Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("ordinal", () => CudaDevice.Get(-1));
    }

    [Fact]
    public unsafe void The_library_tells_what_kernels_it_holds()
    {
        string info = NativeText.Required(NativeMethods.krn_cuda_build_info());
        Assert.Equal(NativeMethods.krn_cuda_kernel_count() > 0, info.Contains("nvcc", StringComparison.Ordinal));
        Assert.Equal((uint)NativeMethods.KRN_ABI_VERSION, NativeMethods.krn_cuda_abi_version());
    }

    [Fact]
    public void Missing_arguments_are_refused()
    {
        Assert.Throws<ArgumentNullException>("device", () => new CudaContext(null!));
        Assert.Throws<ArgumentNullException>("context", () => new CudaStream(null!));
        Assert.Throws<ArgumentNullException>("context", () => new CudaBuffer<float>(null!, 1));
        Assert.Throws<ArgumentNullException>("context", () => new CudaEvent(null!));
        Assert.Throws<ArgumentNullException>("stream", () => CudaGraph.Capture(null!, _ => { }));
        Assert.Throws<ArgumentNullException>("context", () => new CudaKvCache(null!, new KvCacheOptions(1, 1, 16, 16)));
        Assert.Throws<ArgumentNullException>("context", () => Hadamard.Rotate<float>(null!, new CudaHadamardOptions(2), 1, 2, null!, null!));
        Assert.Throws<ArgumentNullException>("context", () => Fused.RmsNorm<float, float>(null!, 1, 2, default(CudaNormInput<float>), CudaNormWeights.Of<float>(null, 1e-5f), null!));
        Assert.Throws<ArgumentNullException>("context", () => Attention.Run<float, float>(null!, null!, default, default, null!, null!));
        Assert.Throws<ArgumentNullException>("start", () => CudaEvent.ElapsedMilliseconds(null!, null!));
        Assert.Throws<ArgumentOutOfRangeException>("architecture", () => CudaContext.NameOf((CudaClass)7));
        Assert.Equal("sm90a", CudaContext.NameOf(CudaClass.Sm90a));
    }

    /// <summary>The driver of the native tests has what C# calls; check_driver_api compares those names with the toolkit's.</summary>
    [Fact]
    public void The_functions_of_the_driver_are_those_of_its_library()
    {
        string name = OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";
        string path = Path.Combine(
            Repository.Find(AppContext.BaseDirectory), "build", "release", "tests", "native", "cuda", "fake_driver", name);
        if (!File.Exists(path))
            throw new SkipTestException($"there is no {path}: the native tests have not been built.");
        nint library = NativeLibrary.Load(path);
        try
        {
            string[] functions = typeof(CudaDriver).GetMethods(BindingFlags.Static | BindingFlags.Public)
                .Select(method => method.Name)
                .Where(method => method.StartsWith("cu", StringComparison.Ordinal))
                .ToArray();
            Assert.Contains(nameof(CudaDriver.cuGraphLaunch), functions);
            Assert.All(functions, function => Assert.True(NativeLibrary.TryGetExport(library, function, out _), function));
        }
        finally
        {
            NativeLibrary.Free(library);
        }
    }

    [Fact]
    public void The_emulator_is_a_device()
    {
        using CudaContext context = OnEmulator(CudaClass.Auto);
        Assert.True(context.Device.IsEmulator);
        Assert.Null(context.Device.PciBusId);
        Assert.Throws<NotSupportedException>(() => context.MakeCurrent());
        Assert.NotEqual(CudaClass.Auto, context.Class);
        Assert.Null(context.Properties.DriverVersion);
        Assert.True(context.Properties.Multiprocessors > 0);
        Assert.NotEmpty(context.Properties.Name);
        using CudaContext older = OnEmulator(CudaClass.Sm80);
        Assert.Equal(CudaClass.Sm80, older.Class);
        Assert.Throws<ArgumentOutOfRangeException>("architecture", () => OnEmulator((CudaClass)7));
    }

    [Fact]
    public void Buffers_carry_what_is_copied()
    {
        using CudaContext context = OnEmulator(CudaClass.Auto);
        using var stream = new CudaStream(context);
        using var a = new CudaBuffer<short>(context, 5);
        using var b = new CudaBuffer<short>(context, 5);
        short[] read = new short[5];
        a.Fill(0xFF, stream);
        a.CopyFrom([1, 2, 3], start: 1, stream: stream);
        b.CopyFrom(a, stream);
        stream.Synchronize();
        b.CopyTo(read, stream: stream);
        Assert.Equal([-1, 1, 2, 3, -1], read);
        b.CopyTo(read.AsSpan(0, 2), start: 3, stream: stream);
        Assert.Equal([3, -1], read[..2]);
        Assert.Equal(10, a.Bytes);
        Assert.NotEqual(0, a.Address);
        context.Synchronize();
    }

    [Fact]
    public void A_buffer_without_elements_is_one()
    {
        using CudaContext context = OnEmulator(CudaClass.Auto);
        using var nothing = new CudaBuffer<float>(context, 0);
        Assert.Equal(0, nothing.Address);
        nothing.CopyFrom([]);
        nothing.CopyTo([]);
        nothing.Fill(1);
        Assert.Throws<ArgumentException>("source", () => nothing.CopyFrom([1f]));
    }

    [Fact]
    public void Misuse_is_an_exception()
    {
        using CudaContext context = OnEmulator(CudaClass.Auto);
        using CudaContext other = OnEmulator(CudaClass.Auto);
        using var stream = new CudaStream(other);
        using var buffer = new CudaBuffer<int>(context, 4);
        using var foreign = new CudaBuffer<int>(other, 4);
        using var shorter = new CudaBuffer<int>(context, 3);
        Assert.Throws<ArgumentException>("stream", () => buffer.Fill(0, stream));
        Assert.Throws<ArgumentException>("source", () => buffer.CopyFrom(foreign));
        Assert.Throws<ArgumentException>("source", () => buffer.CopyFrom(shorter));
        Assert.Throws<ArgumentException>("source", () => buffer.CopyFrom(new int[5]));
        Assert.Throws<ArgumentException>("destination", () => buffer.CopyTo(new int[4], start: 1));
        Assert.Throws<ArgumentOutOfRangeException>("start", () => buffer.CopyTo([], start: 5));
        Assert.Throws<ArgumentOutOfRangeException>("start", () => buffer.CopyFrom([], start: -1));
        Assert.Throws<ArgumentOutOfRangeException>("length", () => new CudaBuffer<int>(context, -1));
        Assert.Throws<NotSupportedException>(() => new CudaEvent(context));
        Assert.Throws<NotSupportedException>(() => CudaGraph.Capture(stream, _ => { }));
    }

    [Fact]
    public void Whatever_order_things_are_disposed_in_the_context_ends_last()
    {
        CudaContext context = OnEmulator(CudaClass.Auto);
        var buffer = new CudaBuffer<int>(context, 4);
        var stream = new CudaStream(context);
        context.Dispose();
        context.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Fill(0));
        Assert.Throws<ObjectDisposedException>(() => stream.Synchronize());
        Assert.Throws<ObjectDisposedException>(() => new CudaBuffer<int>(context, 4));
        Assert.Throws<ObjectDisposedException>(() => new CudaStream(context));
        stream.Dispose();
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Address);
    }

    private static CudaContext OnEmulator(CudaClass architecture) => Emulator.Open(architecture);
}
