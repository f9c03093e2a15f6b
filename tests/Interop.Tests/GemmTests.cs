using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class GemmTests
{
    private const double Eps = 1.0 / (1 << 24);

    private static readonly (long M, long N, long K)[] s_shapes = [(1, 1, 1), (1, 33, 64), (3, 7, 100), (13, 40, 129), (5, 65, 300), (20, 16, 31)];

    private static readonly (ElementType Format, long GroupSize)[] s_weights =
        [(ElementType.S8, 0), (ElementType.S8, 32), (ElementType.S4, 0), (ElementType.S4, 64), (ElementType.U4, 32), (ElementType.U4, 128)];

    public static TheoryData<Isa> Levels => IsaTest.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public void Quantized_activations_give_the_bits_of_the_oracle(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach ((long m, long n, long k) in s_shapes)
        {
            float[] x = Numbers.Floats(m * k, seed: (int)k);
            QuantizedTensor signed = Quantizer.Quantize<float>(context, new(ElementType.S8, Granularity.Token), m, k, x);
            QuantizedTensor unsigned = Quantizer.Quantize<float>(context, new(ElementType.U8, Granularity.Token, Asymmetric: true), m, k, x);
            QuantizedTensor nibbles = Quantizer.Quantize<float>(context, new(ElementType.S4, Granularity.Token), m, k, x);
            foreach ((ElementType format, long groupSize) in s_weights)
            {
                QuantizedTensor w = Weights(context, new(format, n, k, groupSize));
                using PackedWeights packed = PackedWeights.Pack(context, w);
                var y = new float[m * n];
                foreach (QuantizedTensor activations in new[] { signed, unsigned, nibbles })
                {
                    Array.Fill(y, float.NaN);
                    Gemm.Run(context, packed, m, Activations.Of(activations), new GemmOutput<float>(y));
                    for (long i = 0; i < y.Length; i++)
                        Assert.Equal(Oracle.DotExact(w, i % n, activations, i / n), y[i]);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Float_activations_stay_within_the_bound(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach ((long m, long n, long k) in s_shapes)
        {
            float[] x = Numbers.Floats(m * k, seed: (int)k + 1);
            Half[] half = Numbers.ToHalf(x);
            BFloat16[] brain = Numbers.ToBFloat16(x);
            foreach ((ElementType format, long groupSize) in s_weights)
            {
                QuantizedTensor w = Weights(context, new(format, n, k, groupSize));
                using PackedWeights packed = PackedWeights.Pack(context, w);
                AssertNear(w, x, Run(context, packed, m, Activations.Of<float>(x)));
                AssertNear(w, Array.ConvertAll(half, value => (float)value), Run(context, packed, m, Activations.Of<Half>(half)));
                AssertNear(w, Array.ConvertAll(brain, value => (float)value), Run(context, packed, m, Activations.Of<BFloat16>(brain)));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Bias_residual_leading_dimensions_and_output_types_follow_the_contract(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        const int M = 5, N = 19, K = 70, XLd = 80, YLd = 23, ResidualLd = 21;
        QuantizedTensor w = Weights(context, new(ElementType.S4, N, K, 32));
        using PackedWeights packed = PackedWeights.Pack(context, w);
        QuantizedTensor x = Quantizer.Quantize<float>(context, new(ElementType.S8, Granularity.Token), M, K, Numbers.Floats(M * K, seed: 9));
        var apart = new byte[((M - 1) * XLd) + K];
        for (int row = 0; row < M; row++)
            x.Codes.AsSpan(row * K, K).CopyTo(apart.AsSpan(row * XLd));
        float[] bias = Numbers.Floats(N, seed: 10);
        float[] residual = Numbers.Floats(((M - 1) * ResidualLd) + N, seed: 11);

        CheckOutput<float>(value => value, value => value);
        CheckOutput<Half>(value => (Half)value, value => (float)value);
        CheckOutput<BFloat16>(BFloat16.FromSingle, value => value.ToSingle());

        void CheckOutput<T>(Converter<float, T> narrow, Converter<T, float> widen)
            where T : unmanaged
        {
            T[] added = Array.ConvertAll(residual, narrow);
            T[] y = Enumerable.Repeat(narrow(777), ((M - 1) * YLd) + N).ToArray();
            Gemm.Run(
                context, packed, M, Activations.S8(apart, x.Scales, XLd),
                new GemmOutput<T>(y, YLd) { Bias = bias, Residual = added, ResidualLd = ResidualLd });
            for (int i = 0; i < y.Length; i++)
            {
                int m = i / YLd, n = i % YLd;
                float expected = n < N ? Oracle.DotExact(w, n, x, m) + bias[n] + widen(added[(m * ResidualLd) + n]) : 777;
                Assert.Equal(narrow(expected), y[i]);
            }
        }
    }

    [Fact]
    public void The_residual_may_be_the_output()
    {
        using var context = new KernelContext();
        using PackedWeights packed = PackedWeights.FromFloat<float>(context, new(ElementType.S8, 6, 8), Numbers.Floats(48, seed: 1));
        float[] x = Numbers.Floats(16, seed: 2);
        float[] y = Numbers.Floats(12, seed: 3);
        var expected = new float[12];
        Gemm.Run(context, packed, 2, Activations.Of<float>(x), new GemmOutput<float>(expected) { Residual = y.ToArray() });
        Gemm.Run(context, packed, 2, Activations.Of<float>(x), new GemmOutput<float>(y) { Residual = y });
        Assert.Equal(expected, y);
    }

    [Fact]
    public void Input_and_output_may_be_column_blocks_of_one_buffer()
    {
        using var context = new KernelContext();
        using PackedWeights packed = PackedWeights.FromFloat<float>(context, new(ElementType.S8, 6, 8), Numbers.Floats(48, seed: 1));
        float[] x = Numbers.Floats(16, seed: 2);
        var expected = new float[12];
        Gemm.Run(context, packed, 2, Activations.Of<float>(x), new GemmOutput<float>(expected));

        var buffer = new float[2 * 14];
        x.AsSpan(0, 8).CopyTo(buffer);
        x.AsSpan(8, 8).CopyTo(buffer.AsSpan(14));
        Gemm.Run(context, packed, 2, Activations.Of<float>(buffer.AsSpan(0, 22), 14), new GemmOutput<float>(buffer.AsSpan(8), 14));
        Assert.Equal(expected[..6], buffer[8..14]);
        Assert.Equal(expected[6..], buffer[22..]);
    }

    [Fact]
    public void A_callers_workspace_gives_the_same_result()
    {
        using var context = new KernelContext();
        using PackedWeights packed = PackedWeights.FromFloat<float>(context, new(ElementType.S4, 30, 64, 32), Numbers.Floats(30 * 64, seed: 1));
        float[] x = Numbers.Floats(4 * 64, seed: 2);
        var expected = new float[120];
        var actual = new float[120];
        Gemm.Run(context, packed, 4, Activations.Of<float>(x), new GemmOutput<float>(expected));
        using var workspace = new AlignedBuffer(Gemm.WorkspaceBytes(context, packed, ElementType.F32, 4) + 64);
        new Random(1).NextBytes(workspace.Span);
        Gemm.Run(context, packed, 4, Activations.Of<float>(x), new GemmOutput<float>(actual), workspace.Span);
        Assert.Equal(expected, actual);
    }

    [Fact]
    public void Empty_shapes_are_fine()
    {
        using var context = new KernelContext();
        foreach ((long m, long n, long k) in new (long, long, long)[] { (0, 4, 8), (3, 0, 8), (3, 4, 0), (0, 0, 0) })
        {
            using PackedWeights packed = PackedWeights.FromFloat<float>(context, new(ElementType.S8, n, k), new float[n * k]);
            float[] y = Enumerable.Repeat(9f, (int)(m * n)).ToArray();
            float[] bias = Enumerable.Repeat(2f, (int)n).ToArray();
            Gemm.Run(context, packed, m, Activations.Of<float>(new float[m * k]), new GemmOutput<float>(y) { Bias = bias });
            Assert.All(y, value => Assert.Equal(2f, value));
            Gemm.Run(context, packed, m, Activations.S8(new byte[m * k], new float[m]), new GemmOutput<float>(y));
            Assert.All(y, value => Assert.Equal(0f, value));
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Every_cell_is_supported_and_names_its_variant(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        foreach (ElementType format in new[] { ElementType.S8, ElementType.S4, ElementType.U4 })
        {
            foreach (ElementType activation in new[] { ElementType.S8, ElementType.U8, ElementType.S4, ElementType.F32, ElementType.F16, ElementType.BF16 })
            {
                Assert.True(Gemm.IsSupported(context, format, activation));
                Assert.Equal(activation.IsFloat(), Gemm.IsSupported(context, format, activation, ElementType.S8));
                Assert.True(Cpu.TryParseIsa(Gemm.Variant(context, format, activation), out Isa variant));
                Assert.True(variant <= isa);
            }
        }

        Assert.False(Gemm.IsSupported(context, ElementType.F32, ElementType.F32));
        Assert.Null(Gemm.Variant(context, ElementType.S8, ElementType.U4));
        Assert.Null(Gemm.Variant(context, (ElementType)(-1), (ElementType)99));
    }

    private static QuantizedTensor Weights(KernelContext context, WeightsShape shape) =>
        Quantizer.Quantize<float>(context, shape.ToQuantizeOptions(), shape.N, shape.K, Numbers.Floats(shape.N * shape.K, seed: 7));

    private static float[] Run(KernelContext context, PackedWeights weights, long m, Activations activations)
    {
        float[] y = Enumerable.Repeat(float.NaN, (int)(m * weights.Shape.N)).ToArray();
        Gemm.Run(context, weights, m, activations, new GemmOutput<float>(y));
        return y;
    }

    private static void AssertNear(QuantizedTensor weights, float[] x, float[] y)
    {
        for (int i = 0; i < y.Length; i++)
        {
            long m = i / weights.Rows, n = i % weights.Rows;
            (double exact, double magnitude) = Oracle.Dot(weights, n, x.AsSpan((int)(m * weights.Cols)));
            Assert.InRange(y[i], exact - ((weights.Cols + 8) * Eps * magnitude), exact + ((weights.Cols + 8) * Eps * magnitude));
        }
    }
}
