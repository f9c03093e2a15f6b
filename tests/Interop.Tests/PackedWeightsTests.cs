using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class PackedWeightsTests
{
    public static TheoryData<Isa> Levels => IsaTest.Levels;

    public static IEnumerable<WeightsShape> Shapes() =>
        from format in new[] { ElementType.S8, ElementType.S4, ElementType.U4 }
        from size in new (long N, long K, long Group)[] { (1, 1, 0), (5, 7, 16), (33, 100, 32), (64, 129, 0), (40, 256, 64), (3, 1000, 128) }
        select new WeightsShape(format, size.N, size.K, size.Group);

    [Theory]
    [MemberData(nameof(Levels))]
    public void What_is_packed_is_unpacked(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach (WeightsShape shape in Shapes())
        {
            QuantizedTensor tensor = Weights(shape, seed: 1);
            using PackedWeights weights = PackedWeights.Pack(context, tensor);
            Assert.Equal(shape, weights.Shape);
            Assert.Equal(weights.PackedBytes, PackedWeights.PackedBytesOf(context, shape));
            AssertSame(tensor, weights.Unpack(context));
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void What_is_saved_is_loaded(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        foreach (WeightsShape shape in Shapes())
        {
            using PackedWeights weights = PackedWeights.Pack(context, Weights(shape, seed: 2));
            byte[] blob = weights.Save();
            Assert.Equal(weights.BlobBytes, blob.Length);
            using PackedWeights loaded = PackedWeights.Load(context, blob);
            Assert.Equal(shape, loaded.Shape);
            Assert.Equal(blob, loaded.Save());
            AssertSame(weights.Unpack(context), loaded.Unpack(context));
        }
    }

    [Fact]
    public void Floats_are_quantized_as_the_quantizer_does()
    {
        using var context = new KernelContext();
        foreach (WeightsShape shape in Shapes())
        {
            float[] source = Numbers.Floats(shape.N * shape.K, seed: 3);
            QuantizedTensor expected = Quantizer.Quantize<float>(
                context, shape.ToQuantizeOptions(0.9f), shape.N, shape.K, source, out QuantizeError expectedError);
            using PackedWeights weights = PackedWeights.FromFloat<float>(context, shape, source, 0.9f, out QuantizeError error);
            AssertSame(expected, weights.Unpack(context));
            Assert.Equal(expectedError, error);

            using PackedWeights half = PackedWeights.FromFloat<Half>(context, shape, Numbers.ToHalf(source));
            Assert.Equal(shape, half.Shape);
        }
    }

    [Fact]
    public void A_tensor_of_one_scale_gives_channels_of_that_scale()
    {
        using var context = new KernelContext();
        QuantizedTensor tensor = Quantizer.Quantize<float>(
            context, new(ElementType.S8, Granularity.Tensor), 4, 10, Numbers.Floats(40, seed: 4));
        using PackedWeights weights = PackedWeights.Pack(context, tensor);
        QuantizedTensor unpacked = weights.Unpack(context);
        Assert.Equal(tensor.Codes, unpacked.Codes);
        Assert.All(unpacked.Scales, scale => Assert.Equal(tensor.Scales[0], scale));
    }

    [Fact]
    public void Symmetric_U4_has_the_zero_point_of_the_type()
    {
        using var context = new KernelContext();
        QuantizedTensor tensor = Quantizer.Quantize<float>(
            context, new(ElementType.U4, Granularity.Group, GroupSize: 16), 4, 40, Numbers.Floats(160, seed: 5));
        using PackedWeights weights = PackedWeights.Pack(context, tensor);
        Assert.All(weights.Unpack(context).ZeroPoints!, zero => Assert.Equal(8, zero));
    }

    [Fact]
    public void Rows_of_codes_may_be_apart()
    {
        using var context = new KernelContext();
        var shape = new WeightsShape(ElementType.S4, 3, 33);
        QuantizedTensor tensor = Weights(shape, seed: 6);
        var apart = new byte[20 + 20 + 17];
        for (int row = 0; row < 3; row++)
            tensor.Codes.AsSpan(row * 17, 17).CopyTo(apart.AsSpan(row * 20));
        using PackedWeights weights = PackedWeights.Pack(context, shape, apart, tensor.Scales, codesLdBytes: 20);
        AssertSame(tensor, weights.Unpack(context));

        byte[] back = Enumerable.Repeat((byte)0xAA, apart.Length).ToArray();
        weights.Unpack(context, back, tensor.Scales, codesLdBytes: 20);
        for (int i = 0; i < back.Length; i++)
            Assert.Equal(i % 20 < 17 ? apart[i] : 0xAA, back[i]);
    }

    [Fact]
    public void Bits_per_weight_keep_their_promise()
    {
        using var context = new KernelContext();
        Assert.InRange(PackedWeights.PackedBytesOf(context, new(ElementType.S4, 4096, 4096, 128)) * 8.0 / (4096 * 4096), 4, 4.40);
        Assert.InRange(PackedWeights.PackedBytesOf(context, new(ElementType.S8, 4096, 4096)) * 8.0 / (4096 * 4096), 8, 8.1);
    }

    [Fact]
    public void Weights_without_channels_or_inputs_are_fine()
    {
        using var context = new KernelContext();
        foreach (WeightsShape shape in new WeightsShape[] { new(ElementType.S8, 0, 10), new(ElementType.U4, 10, 0, 32), new(ElementType.S4, 0, 0) })
        {
            using PackedWeights weights = PackedWeights.FromFloat<float>(context, shape, default);
            using PackedWeights loaded = PackedWeights.Load(context, weights.Save());
            Assert.Equal(shape, loaded.Shape);
            Assert.Empty(loaded.Unpack(context).Codes);
        }
    }

    [Fact]
    public void Weights_that_nobody_disposes_are_collected()
    {
        using var context = new KernelContext();
        for (int i = 0; i < 20; i++)
            _ = PackedWeights.FromFloat<float>(context, new(ElementType.S8, 8, 8), new float[64]).PackedBytes;
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    /// <summary>Codes of every value of the format, not only those that symmetric quantization gives.</summary>
    private static QuantizedTensor Weights(WeightsShape shape, int seed)
    {
        QuantizeOptions options = shape.ToQuantizeOptions();
        long blocks = Quantizer.ScaleCount(options, shape.N, shape.K);
        byte[] codes = Numbers.Bytes(shape.N * shape.Format.RowBytes(shape.K), seed);
        if (shape.Format.Bits() == 4 && shape.K % 2 != 0)
        {
            for (long row = 1; row <= shape.N; row++)
                codes[(row * shape.Format.RowBytes(shape.K)) - 1] &= 0x0F;
        }

        return new QuantizedTensor(
            options, shape.N, shape.K, codes, Numbers.Floats(blocks, seed), options.Asymmetric ? Numbers.Integers(blocks, 0, 15, seed) : null);
    }

    private static void AssertSame(QuantizedTensor expected, QuantizedTensor actual)
    {
        Assert.Equal(expected.Codes, actual.Codes);
        Assert.Equal(expected.Scales, actual.Scales);
        Assert.Equal(expected.ZeroPoints, actual.ZeroPoints);
    }
}
