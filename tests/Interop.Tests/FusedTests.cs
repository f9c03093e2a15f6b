using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Every fused step gives the bits of its parts, on every level.</summary>
public sealed class FusedTests
{
    private const int Rows = 5, Cols = 192;
    private const float Epsilon = 1e-5f;

    private static readonly QuantizeOptions s_perToken = new(ElementType.S8, Granularity.Token);
    private static readonly QuantizeOptions s_perGroup = new(ElementType.S4, Granularity.Group, GroupSize: 32);

    public static TheoryData<Isa> Levels => IsaTest.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public void A_step_that_quantizes_gives_the_codes_of_its_float_result(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        float[] x = Numbers.Floats(Rows * Cols, seed: 1), up = Numbers.Floats(Rows * Cols, seed: 2), weight = Numbers.Floats(Cols, seed: 3);
        float[] bias = Numbers.Floats(Cols, seed: 4);
        foreach (QuantizeOptions options in new[] { s_perToken, s_perGroup })
        {
            Compare(
                context, options,
                codes => Fused.RmsNormQuantize(context, Rows, Cols, new NormInput<float>(x), NormWeights.Of<float>(weight, Epsilon), codes.Of()),
                y => Fused.RmsNorm(context, Rows, Cols, new NormInput<float>(x), NormWeights.Of<float>(weight, Epsilon), y.AsSpan()));
            Compare(
                context, options,
                codes => Fused.LayerNormQuantize(context, Rows, Cols, new NormInput<float>(x), NormWeights.Of<float>(weight, Epsilon, bias), codes.Of()),
                y => Fused.LayerNorm(context, Rows, Cols, new NormInput<float>(x), NormWeights.Of<float>(weight, Epsilon, bias), y.AsSpan()));
            Compare(
                context, options,
                codes => Fused.SiluMulQuantize(context, Rows, Cols, GateInput.Separate<float>(x, up), codes.Of()),
                y => Fused.SiluMul(context, Rows, Cols, GateInput.Separate<float>(x, up), y.AsSpan()));
            Compare(
                context, options,
                codes => Fused.GeluMulQuantize(context, Rows, Cols, GateInput.Separate<float>(x, up), codes.Of(), tanh: true),
                y => Fused.GeluMul(context, Rows, Cols, GateInput.Separate<float>(x, up), y.AsSpan(), tanh: true));
            Compare(
                context, options,
                codes => Fused.SmoothQuantize<float, float>(context, Rows, Cols, x, weight, codes.Of()),
                y => Fused.Multiply<float, float, float>(context, Rows, Cols, x, weight, y));
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void A_norm_is_what_binary64_gives(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        Half[] x = Numbers.ToHalf(Numbers.Floats(Rows * Cols, seed: 5)), residual = Numbers.ToHalf(Numbers.Floats(Rows * Cols, seed: 6));
        BFloat16[] weight = Numbers.ToBFloat16(Numbers.Floats(Cols, seed: 7));
        var sum = new Half[Rows * Cols];
        var y = new float[Rows * Cols];
        Fused.RmsNorm(
            context, Rows, Cols, new NormInput<Half>(x) { Residual = residual, Sum = sum }, NormWeights.Of<BFloat16>(weight, Epsilon), y.AsSpan());
        for (int row = 0; row < Rows; row++)
        {
            double squares = 0;
            for (int i = row * Cols; i < (row + 1) * Cols; i++)
            {
                Assert.Equal((Half)((float)x[i] + (float)residual[i]), sum[i]);
                squares += (double)sum[i] * (double)sum[i];
            }

            for (int i = row * Cols; i < (row + 1) * Cols; i++)
            {
                double expected = (double)sum[i] * (float)weight[i % Cols] / Math.Sqrt((squares / Cols) + Epsilon);
                // Roundings of the sum in lanes, of the root, the division and two products: ten units of 2^-24 at most.
                Assert.InRange(y[i] - expected, -10 * Math.Abs(expected) * Math.Pow(2, -24), 10 * Math.Abs(expected) * Math.Pow(2, -24));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Layouts_of_gate_and_up_give_the_same(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        BFloat16[] gate = Numbers.ToBFloat16(Numbers.Floats(Rows * Cols, seed: 8)), up = Numbers.ToBFloat16(Numbers.Floats(Rows * Cols, seed: 9));
        var halves = new BFloat16[2 * Rows * Cols];
        var interleaved = new BFloat16[2 * Rows * Cols];
        for (int i = 0; i < Rows * Cols; i++)
        {
            int row = i / Cols, col = i % Cols;
            halves[(2 * row * Cols) + col] = interleaved[2 * i] = gate[i];
            halves[(2 * row * Cols) + Cols + col] = interleaved[(2 * i) + 1] = up[i];
        }

        var expected = new float[Rows * Cols];
        var actual = new float[Rows * Cols];
        Fused.SiluMul(context, Rows, Cols, GateInput.Separate<BFloat16>(gate, up), expected.AsSpan());
        for (int i = 0; i < expected.Length; i++)
        {
            double g = (float)gate[i], exact = g / (1 + Math.Exp(-g)) * (float)up[i];
            Assert.InRange(expected[i] - exact, -4e-7 * Math.Abs(exact), 4e-7 * Math.Abs(exact));
        }

        Fused.SiluMul(context, Rows, Cols, GateInput.Halves<BFloat16>(halves), actual.AsSpan());
        Assert.Equal(expected, actual);
        Fused.SiluMul(context, Rows, Cols, GateInput.Interleaved<BFloat16>(interleaved), actual.AsSpan());
        Assert.Equal(expected, actual);
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Rotated_codes_are_those_of_the_rotated_result(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa), reference = IsaTest.Context(Isa.Reference);
        float[] x = Numbers.Floats(Rows * Cols, seed: 10), weight = Numbers.Floats(Cols, seed: 11);
        NormWeights weights = NormWeights.Of<float>(weight, Epsilon);
        var expected = new Buffers(s_perToken);
        var actual = new Buffers(s_perToken);
        // Of 64 elements Sylvester's matrix: entry (i, j) is negative where i & j has an odd number of bits.
        var normed = new float[Rows * Cols];
        Fused.RmsNorm(context, Rows, Cols, new NormInput<float>(x), weights, normed.AsSpan());
        Fused.HadamardQuantize<float>(reference, Rows, Cols, normed, new HadamardOptions(64), expected.Of());
        Fused.RmsNormHadamardQuantize(context, Rows, Cols, new NormInput<float>(x), weights, new HadamardOptions(64), actual.Of());
        Assert.Equal(expected.Codes, actual.Codes);
        Assert.Equal(expected.Scales, actual.Scales);
        for (int i = 0; i < 64; i++)
        {
            double y = 0;
            for (int j = 0; j < 64; j++)
                y += ((int.PopCount(i & j) & 1) == 0 ? normed[j] : -normed[j]) / 8;
            Assert.InRange(((sbyte)actual.Codes[i] * actual.Scales[0]) - y, -0.51 * actual.Scales[0], 0.51 * actual.Scales[0]);
        }
    }

    [Fact]
    public void A_static_scale_is_written_everywhere_and_saturates()
    {
        using var context = new KernelContext();
        float[] x = [1, -1, 0.5f, 300, -300, 0.26f, 0, 2];
        var codes = new byte[8];
        var scales = new float[2];
        Fused.SmoothQuantize<float, float>(
            context, 2, 4, x, new float[] { 1, 1, 1, 1 }, new FusedCodes(s_perToken, codes, scales) { StaticScale = 0.5f });
        Assert.Equal(new sbyte[] { 2, -2, 1, 127, -127, 1, 0, 4 }, Array.ConvertAll(codes, code => (sbyte)code));
        Assert.Equal([0.5f, 0.5f], scales);
    }

    [Fact]
    public void A_row_that_is_not_finite_is_marked_and_the_others_are_right()
    {
        using var context = new KernelContext();
        float[] x = Numbers.Floats(Rows * Cols, seed: 12), weight = Numbers.Floats(Cols, seed: 13);
        var good = new Buffers(s_perToken);
        var bad = new Buffers(s_perToken);
        Fused.RmsNormQuantize(context, Rows, Cols, new NormInput<float>(x), NormWeights.Of<float>(weight, Epsilon), good.Of());
        x[(2 * Cols) + 7] = float.NaN;
        KernelException failure = Assert.Throws<KernelException>(
            () => Fused.RmsNormQuantize(context, Rows, Cols, new NormInput<float>(x), NormWeights.Of<float>(weight, Epsilon), bad.Of()));
        Assert.Equal(KernelStatus.NonFinite, failure.Status);
        Assert.Contains("row 2 ", failure.Message, StringComparison.Ordinal);
        for (int row = 0; row < Rows; row++)
        {
            Assert.Equal(row == 2 ? float.NaN : good.Scales[row], bad.Scales[row]);
            Assert.Equal(row == 2 ? new byte[Cols] : good.Codes[(row * Cols)..((row + 1) * Cols)], bad.Codes[(row * Cols)..((row + 1) * Cols)]);
        }
    }

    private static void Compare(KernelContext context, QuantizeOptions options, Action<Buffers> quantize, Action<float[]> apply)
    {
        var y = new float[Rows * Cols];
        var fused = new Buffers(options);
        apply(y);
        quantize(fused);
        QuantizedTensor expected = Quantizer.Quantize<float>(context, options, Rows, Cols, y);
        Assert.Equal(expected.Scales, fused.Scales);
        Assert.Equal(expected.Codes, fused.Codes);
    }

    private sealed class Buffers(QuantizeOptions options)
    {
        public byte[] Codes { get; } = new byte[Rows * options.Type.RowBytes(Cols)];

        public float[] Scales { get; } = new float[Quantizer.ScaleCount(options, Rows, Cols)];

        public FusedCodes Of() => new(options, Codes, Scales);
    }
}
