using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Quantization on a device, against the CPU, on the emulator; and that calls on a device allocate nothing on the managed heap.</summary>
public sealed class CudaQuantizerTests : IDisposable
{
    private const int Rows = 3, Cols = 96;

    private readonly KernelContext _host = new(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
    private readonly CudaContext _device = Emulator.Open();
    private readonly float[] _x = Numbers.Floats(Rows * Cols, seed: 1);

    public void Dispose()
    {
        _device.Dispose();
        _host.Dispose();
    }

    [Theory]
    [InlineData(ElementType.S8, Granularity.Token, false)]
    [InlineData(ElementType.U4, Granularity.Group, true)]
    [InlineData(ElementType.S8, Granularity.Tensor, false)]
    public void There_and_back_has_the_bits_of_the_cpu(ElementType type, Granularity granularity, bool asymmetric)
    {
        QuantizeOptions options = new(type, granularity, asymmetric, GroupSize: granularity == Granularity.Group ? 32 : 0);
        QuantizedTensor expected = Quantizer.Quantize<float>(_host, options, Rows, Cols, _x);
        BFloat16[] expectedBack = new BFloat16[Rows * Cols];
        Quantizer.Dequantize<BFloat16>(_host, expected, expectedBack);
        using CudaBuffer<float> x = _device.Copy<float>(_x), scales = new(_device, expected.Scales.Length);
        using CudaBuffer<byte> codes = new(_device, expected.Codes.Length), workspace = new(_device, Quantizer.CudaWorkspaceBytes(options));
        using CudaBuffer<int> zeroPoints = new(_device, expected.Scales.Length);
        using CudaBuffer<BFloat16> back = new(_device, Rows * Cols);
        CudaBuffer<int>? zeros = asymmetric ? zeroPoints : null;
        Quantizer.Quantize(_device, options, Rows, Cols, x, codes, scales, zeros, workspace);
        Quantizer.Dequantize(_device, options, Rows, Cols, codes, scales, zeros, back);
        Assert.Equal(expected.Codes, codes.Read());
        Assert.Equal(expected.Scales, scales.Read());
        Assert.Equal(expectedBack, back.Read());
    }

    [Fact]
    public void Misuse_is_an_exception_that_names_the_parameter()
    {
        QuantizeOptions options = new(ElementType.S8, Granularity.Token), asymmetric = new(ElementType.U8, Granularity.Token, Asymmetric: true);
        using CudaContext other = Emulator.Open();
        using CudaBuffer<byte> codes = new(_device, Rows * Cols), few = new(_device, (Rows * Cols) - 1), foreign = new(other, Rows * Cols);
        using CudaBuffer<float> scales = new(_device, Rows), y = new(_device, Rows * Cols), shorter = new(_device, Rows - 1);
        using CudaStream stream = new(other);
        Assert.Throws<ArgumentNullException>("context", () => Quantizer.Dequantize(null!, options, Rows, Cols, codes, scales, null, y));
        Assert.Throws<ArgumentNullException>("codes", () => Quantizer.Dequantize(_device, options, Rows, Cols, null!, scales, null, y));
        Assert.Throws<ArgumentNullException>("scales", () => Quantizer.Dequantize(_device, options, Rows, Cols, codes, null!, null, y));
        Assert.Throws<ArgumentNullException>("target", () => Quantizer.Dequantize<float>(_device, options, Rows, Cols, codes, scales, null, null!));
        Assert.Throws<ArgumentNullException>("zeroPoints", () => Quantizer.Dequantize(_device, asymmetric, Rows, Cols, codes, scales, null, y));
        Assert.Throws<ArgumentException>("codes", () => Quantizer.Dequantize(_device, options, Rows, Cols, few, scales, null, y));
        Assert.Throws<ArgumentException>("codes", () => Quantizer.Dequantize(_device, options, Rows, Cols, foreign, scales, null, y));
        Assert.Throws<ArgumentException>("scales", () => Quantizer.Dequantize(_device, options, Rows, Cols, codes, shorter, null, y));
        Assert.Throws<ArgumentException>("target", () => Quantizer.Dequantize(_device, options, Rows, Cols, codes, scales, null, scales));
        Assert.Throws<ArgumentException>("target", () => Quantizer.Dequantize(_device, options, Rows, Cols, codes, y, null, y));
        Assert.Throws<ArgumentOutOfRangeException>(
            "targetLd", () => Quantizer.Dequantize(_device, options, Rows, Cols, codes, scales, null, y, targetLd: Cols - 1));
        Assert.Throws<ArgumentException>("stream", () => Quantizer.Dequantize(_device, options, Rows, Cols, codes, scales, null, y, stream));
        Assert.Throws<ArgumentException>("scales", () => Quantizer.Quantize(_device, options, Rows, Cols, y, codes, y));
    }

    [Fact]
    public void Calls_on_a_device_allocate_nothing()
    {
        const int Heads = 2, HeadDim = 32, Width = Heads * HeadDim;
        QuantizeOptions options = new(ElementType.S8, Granularity.Token);
        using CudaBuffer<float> x = _device.Copy<float>(_x), y = new(_device, Rows * Cols), scales = new(_device, Rows), weight = new(_device, Cols);
        using CudaBuffer<byte> codes = new(_device, Rows * Cols);
        using CudaBuffer<int> flags = _device.Copy<int>([0]);
        weight.CopyFrom(_x.AsSpan(0, Cols));
        Allocations.AssertNone(() => Quantizer.Quantize(_device, options, Rows, Cols, x, codes, scales, flags: flags));
        Allocations.AssertNone(() => Quantizer.Dequantize(_device, options, Rows, Cols, codes, scales, null, y));
        Allocations.AssertNone(() => Hadamard.Rotate(_device, new CudaHadamardOptions(32), Rows, Cols, x, y));
        Allocations.AssertNone(() => Fused.RmsNormQuantize(
            _device, Rows, Cols, new CudaNormInput<float>(x), CudaNormWeights.Of(weight, 1e-5f), new CudaFusedCodes(options, codes, scales), flags));

        using CudaKvCache cache = new(_device, new KvCacheOptions(1, Heads, HeadDim, 16) { PageTokens = 16 });
        cache.Tables.CopyFrom([0]);
        cache.Lengths.CopyFrom([1]);
        using CudaBuffer<int> sequences = _device.Copy<int>([0]), starts = _device.Copy<int>([0, 1]);
        using CudaBuffer<float> query = new(_device, Width), result = new(_device, Width);
        CudaKvBatch batch = new(sequences, starts, 1, 1, 1);
        CudaAttentionOptions what = new() { Heads = Heads };
        using CudaBuffer<byte> workspace = new(_device, Attention.WorkspaceBytes(cache, what, batch));
        query.Fill(0);
        Allocations.AssertNone(() => cache.Append(batch, x, x, flags: flags));
        Allocations.AssertNone(() => Attention.Run(_device, cache, what, batch, query, result, workspace: workspace, flags: flags));
        Assert.Equal(0, flags.Read()[0]);
    }

    [Fact]
    public void Changed_keys_and_adapters_allocate_nothing()
    {
        const int Heads = 2, HeadDim = 32, Width = Heads * HeadDim, Rank = 2;
        using CudaBuffer<float> x = _device.Copy<float>(_x), y = new(_device, Rows * Rows);
        using CudaBuffer<int> flags = _device.Copy<int>([0]), sequences = _device.Copy<int>([0]), starts = _device.Copy<int>([0, 1]);
        using CudaKvCache cache = new(_device, new KvCacheOptions(2, Heads, HeadDim, 16)
        {
            PageTokens = 16,
            KeyGranularity = KvGranularity.Channel,
            KeyGroup = 16,
            CenterKeys = true,
            RotateKeys = true,
        });
        using CudaRopeTable rope = new(_device, new RopeTable(new RopeOptions(RopeLayout.Half, HeadDim), 0, 4));
        using CudaBuffer<int> positions = _device.Copy<int>([2]);
        float[] mean = new float[Width];
        cache.Tables.CopyFrom([0]);
        cache.Lengths.CopyFrom([1]);
        CudaKvBatch batch = new(sequences, starts, 1, 1, 1);
        Allocations.AssertNone(() => cache.Append(batch, x, x, rope: rope, positions: positions, flags: flags));
        Allocations.AssertNone(() => cache.SetKeyMean(1, mean));
        Allocations.AssertNone(() => cache.CopyKeyState(0, 1));

        using PackedWeights packed = PackedWeights.FromFloat<float>(_host, new WeightsShape(ElementType.S8, Rows, Cols), _x);
        using CudaPackedWeights weights = new(_device, _host, packed);
        var options = new CudaGemmOptions { Compute = ElementType.S8, Lora = CudaLoraAdapter.Of(x, x, Rank, 1) };
        using CudaBuffer<byte> workspace = new(_device, Gemm.WorkspaceBytes(_device, weights, ElementType.F32, Rows, options));
        Allocations.AssertNone(() => Gemm.Run(
            _device, weights, Rows, CudaActivations.Of(x), new CudaGemmOutput<float>(y), options, workspace, flags));
        Assert.Equal(0, flags.Read()[0]);
    }
}
