using System.Runtime.InteropServices;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Weights with scales of every type, float offsets, codebooks, flattened groups and orders of inputs.</summary>
public class WeightsFormatTests
{
    private const int N = 37, K = 160;

    public static TheoryData<Isa> Levels => IsaTest.Levels;

    public static IEnumerable<WeightsShape> Shapes() =>
    [
        new(ElementType.S8, N, K) { ScaleType = ElementType.BF16 },
        new(ElementType.S4, N, K, 32) { ScaleType = ElementType.F16 },
        new(ElementType.S4, N, K, 32) { IsOrdered = true },
        new(ElementType.U4, N, K, 64) { ScaleType = ElementType.F16, ZeroType = ElementType.F16 },
        new(ElementType.U4, N, K, 48) { ZeroType = ElementType.F32, IsOrdered = true },
        new(ElementType.C4, N, K, 64) { IsFlattened = true },
        new(ElementType.C4, N, K, 16) { ScaleType = ElementType.U8 },
        new(ElementType.C4, N, K, 64) { ScaleType = ElementType.U8, IsFlattened = true },
    ];

    [Theory]
    [MemberData(nameof(Levels))]
    public void What_is_packed_is_unpacked(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach (WeightsShape shape in Shapes())
        {
            var arrays = new Arrays(shape, seed: 1);
            using PackedWeights weights = PackedWeights.Pack(context, shape, arrays.Source);
            using PackedWeights loaded = PackedWeights.Load(context, weights.Save());
            Assert.Equal(shape, loaded.Shape);
            Assert.Equal(PackedWeights.PackedBytesOf(context, shape), loaded.PackedBytes);
            Arrays back = arrays.Empty();
            loaded.Unpack(context, back.Parts);
            Assert.Equal(arrays.All, back.All);
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Products_are_those_of_the_dequantized_weights(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        float[] x = Numbers.Floats(3 * K, seed: 2);
        foreach (WeightsShape shape in Shapes())
        {
            var arrays = new Arrays(shape, seed: 3);
            using PackedWeights weights = PackedWeights.Pack(context, shape, arrays.Source);
            var y = new float[3 * N];
            Gemm.Run(context, weights, 3, Activations.Of<float>(x), new GemmOutput<float>(y));
            for (int i = 0; i < y.Length; i++)
            {
                double exact = 0, magnitude = 0;
                for (int k = 0; k < K; k++)
                {
                    (double product, double offset) = arrays.Weight(i % N, k);
                    exact += x[(i / N * K) + k] * (product + offset);
                    magnitude += Math.Abs(x[(i / N * K) + k]) * (Math.Abs(product) + Math.Abs(offset));
                }

                Assert.InRange(y[i] - exact, -Bound(magnitude), Bound(magnitude));
            }
        }

        static double Bound(double magnitude) => ((K + 8) * Math.ScaleB(magnitude, -24)) + Math.ScaleB(1, -24);
    }

    [Fact]
    public void Floats_become_NF4_as_the_quantizer_makes_it()
    {
        using var context = new KernelContext();
        float[] source = Numbers.Floats(N * K, seed: 4);
        var shape = new WeightsShape(ElementType.C4, N, K, 64) { ScaleType = ElementType.F16 };
        QuantizedTensor expected = Quantizer.Quantize<float>(context, shape.ToQuantizeOptions(), N, K, source);
        using PackedWeights weights = PackedWeights.FromFloat<float>(context, shape, source);
        QuantizedTensor unpacked = weights.Unpack(context);
        Assert.Equal(expected.Codes, unpacked.Codes);
        Assert.Equal(expected.Scales, unpacked.Scales);
        Assert.Equal(Codebook.NF4.Entries, unpacked.Options.Codebook!.Entries);
        using PackedWeights again = PackedWeights.Pack(context, unpacked);
        Assert.Equal(weights.Save(), again.Save());

        var values = new float[N * K];
        Quantizer.Dequantize<float>(context, expected, values);
        for (int i = 0; i < values.Length; i++)
            Assert.True(Math.Abs(values[i] - source[i]) <= 0.16f * expected.Scales[(i / K * 3) + (i % K / 64)], $"element {i}");

        var steps = new Codebook([-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7]);
        using PackedWeights other = PackedWeights.FromFloat<float>(context, shape, source, codebook: steps);
        Assert.Equal(steps.Entries, other.Unpack(context).Options.Codebook!.Entries);
    }

    [Fact]
    public void Floats_become_NF4_with_double_quantized_scales()
    {
        using var context = new KernelContext();
        float[] source = Numbers.Floats(N * K, seed: 6);
        var plain = new WeightsShape(ElementType.C4, N, K, 64);
        QuantizedTensor expected = Quantizer.Quantize<float>(context, plain.ToQuantizeOptions(), N, K, source);
        using PackedWeights weights = PackedWeights.FromFloat<float>(context, plain with { ScaleType = ElementType.U8 }, source);
        var codes = new byte[expected.Codes.Length];
        var scales = new byte[expected.Scales.Length];
        float[] map = new float[256], nested = new float[(scales.Length + 255) / 256], offset = new float[1];
        weights.Unpack(context, new WeightsParts { Codes = codes, Scales = scales, ScaleMap = map, NestedScales = nested, ScaleOffset = offset });
        Assert.Equal(expected.Codes, codes);
        Assert.Equal(expected.Scales.Average(), offset[0], 1e-5f);
        // Neighbours in the map are at most 0.9 / 64 apart.
        for (int i = 0; i < scales.Length; i++)
            Assert.InRange((map[scales[i]] * nested[i / 256]) + offset[0] - expected.Scales[i], -nested[i / 256] / 140, nested[i / 256] / 140);
    }

    [Fact]
    public void QLoRA_takes_its_bits_and_no_more()
    {
        using var context = new KernelContext();
        var shape = new WeightsShape(ElementType.C4, 4096, 4096, 64) { ScaleType = ElementType.U8, IsFlattened = true };
        Assert.InRange(PackedWeights.PackedBytesOf(context, shape) * 8.0 / (4096 * 4096), 4.125, 4.128);
    }

    [Fact]
    public void What_a_shape_does_not_have_is_refused()
    {
        using var context = new KernelContext();
        foreach (WeightsShape shape in Shapes())
        {
            var arrays = new Arrays(shape, seed: 5);
            Assert.Throws<ArgumentException>("source", () => PackedWeights.Pack(context, shape, arrays.With(scales: [])));
            Assert.Throws<ArgumentException>("source", () => PackedWeights.Pack(context, shape, arrays.With(zeroPoints: new int[N * K])));
            Assert.Throws<ArgumentException>(
                "source", () => PackedWeights.Pack(context, shape, arrays.With(codebook: shape.Format == ElementType.C4 ? [] : new float[16])));
            Assert.Throws<ArgumentException>(
                "source", () => PackedWeights.Pack(context, shape, arrays.With(groupIndex: shape.IsOrdered ? [] : new int[K])));
            using PackedWeights weights = PackedWeights.Pack(context, shape, arrays.Source);
            Assert.Throws<ArgumentException>("parts", () => weights.Unpack(context, new WeightsParts { Codes = new byte[N] }));
            Assert.Throws<ArgumentException>("parts", () => weights.Unpack(context, new WeightsParts { Scales = new byte[8] }));
            if (shape.ScaleType != ElementType.F32)
                Assert.Throws<InvalidOperationException>(() => weights.Unpack(context, new byte[N * K], new float[N * K]));
            Assert.Throws<ArgumentException>("shape", () => PackedWeights.Pack(context, shape with { IsOrdered = !shape.IsFlattened }, new byte[N * K], new float[N * K]));
        }
    }

    [Fact]
    public void Shapes_and_groups_that_cannot_be_are_refused()
    {
        using var context = new KernelContext();
        WeightsShape good = new(ElementType.S4, N, K, 32);
        foreach (WeightsShape shape in new[]
            {
                good with { ScaleType = ElementType.S8 }, good with { ZeroType = ElementType.S8 }, good with { IsFlattened = true, IsOrdered = true },
                good with { IsFlattened = true, GroupSize = 0 }, good with { Format = ElementType.C4, ZeroType = ElementType.F32 },
            })
            Assert.Throws<ArgumentOutOfRangeException>("shape", () => PackedWeights.PackedBytesOf(context, shape));

        KernelException split = Assert.Throws<KernelException>(() => PackedWeights.ScaleCountOf(good with { K = 72, GroupSize = 64, IsFlattened = true }));
        Assert.Equal(KernelStatus.Shape, split.Status);
        Assert.Contains("cross rows", split.Message, StringComparison.Ordinal);

        var arrays = new Arrays(good with { IsOrdered = true }, seed: 6);
        int[] crowded = new int[K];
        KernelException sizes = Assert.Throws<KernelException>(
            () => PackedWeights.Pack(context, good with { IsOrdered = true }, arrays.With(groupIndex: crowded)));
        Assert.Equal(KernelStatus.Shape, sizes.Status);

        Assert.Throws<ArgumentException>("entries", () => new Codebook(new float[15]));
        Assert.Throws<ArgumentException>("entries", () => new Codebook([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, float.NaN]));
        Assert.Throws<ArgumentException>("codebook", () => PackedWeights.FromFloat<float>(context, good, new float[N * K], codebook: Codebook.NF4));
        KernelException unsupported = Assert.Throws<KernelException>(
            () => PackedWeights.FromFloat<float>(context, good with { IsOrdered = true }, new float[N * K]));
        Assert.Equal(KernelStatus.Unsupported, unsupported.Status);
    }

    [Fact]
    public void Options_of_codebooks_are_checked()
    {
        using var context = new KernelContext();
        var options = new QuantizeOptions(ElementType.C4, Granularity.Channel);
        var source = new float[32];
        foreach (QuantizeOptions wrong in new[]
            { options with { Asymmetric = true }, options with { Type = ElementType.S4, Codebook = Codebook.NF4 }, options with { ScaleType = ElementType.U8 } })
            Assert.Throws<ArgumentOutOfRangeException>("options", () => Quantizer.Quantize<float>(context, wrong, 1, 32, source));
        Assert.Throws<ArgumentException>("zeroPoints", () => Quantizer.Quantize<float>(context, options, 1, 32, source, new byte[16], new float[1], new int[1]));
        KernelException order = Assert.Throws<KernelException>(() => Quantizer.Quantize<float>(
            context, options with { Codebook = new([1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]) }, 1, 32, source));
        Assert.Equal(KernelStatus.InvalidArgument, order.Status);
    }

    /// <summary>Random content of a shape, as arrays.</summary>
    private sealed class Arrays
    {
        private readonly WeightsShape _shape;
        private readonly byte[] _codes, _scales, _offsets;
        private readonly float[] _codebook, _map, _nested, _scaleOffset;
        private readonly int[] _groupIndex;
        private readonly int _group;

        public Arrays(WeightsShape shape, int seed)
        {
            _shape = shape;
            int count = (int)PackedWeights.ScaleCountOf(shape);
            _group = (int)(shape.GroupSize == 0 ? K : shape.GroupSize);
            _codes = Numbers.Bytes(N * shape.Format.RowBytes(K), seed);
            _scales = Bytes(shape.ScaleType, count, seed);
            _offsets = shape.ZeroType is { } type ? Bytes(type, count, seed + 1) : [];
            _codebook = shape.Format == ElementType.C4 ? Codebook.NF4.Entries.ToArray() : [];
            _map = shape.HasNestedScales ? Numbers.Floats(256, seed) : [];
            _nested = shape.HasNestedScales ? Numbers.Floats((count + 255) / 256, seed + 2) : [];
            _scaleOffset = shape.HasNestedScales ? [0.25f] : [];
            _groupIndex = shape.IsOrdered ? [.. Enumerable.Range(0, K).Select(k => k * 7 % K / _group)] : [];
        }

        private Arrays(Arrays like)
        {
            _shape = like._shape;
            _codes = new byte[like._codes.Length];
            _scales = new byte[like._scales.Length];
            _offsets = new byte[like._offsets.Length];
            _codebook = new float[like._codebook.Length];
            _map = new float[like._map.Length];
            _nested = new float[like._nested.Length];
            _scaleOffset = new float[like._scaleOffset.Length];
            _groupIndex = new int[like._groupIndex.Length];
        }

        public Array[] All => [_codes, _scales, _offsets, _codebook, _map, _nested, _scaleOffset, _groupIndex];

        public WeightsSource Source => With();

        public WeightsParts Parts => new()
        {
            Codes = _codes,
            Scales = _scales,
            ZeroOffsets = _offsets,
            Codebook = _codebook,
            ScaleMap = _map,
            NestedScales = _nested,
            ScaleOffset = _scaleOffset,
            GroupIndex = _groupIndex,
            HighNibbleFirst = _shape.IsFlattened,
        };

        public Arrays Empty() => new(this);

        public WeightsSource With(byte[]? scales = null, int[]? zeroPoints = null, float[]? codebook = null, int[]? groupIndex = null) => new()
        {
            Codes = _codes,
            Scales = scales ?? _scales,
            ZeroPoints = zeroPoints,
            ZeroOffsets = _offsets,
            Codebook = codebook ?? _codebook,
            ScaleMap = _map,
            NestedScales = _nested,
            ScaleOffset = _scaleOffset.FirstOrDefault(),
            GroupIndex = groupIndex ?? _groupIndex,
            HighNibbleFirst = _shape.IsFlattened,
        };

        /// <summary>The part of a weight that its code makes, and its offset.</summary>
        public (double Product, double Offset) Weight(int n, int k)
        {
            int groups = (K + _group - 1) / _group;
            int index = _shape.IsFlattened ? ((n * K) + k) / _group : (n * groups) + (_shape.IsOrdered ? _groupIndex[k] : k / _group);
            double scale = _shape.HasNestedScales
                ? (float)((float)(_map[_scales[index]] * _nested[index / 256]) + _scaleOffset[0])
                : At(_scales, _shape.ScaleType, index);
            return (Code(n, k) * scale, _shape.ZeroType is { } type ? At(_offsets, type, index) : 0);
        }

        private double Code(int n, int k)
        {
            if (_shape.Format == ElementType.S8)
                return (sbyte)_codes[(n * K) + k];
            bool isHigh = k % 2 == 1 != _shape.IsFlattened;
            int nibble = (_codes[((n * K) + k) / 2] >> (isHigh ? 4 : 0)) & 15;
            return _shape.Format switch { ElementType.S4 => (nibble ^ 8) - 8, ElementType.C4 => _codebook[nibble], _ => nibble };
        }

        private static byte[] Bytes(ElementType type, int count, int seed)
        {
            float[] values = Numbers.Floats(count, seed);
            return type switch
            {
                ElementType.U8 => Numbers.Bytes(count, seed),
                ElementType.F16 => MemoryMarshal.AsBytes(Numbers.ToHalf(values).AsSpan()).ToArray(),
                ElementType.BF16 => MemoryMarshal.AsBytes(Array.ConvertAll(values, value => (BFloat16)value).AsSpan()).ToArray(),
                _ => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
            };
        }

        private static double At(byte[] bytes, ElementType type, int index) => type switch
        {
            ElementType.F16 => (double)MemoryMarshal.Cast<byte, Half>(bytes)[index],
            ElementType.BF16 => (float)MemoryMarshal.Cast<byte, BFloat16>(bytes)[index],
            _ => MemoryMarshal.Cast<byte, float>(bytes)[index],
        };
    }
}
