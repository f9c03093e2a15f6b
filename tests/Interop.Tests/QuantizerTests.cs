using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class QuantizerTests
{
    public static TheoryData<Isa> Levels => IsaTest.Levels;

    private static readonly ElementType[] s_types = [ElementType.S8, ElementType.U8, ElementType.S4, ElementType.U4];

    [Theory]
    [MemberData(nameof(Levels))]
    public void Codes_scales_and_zero_points_are_those_of_the_oracle(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach ((long rows, long cols) in new (long, long)[] { (1, 1), (3, 5), (7, 64), (5, 131), (2, 1000) })
        {
            float[] source = Numbers.Floats(rows * cols, seed: (int)cols);
            foreach (QuantizeOptions options in AllOptions())
            {
                QuantizedTensor expected = Oracle.Quantize(options, rows, cols, source);
                var zeroPoints = new int[expected.Scales.Length];
                var actual = new QuantizedTensor(options, rows, cols, new byte[expected.Codes.Length], new float[expected.Scales.Length], zeroPoints);
                Quantizer.Quantize<float>(context, options, rows, cols, source, actual.Codes, actual.Scales, zeroPoints);

                Assert.Equal(expected.Scales, actual.Scales);
                Assert.Equal(expected.ZeroPoints, zeroPoints);
                Assert.True(expected.Codes.AsSpan().SequenceEqual(actual.Codes), $"{options} {rows}x{cols}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Dequantizing_gives_code_minus_zero_times_scale(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        const int Rows = 3, Cols = 77;
        float[] source = Numbers.Floats(Rows * Cols, seed: 3);
        foreach (QuantizeOptions options in AllOptions())
        {
            QuantizedTensor tensor = Oracle.Quantize(options, Rows, Cols, source);
            var wide = new float[Rows * Cols];
            var half = new Half[Rows * Cols];
            var brain = new BFloat16[Rows * Cols];
            Quantizer.Dequantize<float>(context, tensor, wide);
            Quantizer.Dequantize<Half>(context, tensor, half);
            Quantizer.Dequantize<BFloat16>(context, tensor, brain);
            for (int i = 0; i < wide.Length; i++)
            {
                int block = options.Granularity switch
                {
                    Granularity.Tensor => 0,
                    Granularity.Group => (i / Cols * ((Cols + 15) / 16)) + (i % Cols / 16),
                    _ => i / Cols,
                };
                int code = Oracle.Code(options.Type, tensor.Codes.AsSpan((int)(i / Cols * tensor.CodesStrideBytes)), i % Cols);
                float expected = (code - tensor.ZeroPoints![block]) * tensor.Scales[block];
                Assert.Equal(expected, wide[i]);
                Assert.Equal((Half)expected, half[i]);
                Assert.Equal((BFloat16)expected, brain[i]);
            }
        }
    }

    [Fact]
    public void Half_and_bfloat16_are_widened_exactly()
    {
        using var context = new KernelContext();
        QuantizeOptions options = new(ElementType.S4, Granularity.Group, GroupSize: 32);
        float[] source = Numbers.Floats(4 * 100, seed: 4);
        Half[] half = Numbers.ToHalf(source);
        BFloat16[] brain = Numbers.ToBFloat16(source);
        AssertSame(
            Quantizer.Quantize<float>(context, options, 4, 100, Array.ConvertAll(half, value => (float)value)),
            Quantizer.Quantize<Half>(context, options, 4, 100, half));
        AssertSame(
            Quantizer.Quantize<float>(context, options, 4, 100, Array.ConvertAll(brain, value => (float)value)),
            Quantizer.Quantize<BFloat16>(context, options, 4, 100, brain));
    }

    [Fact]
    public void Padding_is_skipped_in_the_source_and_untouched_in_the_codes()
    {
        using var context = new KernelContext();
        const int Rows = 3, Cols = 33, SourceLd = 40, CodesLd = 20, Width = 17;
        QuantizeOptions options = new(ElementType.U4, Granularity.Channel, Asymmetric: true);
        float[] packed = Numbers.Floats(Rows * Cols, seed: 5);
        float[] padded = Enumerable.Repeat(float.NaN, ((Rows - 1) * SourceLd) + Cols).ToArray();
        for (int row = 0; row < Rows; row++)
            packed.AsSpan(row * Cols, Cols).CopyTo(padded.AsSpan(row * SourceLd));

        QuantizedTensor expected = Quantizer.Quantize<float>(context, options, Rows, Cols, packed);
        byte[] codes = Enumerable.Repeat((byte)0xAA, ((Rows - 1) * CodesLd) + Width).ToArray();
        var scales = new float[Rows];
        var zeroPoints = new int[Rows];
        Quantizer.Quantize<float>(context, options, Rows, Cols, padded, codes, scales, zeroPoints, SourceLd, CodesLd);
        Assert.Equal(expected.Scales, scales);
        Assert.Equal(expected.ZeroPoints, zeroPoints);
        for (int i = 0; i < codes.Length; i++)
            Assert.Equal(i % CodesLd < Width ? expected.Codes[(i / CodesLd * Width) + (i % CodesLd)] : 0xAA, codes[i]);

        float[] target = Enumerable.Repeat(7f, ((Rows - 1) * SourceLd) + Cols).ToArray();
        Quantizer.Dequantize<float>(context, options, Rows, Cols, codes, scales, zeroPoints, target, CodesLd, SourceLd);
        for (int i = 0; i < target.Length; i++)
            Assert.Equal(i % SourceLd >= Cols, target[i] == 7f);
    }

    [Fact]
    public void The_error_is_that_of_the_round_trip()
    {
        using var context = new KernelContext();
        QuantizeOptions options = new(ElementType.S4, Granularity.Group, GroupSize: 16, ClipRatio: 0.9f);
        float[] source = Numbers.Floats(6 * 50, seed: 6);
        QuantizedTensor tensor = Quantizer.Quantize<float>(context, options, 6, 50, source, out QuantizeError error);
        var back = new float[source.Length];
        Quantizer.Dequantize<float>(context, tensor, back);

        double[] differences = source.Zip(back, (x, y) => Math.Abs((double)x - y)).ToArray();
        Assert.Equal(differences.Max(), error.MaxAbsError);
        Assert.Equal(differences.Average(d => d * d), error.MeanSquaredError, 1e-12);
        Assert.Equal(error, Quantizer.QuantizeWithError<float>(context, options, 6, 50, source, tensor.Codes, tensor.Scales));
    }

    [Theory]
    [InlineData(Granularity.Tensor, 0, 1)]
    [InlineData(Granularity.Channel, 0, 10)]
    [InlineData(Granularity.Token, 0, 10)]
    [InlineData(Granularity.Group, 16, 70)]
    [InlineData(Granularity.Group, 100, 10)]
    [InlineData(Granularity.Group, 1000, 10)]
    public void There_is_a_scale_for_every_block(Granularity granularity, long groupSize, long expected) =>
        Assert.Equal(expected, Quantizer.ScaleCount(new(ElementType.S8, granularity, GroupSize: groupSize), 10, 100));

    [Fact]
    public void Empty_matrices_are_fine()
    {
        using var context = new KernelContext();
        foreach (QuantizeOptions options in AllOptions())
        {
            foreach ((long rows, long cols) in new[] { (0L, 100L), (5, 0), (0, 0) })
            {
                QuantizedTensor none = Quantizer.Quantize<float>(context, options, rows, cols, default, out QuantizeError error);
                Assert.Empty(none.Codes);
                Assert.Equal(new float[Quantizer.ScaleCount(options, rows, cols)], none.Scales);
                Assert.Equal(default, error);
                Quantizer.Dequantize<float>(context, none, default);
            }
        }
    }

    [Fact]
    public void The_variant_has_a_name()
    {
        using KernelContext reference = IsaTest.Context(Isa.Reference);
        Assert.Equal("ref", Quantizer.Variant(reference));
    }

    private static IEnumerable<QuantizeOptions> AllOptions() =>
        from type in s_types
        from granularity in Enum.GetValues<Granularity>()
        from asymmetric in new[] { false, true }
        select new QuantizeOptions(type, granularity, asymmetric, GroupSize: 16, ClipRatio: granularity == Granularity.Token ? 0.75f : 1f);

    private static void AssertSame(QuantizedTensor expected, QuantizedTensor actual)
    {
        Assert.Equal(expected.Codes, actual.Codes);
        Assert.Equal(expected.Scales, actual.Scales);
        Assert.Equal(expected.ZeroPoints, actual.ZeroPoints);
    }
}
