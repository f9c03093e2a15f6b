using System.Runtime.InteropServices;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>GEMM on a device, against the CPU, on the emulator.</summary>
public sealed class CudaGemmTests : IDisposable
{
    private const int M = 5, N = 24, K = 128;

    private readonly KernelContext _host = new(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
    private readonly CudaContext _device = Emulator.Open();

    public void Dispose()
    {
        _device.Dispose();
        _host.Dispose();
    }

    [Theory]
    [InlineData(ElementType.S8, 0, ElementType.S8)]
    [InlineData(ElementType.S4, 64, ElementType.S8)]
    [InlineData(ElementType.U4, 32, ElementType.S8)]
    [InlineData(ElementType.S8, 0, ElementType.U8)]
    [InlineData(ElementType.S4, 0, ElementType.S4)]
    public void Quantized_activations_give_the_bits_of_the_cpu(ElementType format, int group, ElementType type)
    {
        using PackedWeights weights = Weights(format, group);
        QuantizedTensor tensor = Quantizer.Quantize<float>(
            _host, new QuantizeOptions(type, Granularity.Token, Asymmetric: type == ElementType.U8), M, K, Values(M * K, 2));
        float[] bias = Values(N, 3), residual = Values(M * N, 4), expected = new float[M * N];
        Gemm.Run(_host, weights, M, Activations.Of(tensor), new GemmOutput<float>(expected) { Bias = bias, Residual = residual });

        using CudaPackedWeights there = new(_device, _host, weights);
        using CudaBuffer<byte> codes = _device.Copy<byte>(tensor.Codes);
        using CudaBuffer<float> scales = _device.Copy<float>(tensor.Scales);
        using CudaBuffer<int> zeroPoints = _device.Copy<int>(tensor.ZeroPoints ?? new int[M]);
        using CudaBuffer<float> biasThere = _device.Copy<float>(bias), y = _device.Copy<float>(residual);
        using CudaBuffer<byte> workspace = new(_device, Gemm.WorkspaceBytes(_device, there, type, M));
        using CudaStream stream = new(_device);
        CudaActivations x = type switch
        {
            ElementType.S8 => CudaActivations.S8(codes, scales),
            ElementType.S4 => CudaActivations.S4(codes, scales),
            _ => CudaActivations.U8(codes, scales, zeroPoints),
        };
        _device.Synchronize();
        Gemm.Run(_device, there, M, x, new CudaGemmOutput<float>(y) { Bias = biasThere, Residual = y }, workspace: workspace, stream: stream);
        stream.Synchronize();
        Assert.Equal(expected, y.Read());
        Assert.True(Gemm.IsSupported(_device, format, type));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(GemmOptions.DefaultOutlierThreshold)]
    public void Floats_are_quantized_inside_the_call(float threshold)
    {
        using PackedWeights weights = Weights(ElementType.S8, 0);
        float[] x = Values(M * K, 5);
        x[K + 3] = 20;
        BFloat16[] expected = new BFloat16[M * N];
        var options = new GemmOptions { Compute = ElementType.S8, OutlierThreshold = threshold };
        Gemm.Run(_host, weights, M, Activations.Of<float>(x), new GemmOutput<BFloat16>(expected), options);

        var optionsThere = CudaGemmOptions.LlmInt8(threshold);
        using CudaPackedWeights there = new(_device, _host, weights);
        using CudaBuffer<float> source = _device.Copy<float>(x);
        using CudaBuffer<BFloat16> y = new(_device, M * N);
        using CudaBuffer<byte> workspace = new(_device, Gemm.WorkspaceBytes(_device, there, ElementType.F32, M, optionsThere));
        using CudaBuffer<int> flags = _device.Copy<int>([0]);
        Run();
        Assert.Equal(Bits(expected), Bits(y.Read()));
        Assert.Equal(0, flags.Read()[0]);

        x[0] = float.NaN;
        source.CopyFrom(x);
        Run();
        Assert.Equal(1, flags.Read()[0]);

        void Run() => Gemm.Run(
            _device, there, M, CudaActivations.Of(source), new CudaGemmOutput<BFloat16>(y), optionsThere, workspace, flags);
    }

    [Fact]
    public void An_adapter_of_floats_adds_the_bits_of_the_cpu() => CompareAdapter(ElementType.S8, 0, value => value, ElementType.S8);

    [Fact]
    public void An_adapter_of_halves_adds_the_bits_of_the_cpu() => CompareAdapter(ElementType.S4, 64, value => (Half)value, ElementType.S4);

    [Fact]
    public void An_adapter_of_bfloats_adds_the_bits_of_the_cpu() => CompareAdapter(ElementType.U4, 32, BFloat16.FromSingle, ElementType.U8);

    [Fact]
    public void A_wrong_adapter_is_an_exception_that_names_it()
    {
        const int Rank = 3;
        using CudaContext other = Emulator.Open();
        using PackedWeights weights = Weights(ElementType.S8, 0);
        using CudaPackedWeights there = new(_device, _host, weights);
        using CudaBuffer<float> x = _device.Copy<float>(Values(M * K, 1)), y = new(_device, M * N), a = new(_device, Rank * K), b = new(_device, N * Rank);
        using CudaBuffer<float> shortA = new(_device, (Rank * K) - 1), shortB = new(_device, (N * Rank) - 1), foreign = new(other, N * K);
        using CudaBuffer<byte> codes = new(_device, M * K), few = new(_device, 256);
        using CudaBuffer<float> scales = new(_device, M);
        Assert.Throws<ArgumentNullException>("a", () => CudaLoraAdapter.Of(null!, b, Rank, 1));
        Assert.Throws<ArgumentNullException>("b", () => CudaLoraAdapter.Of(a, null!, Rank, 1));
        Assert.Throws<ArgumentOutOfRangeException>("rank", () => CudaLoraAdapter.Of(a, b, 0, 1));
        Assert.Throws<NotSupportedException>(() => CudaLoraAdapter.Of(codes, codes, Rank, 1));
        Assert.Throws<ArgumentException>("options.Lora.A", () => Run(CudaLoraAdapter.Of(shortA, b, Rank, 1)));
        Assert.Throws<ArgumentException>("options.Lora.B", () => Run(CudaLoraAdapter.Of(a, shortB, Rank, 1)));
        Assert.Throws<ArgumentException>("options.Lora.A", () => Run(CudaLoraAdapter.Of(foreign, b, Rank, 1)));
        Assert.Throws<ArgumentException>("options.Lora.B", () => Run(CudaLoraAdapter.Of(a, foreign, Rank, 1)));
        Assert.Throws<ArgumentOutOfRangeException>("options.Lora.ALd", () => Run(CudaLoraAdapter.Of(a, b, Rank, 1, aLd: K - 1)));
        Assert.Throws<ArgumentOutOfRangeException>("options.Lora.BLd", () => Run(CudaLoraAdapter.Of(a, b, Rank, 1, bLd: Rank - 1)));
        Assert.Throws<ArgumentException>("output.Data", () => Run(CudaLoraAdapter.Of(a, y, Rank, 1)));
        Assert.Throws<ArgumentException>("workspace", () => Run(CudaLoraAdapter.Of(a, b, Rank, 1), few));
        Assert.Equal(KernelStatus.NonFinite, Assert.Throws<KernelException>(() => Run(CudaLoraAdapter.Of(a, b, Rank, float.NaN))).Status);
        Assert.Equal(
            KernelStatus.Unsupported,
            Assert.Throws<KernelException>(() => Gemm.WorkspaceBytes(
                _device, there, ElementType.F32, M, new CudaGemmOptions { Compute = ElementType.S8, Lora = CudaLoraAdapter.Of(a, b, 65537, 1) })).Status);
        Assert.Throws<KernelException>(() => Gemm.WorkspaceBytes(
            _device, there, ElementType.S8, M, new CudaGemmOptions { Lora = CudaLoraAdapter.Of(a, b, Rank, 1) }));

        void Run(CudaLoraAdapter lora, CudaBuffer<byte>? space = null)
        {
            var options = new CudaGemmOptions { Compute = ElementType.S8, Lora = lora };
            using CudaBuffer<byte> workspace = new(_device, Gemm.WorkspaceBytes(_device, there, ElementType.F32, M, options));
            Gemm.Run(_device, there, M, CudaActivations.Of(x), new CudaGemmOutput<float>(y), options, space ?? workspace);
        }
    }

    [Fact]
    public void Weights_on_a_device_are_described()
    {
        using PackedWeights weights = Weights(ElementType.U4, 32);
        CudaPackedWeights there = new(_device, _host, weights);
        Assert.Equal(weights.Shape, there.Shape);
        Assert.Same(_device, there.Context);
        Assert.Equal(CudaPackedWeights.DeviceBytesOf(weights), there.DeviceBytes);
        Assert.True(there.DeviceBytes >= N * K / 2);
        there.Dispose();
        there.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Gemm.WorkspaceBytes(_device, there, ElementType.S8, M));
    }

    [Fact]
    public void Misuse_is_an_exception_that_names_the_parameter()
    {
        using CudaContext other = Emulator.Open();
        using PackedWeights weights = Weights(ElementType.S8, 0);
        using CudaPackedWeights there = new(_device, _host, weights), foreignWeights = new(other, _host, weights);
        using CudaBuffer<byte> codes = new(_device, M * K), foreignCodes = new(other, M * K);
        using CudaBuffer<float> scales = new(_device, M), fewScales = new(_device, M - 1), bias = new(_device, N - 1);
        using CudaBuffer<int> zeroPoints = new(_device, M - 1), noFlags = new(_device, 0);
        using CudaBuffer<float> y = new(_device, M * N), shortY = new(_device, (M * N) - 1), floats = new(_device, M * K);
        using CudaBuffer<byte> workspace = new(_device, Gemm.WorkspaceBytes(_device, there, ElementType.S8, M));
        using CudaStream foreignStream = new(other);
        CudaActivations x = CudaActivations.S8(codes, scales);
        CudaGemmOutput<float> output = new(y);

        Assert.Throws<ArgumentNullException>("context", () => new CudaPackedWeights(null!, _host, weights));
        Assert.Throws<ArgumentNullException>("host", () => new CudaPackedWeights(_device, null!, weights));
        Assert.Throws<ArgumentNullException>("weights", () => new CudaPackedWeights(_device, _host, null!));
        Assert.Throws<ArgumentNullException>("weights", () => CudaPackedWeights.DeviceBytesOf(null!));
        Assert.Throws<ArgumentException>("stream", () => new CudaPackedWeights(_device, _host, weights, foreignStream));
        Assert.Throws<ArgumentNullException>("context", () => Gemm.IsSupported((CudaContext)null!, ElementType.S8, ElementType.S8));
        Assert.Throws<ArgumentNullException>("context", () => Gemm.WorkspaceBytes(null!, there, ElementType.S8, M));
        Assert.Throws<ArgumentOutOfRangeException>("m", () => Gemm.WorkspaceBytes(_device, there, ElementType.S8, -1));
        Assert.Throws<ArgumentNullException>("context", () => Gemm.Run(null!, there, M, x, output));
        Assert.Throws<ArgumentNullException>("weights", () => Gemm.Run(_device, null!, M, x, output));
        Assert.Throws<ArgumentOutOfRangeException>("m", () => Gemm.Run(_device, there, -1, x, output));
        Assert.Throws<ArgumentException>("activations", () => Gemm.Run(_device, there, M + 1, x, output));
        Assert.Throws<ArgumentException>("weights", () => Gemm.Run(_device, foreignWeights, M, x, output));
        Assert.Throws<ArgumentException>("activations", () => Gemm.Run(_device, there, M, default, output));
        Assert.Throws<ArgumentException>("activations", () => Gemm.Run(_device, there, M, CudaActivations.S8(foreignCodes, scales), output));
        Assert.Throws<ArgumentException>("activations.Scales", () => Gemm.Run(_device, there, M, CudaActivations.S8(codes, fewScales), output));
        Assert.Throws<ArgumentException>(
            "activations.ZeroPoints", () => Gemm.Run(_device, there, M, CudaActivations.U8(codes, scales, zeroPoints), output));
        Assert.Throws<ArgumentOutOfRangeException>(
            "activations.Ld", () => Gemm.Run(_device, there, M, CudaActivations.S8(codes, scales, K - 1), output));
        Assert.Throws<ArgumentException>("output", () => Gemm.Run<float>(_device, there, M, x, default));
        Assert.Throws<ArgumentException>("output.Data", () => Gemm.Run(_device, there, M, x, new CudaGemmOutput<float>(shortY)));
        Assert.Throws<ArgumentOutOfRangeException>("output.Ld", () => Gemm.Run(_device, there, M, x, new CudaGemmOutput<float>(y, N - 1)));
        Assert.Throws<ArgumentException>("output.Bias", () => Gemm.Run(_device, there, M, x, new CudaGemmOutput<float>(y) { Bias = bias }));
        Assert.Throws<ArgumentException>(
            "output.Residual", () => Gemm.Run(_device, there, M, x, new CudaGemmOutput<float>(y) { Residual = shortY }));
        Assert.Throws<ArgumentException>(
            "output.Data", () => Gemm.Run(_device, there, 1, CudaActivations.S8(codes, y), output, workspace: workspace));
        Assert.Throws<ArgumentException>("flags", () => Gemm.Run(_device, there, M, x, output, workspace: workspace, flags: noFlags));
        Assert.Throws<ArgumentException>("stream", () => Gemm.Run(_device, there, M, x, output, stream: foreignStream));
        Assert.Throws<ArgumentException>(
            "workspace",
            () => Gemm.Run(_device, there, M, CudaActivations.Of(floats), output, new CudaGemmOptions { Compute = ElementType.S8 }));
        Assert.Throws<ArgumentNullException>("data", () => CudaActivations.Of<float>(null!));
        Assert.Throws<ArgumentNullException>("codes", () => CudaActivations.S4(null!, scales));
        Assert.Throws<ArgumentNullException>("scales", () => CudaActivations.S8(codes, null!));
        Assert.Throws<ArgumentNullException>("zeroPoints", () => CudaActivations.U8(codes, scales, null!));
        KernelException failure = Assert.Throws<KernelException>(() => Gemm.Run(_device, there, M, CudaActivations.Of(floats), output));
        Assert.Equal(KernelStatus.Unsupported, failure.Status);
        Gemm.Run(_device, there, 0, x, output, workspace: workspace);
    }

    // Activations and adapter of one type, with padding behind the rows of the latter.
    private void CompareAdapter<T>(ElementType format, long group, Converter<float, T> convert, ElementType compute)
        where T : unmanaged
    {
        const int Rank = 5, ALd = K + 3, BLd = Rank + 2;
        const float Scale = 0.5f;
        using PackedWeights weights = Weights(format, group);
        T[] x = Array.ConvertAll(Values(M * K, 5), convert), a = Array.ConvertAll(Values(Rank * ALd, 6), convert);
        T[] b = Array.ConvertAll(Values(N * BLd, 7), convert);
        float[] expected = new float[M * N], plain = new float[M * N];
        Gemm.Run(_host, weights, M, Activations.Of<T>(x), new GemmOutput<float>(plain), new GemmOptions { Compute = compute });
        Gemm.Run(
            _host, weights, M, Activations.Of<T>(x), new GemmOutput<float>(expected),
            new GemmOptions { Compute = compute, Lora = LoraAdapter.Of<T>(a, b, Rank, Scale, ALd, BLd) });
        Assert.NotEqual(plain, expected);

        using CudaPackedWeights there = new(_device, _host, weights);
        using CudaBuffer<T> source = _device.Copy<T>(x), aThere = _device.Copy<T>(a), bThere = _device.Copy<T>(b);
        using CudaBuffer<float> y = new(_device, M * N);
        var options = new CudaGemmOptions { Compute = compute, Lora = CudaLoraAdapter.Of(aThere, bThere, Rank, Scale, ALd, BLd) };
        ElementType type = CudaActivations.Of(source).Type;
        using CudaBuffer<byte> workspace = new(_device, Gemm.WorkspaceBytes(_device, there, type, M, options));
        Gemm.Run(_device, there, M, CudaActivations.Of(source), new CudaGemmOutput<float>(y), options, workspace);
        Assert.Equal(expected, y.Read());
    }

    private static float[] Values(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (2 * random.NextSingle()) - 1)];
    }

    private static byte[] Bits(BFloat16[] values) => MemoryMarshal.AsBytes(values.AsSpan()).ToArray();

    private PackedWeights Weights(ElementType format, long group) =>
        PackedWeights.FromFloat<float>(_host, new WeightsShape(format, N, K, group), Values(N * K, 1));
}
