using System.Runtime.InteropServices;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Rotation and fused steps on a device, against the CPU, on the emulator.</summary>
public sealed class CudaFusedTests : IDisposable
{
    private const int Rows = 3, Cols = 192;
    private const float Epsilon = 1e-5f;

    private static readonly QuantizeOptions s_perToken = new(ElementType.S8, Granularity.Token);
    private static readonly QuantizeOptions s_perGroup = new(ElementType.U4, Granularity.Group, Asymmetric: true, GroupSize: 32);

    private readonly KernelContext _host = new(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
    private readonly CudaContext _device = Emulator.Open();
    private readonly float[] _x = Numbers.Floats(Rows * Cols, seed: 1);
    private readonly float[] _other = Numbers.Floats(Rows * Cols, seed: 2);
    private readonly float[] _weight = Numbers.Floats(Cols, seed: 3);
    private readonly float[] _bias = Numbers.Floats(Cols, seed: 4);

    private delegate void HostStep(FusedCodes codes);

    private delegate void DeviceStep(CudaFusedCodes codes, CudaBuffer<int> flags);

    public void Dispose()
    {
        _device.Dispose();
        _host.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_rotation_has_the_bits_of_the_cpu(bool inPlace)
    {
        const int N = 64;
        byte[] signs = Hadamard.RandomSigns(5, N);
        Half[] x = Numbers.ToHalf(_x), expected = new Half[Rows * Cols];
        Hadamard.Rotate<Half>(_host, new HadamardOptions(N) { SignsBefore = signs, SignsAfter = signs }, Rows, Cols, x, expected);
        using CudaBuffer<byte> signsThere = _device.Copy<byte>(signs);
        using CudaBuffer<Half> source = _device.Copy<Half>(x), target = new(_device, Rows * Cols);
        using CudaStream stream = new(_device);
        _device.Synchronize();
        CudaHadamardOptions options = new(N) { SignsBefore = signsThere, SignsAfter = signsThere };
        Hadamard.Rotate(_device, options, Rows, Cols, source, inPlace ? source : target, stream: stream);
        stream.Synchronize();
        Assert.Equal(expected, (inPlace ? source : target).Read());
    }

    [Fact]
    public void A_rotation_by_tensor_cores_is_exact_where_its_sums_are_and_has_the_bits_of_the_cpu_in_f32()
    {
        const int N = 64;
        float[] sums = new float[Rows * Cols];
        // Sums of 64 integers of up to 3 are integers that f16 has.
        float[] x = [.. Enumerable.Range(0, Rows * Cols).Select(i => (float)((i * 7 % 13 % 7) - 3))];
        Hadamard.Rotate<float>(_host, new HadamardOptions(N, Normalized: false), Rows, Cols, x, sums);
        using CudaBuffer<Half> source = _device.Copy<Half>(Numbers.ToHalf(x)), target = new(_device, Rows * Cols);
        CudaHadamardOptions options = new(N, Normalized: false) { TensorCores = true };
        Hadamard.Rotate(_device, options, Rows, Cols, source, target);
        Assert.Equal(Numbers.ToHalf(sums), target.Read());

        float[] expected = new float[Rows * Cols];
        Hadamard.Rotate<float>(_host, new HadamardOptions(N), Rows, Cols, _x, expected);
        using CudaBuffer<float> there = _device.Copy<float>(_x);
        Hadamard.Rotate(_device, new CudaHadamardOptions(N) { TensorCores = true }, Rows, Cols, there, there);
        Assert.Equal(expected, there.Read());
    }

    [Fact]
    public void A_rotation_by_tensor_cores_rounds_otherwise_than_the_cpu()
    {
        // The levels of the CPU round 2^15 + 2^-9 to 2^15, twice, and then nothing is left.
        Half[] x = new Half[64], expected = new Half[64];
        (x[0], x[1], x[2], x[8]) = ((Half)32768, (Half)(1 / 512f), (Half)(1 / 512f), (Half)(-32768));
        Hadamard.Rotate<Half>(_host, new HadamardOptions(64, Normalized: false), 1, 64, x, expected);
        Assert.Equal((Half)0, expected[0]);
        using CudaBuffer<Half> source = _device.Copy<Half>(x), target = new(_device, 64);
        Hadamard.Rotate(_device, new CudaHadamardOptions(64, Normalized: false) { TensorCores = true }, 1, 64, source, target);
        Assert.NotEqual(expected, target.Read());
    }

    [Fact]
    public void Steps_that_quantize_have_the_bits_of_the_cpu()
    {
        using CudaBuffer<float> x = _device.Copy<float>(_x), up = _device.Copy<float>(_other);
        using CudaBuffer<float> weight = _device.Copy<float>(_weight), bias = _device.Copy<float>(_bias);
        CudaNormWeights rms = CudaNormWeights.Of(weight, Epsilon), layer = CudaNormWeights.Of(weight, Epsilon, bias);
        CudaGateInput<float> gate = CudaGateInput.Separate(x, up);
        foreach (QuantizeOptions options in new[] { s_perToken, s_perGroup })
        {
            Compare(
                options, codes => Fused.RmsNormQuantize(_host, Rows, Cols, new NormInput<float>(_x), NormWeights.Of<float>(_weight, Epsilon), codes),
                (codes, flags) => Fused.RmsNormQuantize(_device, Rows, Cols, new CudaNormInput<float>(x), rms, codes, flags));
            Compare(
                options,
                codes => Fused.LayerNormQuantize(_host, Rows, Cols, new NormInput<float>(_x), NormWeights.Of<float>(_weight, Epsilon, _bias), codes),
                (codes, flags) => Fused.LayerNormQuantize(_device, Rows, Cols, new CudaNormInput<float>(x), layer, codes, flags));
            Compare(
                options, codes => Fused.SiluMulQuantize(_host, Rows, Cols, GateInput.Separate<float>(_x, _other), codes),
                (codes, flags) => Fused.SiluMulQuantize(_device, Rows, Cols, gate, codes, flags));
            Compare(
                options, codes => Fused.GeluMulQuantize(_host, Rows, Cols, GateInput.Separate<float>(_x, _other), codes, tanh: true),
                (codes, flags) => Fused.GeluMulQuantize(_device, Rows, Cols, gate, codes, tanh: true, flags));
            Compare(
                options, codes => Fused.SmoothQuantize<float, float>(_host, Rows, Cols, _x, _weight, codes),
                (codes, flags) => Fused.SmoothQuantize(_device, Rows, Cols, x, weight, codes, flags: flags));
            Compare(
                options, codes => Fused.HadamardQuantize<float>(_host, Rows, Cols, _x, new HadamardOptions(Cols), codes),
                (codes, flags) => Fused.HadamardQuantize(_device, Rows, Cols, x, new CudaHadamardOptions(Cols), codes, flags: flags));
            Compare(
                options,
                codes => Fused.RmsNormHadamardQuantize(
                    _host, Rows, Cols, new NormInput<float>(_x), NormWeights.Of<float>(_weight, Epsilon), new HadamardOptions(64), codes),
                (codes, flags) => Fused.RmsNormHadamardQuantize(
                    _device, Rows, Cols, new CudaNormInput<float>(x), rms, new CudaHadamardOptions(64), codes, flags));
            Compare(
                options, codes => Fused.SiluMulHadamardQuantize(_host, Rows, Cols, GateInput.Separate<float>(_x, _other), new HadamardOptions(64), codes),
                (codes, flags) => Fused.SiluMulHadamardQuantize(_device, Rows, Cols, gate, new CudaHadamardOptions(64), codes, flags));
        }
    }

    [Fact]
    public void Steps_with_a_float_result_have_the_bits_of_the_cpu()
    {
        using CudaBuffer<float> x = _device.Copy<float>(_x), up = _device.Copy<float>(_other);
        using CudaBuffer<float> weight = _device.Copy<float>(_weight), y = new(_device, Rows * Cols), sum = new(_device, Rows * Cols);
        float[] expected = new float[Rows * Cols], expectedSum = new float[Rows * Cols];
        NormWeights norm = NormWeights.Of<float>(_weight, Epsilon);
        CudaNormWeights normThere = CudaNormWeights.Of(weight, Epsilon);

        Fused.RmsNorm<float, float>(_host, Rows, Cols, new NormInput<float>(_x) { Residual = _other, Sum = expectedSum }, norm, expected);
        Fused.RmsNorm(_device, Rows, Cols, new CudaNormInput<float>(x) { Residual = up, Sum = sum }, normThere, y);
        Assert.Equal(expected, y.Read());
        Assert.Equal(expectedSum, sum.Read());

        Fused.LayerNorm<float, float>(_host, Rows, Cols, new NormInput<float>(_x), norm, expected);
        Fused.LayerNorm(_device, Rows, Cols, new CudaNormInput<float>(x), normThere, y);
        Assert.Equal(expected, y.Read());

        Fused.SiluMul<float, float>(_host, Rows, Cols / 2, GateInput.Halves<float>(_x), expected);
        Fused.SiluMul(_device, Rows, Cols / 2, CudaGateInput.Halves(x), y);
        Assert.Equal(expected[..(Rows * Cols / 2)], y.Read()[..(Rows * Cols / 2)]);

        Fused.GeluMul<float, float>(_host, Rows, Cols / 2, GateInput.Interleaved<float>(_x), expected);
        Fused.GeluMul(_device, Rows, Cols / 2, CudaGateInput.Interleaved(x), y);
        Assert.Equal(expected[..(Rows * Cols / 2)], y.Read()[..(Rows * Cols / 2)]);

        Fused.Multiply<float, float, float>(_host, Rows, Cols, _x, _weight, expected);
        Fused.Multiply(_device, Rows, Cols, x, weight, x);
        Assert.Equal(expected, x.Read());
    }

    [Fact]
    public void A_row_that_is_not_finite_sets_the_flag()
    {
        _x[Cols] = float.NaN;
        using CudaBuffer<float> x = _device.Copy<float>(_x), scales = new(_device, Rows);
        using CudaBuffer<byte> codes = new(_device, Rows * Cols);
        using CudaBuffer<int> flags = _device.Copy<int>([0]);
        Fused.RmsNormQuantize(
            _device, Rows, Cols, new CudaNormInput<float>(x), CudaNormWeights.Of<float>(null, Epsilon), new CudaFusedCodes(s_perToken, codes, scales), flags);
        Assert.Equal(1, flags.Read()[0]);
        float[] made = scales.Read();
        Assert.Equal([false, true, false], made.Select(float.IsNaN));
    }

    [Fact]
    public void Misuse_is_an_exception_that_names_the_parameter()
    {
        using CudaContext other = Emulator.Open();
        using CudaBuffer<float> x = new(_device, Rows * Cols), y = new(_device, Rows * Cols), shorter = new(_device, (Rows * Cols) - 1);
        using CudaBuffer<float> weight = new(_device, Cols), few = new(_device, Cols - 1), scales = new(_device, Rows), foreign = new(other, Rows * Cols);
        using CudaBuffer<byte> bytes = new(_device, Rows * Cols), signs = new(_device, 7);
        using CudaBuffer<int> none = new(_device, 0);
        using CudaStream stream = new(other);
        CudaHadamardOptions rotation = new(64);
        Assert.Throws<ArgumentNullException>("context", () => Hadamard.Rotate(null!, rotation, Rows, Cols, x, y));
        Assert.Throws<ArgumentNullException>("source", () => Hadamard.Rotate(_device, rotation, Rows, Cols, null!, y));
        Assert.Throws<ArgumentNullException>("target", () => Hadamard.Rotate(_device, rotation, Rows, Cols, x, null!));
        Assert.Throws<ArgumentOutOfRangeException>("options", () => Hadamard.Rotate(_device, default(CudaHadamardOptions), Rows, Cols, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => Hadamard.Rotate(_device, rotation, Rows, Cols - 1, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("rows", () => Hadamard.Rotate(_device, rotation, -1, Cols, x, y));
        Assert.Throws<ArgumentException>("source", () => Hadamard.Rotate(_device, rotation, Rows, Cols, shorter, y));
        Assert.Throws<ArgumentException>("source", () => Hadamard.Rotate(_device, rotation, Rows, Cols, foreign, y));
        Assert.Throws<ArgumentException>("target", () => Hadamard.Rotate(_device, rotation, Rows, Cols, x, shorter));
        Assert.Throws<ArgumentException>("target", () => Hadamard.Rotate(_device, rotation, 2, Cols, x, x, targetLd: Cols + 1));
        Assert.Throws<ArgumentException>("options", () => Hadamard.Rotate(_device, rotation with { SignsAfter = signs }, Rows, Cols, x, y));
        Assert.Throws<ArgumentException>("stream", () => Hadamard.Rotate(_device, rotation, Rows, Cols, x, y, stream: stream));

        CudaNormInput<float> input = new(x);
        CudaNormWeights norm = CudaNormWeights.Of(weight, Epsilon);
        CudaFusedCodes codes = new(s_perToken, bytes, scales);
        Assert.Throws<ArgumentNullException>("context", () => Fused.RmsNorm(null!, Rows, Cols, input, norm, y));
        Assert.Throws<ArgumentNullException>("input.Data", () => Fused.RmsNorm<float, float>(_device, Rows, Cols, default, norm, y));
        Assert.Throws<ArgumentException>("weights", () => Fused.RmsNorm(_device, Rows, Cols, input, default, y));
        Assert.Throws<ArgumentOutOfRangeException>("weights", () => Fused.RmsNorm(_device, Rows, Cols, input, CudaNormWeights.Of(weight, 0), y));
        Assert.Throws<ArgumentException>("weights.Weight", () => Fused.RmsNorm(_device, Rows, Cols, input, CudaNormWeights.Of(few, Epsilon), y));
        Assert.Throws<ArgumentException>("input.Data", () => Fused.RmsNorm(_device, Rows, Cols, new CudaNormInput<float>(shorter), norm, y));
        Assert.Throws<ArgumentException>("input.Data", () => Fused.RmsNorm(_device, Rows, Cols, new CudaNormInput<float>(foreign), norm, y));
        Assert.Throws<ArgumentNullException>(
            "input.Sum", () => Fused.RmsNorm(_device, Rows, Cols, new CudaNormInput<float>(x) { Residual = y }, norm, y));
        Assert.Throws<ArgumentException>("input.Sum", () => Fused.RmsNorm(_device, Rows, Cols, new CudaNormInput<float>(x) { Sum = y }, norm, y));
        Assert.Throws<ArgumentException>(
            "target", () => Fused.RmsNorm(_device, Rows, Cols, new CudaNormInput<float>(x) { Residual = x, Sum = y }, norm, y));
        Assert.Throws<ArgumentException>("target", () => Fused.RmsNorm(_device, Rows, Cols, input, norm, shorter));
        Assert.Throws<ArgumentException>("target", () => Fused.RmsNorm(_device, 2, Cols, input, norm, x, Cols + 1));
        Assert.Throws<ArgumentException>("stream", () => Fused.RmsNorm(_device, Rows, Cols, input, norm, y, stream: stream));
        Assert.Throws<ArgumentException>("codes", () => Fused.RmsNormQuantize(_device, Rows, Cols, input, norm, default));
        Assert.Throws<ArgumentException>("flags", () => Fused.RmsNormQuantize(_device, Rows, Cols, input, norm, codes, none));
        Assert.Throws<ArgumentException>(
            "codes.Scales", () => Fused.RmsNormQuantize(_device, 1, Cols, input, norm, new CudaFusedCodes(s_perToken, bytes, x)));
        Assert.Throws<ArgumentException>(
            "codes.ZeroPoints", () => Fused.RmsNormQuantize(_device, Rows, Cols, input, norm, new CudaFusedCodes(s_perGroup, bytes, y)));
        Assert.Throws<ArgumentException>("rotation", () => Fused.HadamardQuantize(_device, Rows, Cols, x, new CudaHadamardOptions(128), codes));
        Assert.Throws<ArgumentException>("rotation", () => Fused.HadamardQuantize(_device, Rows, Cols, x, rotation with { TensorCores = true }, codes));
        Assert.Throws<ArgumentNullException>("factors", () => Fused.Multiply(_device, Rows, Cols, x, (CudaBuffer<float>)null!, y));
        Assert.Throws<ArgumentNullException>("gate", () => CudaGateInput.Halves<float>(null!));
        Assert.Throws<ArgumentNullException>("up", () => CudaGateInput.Separate(x, null!));
    }

    private void Compare(QuantizeOptions options, HostStep host, DeviceStep device)
    {
        long count = Quantizer.ScaleCount(options, Rows, Cols);
        byte[] codes = new byte[Rows * options.Type.RowBytes(Cols)];
        float[] scales = new float[count];
        int[] zeroPoints = new int[count];
        host(new FusedCodes(options, codes, scales, options.Asymmetric ? zeroPoints : default));
        using CudaBuffer<byte> codesThere = new(_device, codes.Length);
        using CudaBuffer<float> scalesThere = new(_device, count);
        using CudaBuffer<int> zeroPointsThere = _device.Copy<int>(new int[count]), flags = _device.Copy<int>([0]);
        device(new CudaFusedCodes(options, codesThere, scalesThere, options.Asymmetric ? zeroPointsThere : null), flags);
        Assert.Equal(codes, codesThere.Read());
        Assert.Equal(MemoryMarshal.AsBytes(scales.AsSpan()), MemoryMarshal.AsBytes(scalesThere.Read().AsSpan()));
        Assert.Equal(zeroPoints, zeroPointsThere.Read());
        Assert.Equal(0, flags.Read()[0]);
    }
}
