using System.Runtime.InteropServices;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class GemmOptionsTests
{
    private const double Eps = 1.0 / (1 << 24);

    private static readonly (long M, long N, long K)[] s_shapes = [(1, 5, 7), (3, 33, 100), (13, 40, 129), (5, 65, 300)];

    private static readonly (ElementType Format, long GroupSize)[] s_weights = [(ElementType.S8, 0), (ElementType.S4, 64), (ElementType.U4, 32)];

    public static TheoryData<Isa> Levels => IsaTest.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public void Quantizing_inside_the_call_gives_the_bits_of_quantizing_before(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach ((long m, long n, long k) in s_shapes)
        {
            float[] x = Numbers.Floats(m * k, seed: (int)k);
            BFloat16[] brain = Numbers.ToBFloat16(x);
            foreach ((ElementType format, long groupSize) in s_weights)
            {
                using PackedWeights packed = PackedWeights.Pack(context, Weights(context, new(format, n, k, groupSize)));
                foreach (ElementType compute in new[] { ElementType.S8, ElementType.U8, ElementType.S4 })
                {
                    QuantizeOptions way = new(compute, Granularity.Token, Asymmetric: compute == ElementType.U8);
                    var options = new GemmOptions { Compute = compute };
                    Assert.Equal(
                        Run(context, packed, m, Activations.Of(Quantizer.Quantize<float>(context, way, m, k, x)), default),
                        Run(context, packed, m, Activations.Of<float>(x), options));
                    Assert.Equal(
                        Run(context, packed, m, Activations.Of(Quantizer.Quantize<BFloat16>(context, way, m, k, brain)), default),
                        Run(context, packed, m, Activations.Of<BFloat16>(brain), options));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Outlier_columns_go_through_binary32(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach ((long m, long n, long k) in s_shapes)
        {
            float[] x = Numbers.Floats(m * k, seed: 3);
            long outlier = k / 2;
            x[((m - 1) * k) + outlier] = 100;
            float[] rest = [.. x];
            for (long row = 0; row < m; row++)
                rest[(row * k) + outlier] = 0;
            Assert.All(rest, value => Assert.InRange(value, -40, 40));
            QuantizedTensor quantized = Quantizer.Quantize<float>(context, new(ElementType.S8, Granularity.Token), m, k, rest);
            foreach ((ElementType format, long groupSize) in s_weights)
            {
                QuantizedTensor w = Weights(context, new(format, n, k, groupSize));
                using PackedWeights packed = PackedWeights.Pack(context, w);
                var dequantized = new float[n * k];
                Quantizer.Dequantize<float>(context, w, dequantized);
                float[] y = Run(context, packed, m, Activations.Of<float>(x), GemmOptions.LlmInt8(outlierThreshold: 40));
                for (long i = 0; i < y.Length; i++)
                {
                    float side = x[(i / n * k) + outlier] * dequantized[(i % n * k) + outlier];
                    Assert.Equal(Oracle.DotExact(w, i % n, quantized, i / n) + side, y[i]);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Columns_fixed_at_packing_give_the_bits_of_columns_found(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach ((long m, long n, long k) in s_shapes)
        {
            float[] x = Numbers.Floats(m * k, seed: 5);
            int[] columns = [0, (int)k / 2, (int)k - 1];
            foreach (int column in columns)
                x[column] = 100;
            foreach ((ElementType format, long groupSize) in s_weights)
            {
                QuantizedTensor w = Weights(context, new(format, n, k, groupSize));
                using PackedWeights packed = PackedWeights.Pack(context, w);
                var shape = packed.Shape with { OutlierCount = columns.Length };
                var source = new WeightsSource
                {
                    Codes = w.Codes,
                    CodesLdBytes = w.CodesStrideBytes,
                    Scales = MemoryMarshal.AsBytes(w.Scales.AsSpan()),
                    ZeroPoints = shape.HasZeroPoints ? w.ZeroPoints : default,
                    OutlierColumns = columns,
                };
                using PackedWeights fixedColumns = PackedWeights.Pack(context, shape, source);
                Assert.Equal(shape, fixedColumns.Shape);
                float[] expected = Run(context, packed, m, Activations.Of<float>(x), GemmOptions.LlmInt8(outlierThreshold: 40));
                Assert.Equal(expected, Run(context, fixedColumns, m, Activations.Of<float>(x), new GemmOptions { Compute = ElementType.S8 }));

                var kept = new float[n * columns.Length];
                var back = new int[columns.Length];
                fixedColumns.Unpack(context, new WeightsParts { OutlierColumns = back, OutlierWeights = MemoryMarshal.AsBytes(kept.AsSpan()) });
                Assert.Equal(columns, back);
                var dequantized = new float[n * k];
                Quantizer.Dequantize<float>(context, w, dequantized);
                for (int i = 0; i < kept.Length; i++)
                    Assert.Equal(dequantized[(i / columns.Length * k) + columns[i % columns.Length]], kept[i]);
            }
        }
    }

    [Fact]
    public void Wrong_outlier_columns_are_refused()
    {
        using var context = new KernelContext();
        var shape = new WeightsShape(ElementType.S8, 2, 20) { OutlierCount = 2 };
        var codes = new byte[40];
        var scales = new byte[8];

        Assert.Throws<ArgumentOutOfRangeException>(() => PackedWeights.ScaleCountOf(shape with { OutlierCount = 21 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => PackedWeights.ScaleCountOf(shape with { OutlierCount = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => PackedWeights.ScaleCountOf(shape with { OutlierType = ElementType.S8 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => PackedWeights.ScaleCountOf(shape with { Format = ElementType.C4 }));
        Assert.Throws<ArgumentException>(() => Pack(shape, [1]));
        Assert.Throws<ArgumentException>(() => Pack(shape with { OutlierCount = 0 }, [1]));
        Assert.Throws<ArgumentException>(() => Pack(shape, [1, 2], new byte[15]));
        Assert.Throws<ArgumentException>(() => Pack(shape with { OutlierCount = 0 }, [], new byte[16]));
        Assert.Throws<ArgumentException>(() => PackedWeights.Pack(context, shape, codes, new float[2]));
        Assert.Equal(KernelStatus.InvalidArgument, Assert.Throws<KernelException>(() => Pack(shape, [2, 1])).Status);
        Assert.Equal(KernelStatus.InvalidArgument, Assert.Throws<KernelException>(() => Pack(shape, [1, 20])).Status);
        byte[] infinite = MemoryMarshal.AsBytes([0, float.PositiveInfinity, 0, 0]).ToArray();
        Assert.Equal(KernelStatus.NonFinite, Assert.Throws<KernelException>(() => Pack(shape, [1, 2], infinite)).Status);
        using PackedWeights packed = Pack(shape, [1, 2]);
        Assert.Throws<ArgumentException>(() => packed.Unpack(context, new WeightsParts { OutlierColumns = new int[1] }));
        Assert.Throws<ArgumentException>(() => packed.Unpack(context, new WeightsParts { OutlierWeights = new byte[15] }));
        Assert.Throws<InvalidOperationException>(() => packed.Unpack(context));
        Assert.Equal(KernelStatus.InvalidArgument, Assert.Throws<KernelException>(() =>
            Run(context, packed, 1, Activations.Of<float>(new float[20]), GemmOptions.LlmInt8())).Status);

        PackedWeights Pack(WeightsShape of, int[] columns, byte[]? kept = null) => PackedWeights.Pack(
            context, of, new WeightsSource { Codes = codes, Scales = scales, OutlierColumns = columns, OutlierWeights = kept });
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void An_adapter_adds_its_term(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        const int Rank = 5;
        foreach ((long m, long n, long k) in s_shapes)
        {
            float[] x = Numbers.Floats(m * k, seed: 4), a = Numbers.Floats(Rank * (k + 1), seed: 5), b = Numbers.Floats(n * (Rank + 2), seed: 6);
            QuantizedTensor w = Weights(context, new(ElementType.S4, n, k, 32));
            using PackedWeights packed = PackedWeights.Pack(context, w);
            float[] y = Run(
                context, packed, m, Activations.Of<float>(x),
                new GemmOptions { Lora = LoraAdapter.Of<float>(a, b, Rank, scale: 0.5f, aLd: k + 1, bLd: Rank + 2) });
            for (long i = 0; i < y.Length; i++)
            {
                ReadOnlySpan<float> row = x.AsSpan((int)(i / n * k), (int)k);
                (double value, double magnitude) = Oracle.Dot(w, i % n, row);
                double bound = (k + 8) * Eps * magnitude;
                for (int j = 0; j < Rank; j++)
                {
                    double p = 0, size = 0;
                    for (int c = 0; c < k; c++)
                    {
                        p += (double)row[c] * a[(j * (k + 1)) + c];
                        size += Math.Abs((double)row[c] * a[(j * (k + 1)) + c]);
                    }

                    double factor = 0.5 * b[(i % n * (Rank + 2)) + j];
                    value += p * factor;
                    bound += ((k / 16.0) + Rank + 12) * Eps * size * Math.Abs(factor);
                }

                Assert.InRange(y[i], value - bound, value + bound);
            }
        }
    }

    [Fact]
    public void Types_of_adapters_and_callers_workspaces_work()
    {
        using var context = new KernelContext();
        const int M = 4, N = 30, K = 64, Rank = 3;
        float[] x = Numbers.Floats(M * K, seed: 1), a = Numbers.Floats(Rank * K, seed: 2), b = Numbers.Floats(N * Rank, seed: 3);
        using PackedWeights packed = PackedWeights.FromFloat<float>(context, new(ElementType.S8, N, K), Numbers.Floats(N * K, seed: 4));
        Half[] halfA = Numbers.ToHalf(a), halfB = Numbers.ToHalf(b);
        float[] wideA = Array.ConvertAll(halfA, value => (float)value), wideB = Array.ConvertAll(halfB, value => (float)value);
        var ofHalf = new GemmOptions { Compute = ElementType.S8, OutlierThreshold = 2, Lora = LoraAdapter.Of<Half>(halfA, halfB, Rank, 2) };
        var ofFloat = new GemmOptions { Compute = ElementType.S8, OutlierThreshold = 2, Lora = LoraAdapter.Of<float>(wideA, wideB, Rank, 2) };
        float[] expected = Run(context, packed, M, Activations.Of<float>(x), ofFloat);
        Assert.Equal(expected, Run(context, packed, M, Activations.Of<float>(x), ofHalf));

        using var workspace = new AlignedBuffer(Gemm.WorkspaceBytes(context, packed, ElementType.F32, M, ofHalf));
        new Random(1).NextBytes(workspace.Span);
        var actual = new float[M * N];
        Gemm.Run(context, packed, M, Activations.Of<float>(x), new GemmOutput<float>(actual), ofHalf, workspace.Span);
        Assert.Equal(expected, actual);
    }

    [Fact]
    public void Wrong_options_are_refused()
    {
        using var context = new KernelContext();
        const int M = 3, N = 4, K = 8, Rank = 2;
        float[] x = new float[M * K], y = new float[M * N], a = new float[Rank * K], b = new float[N * Rank];
        using PackedWeights packed = PackedWeights.FromFloat<float>(context, new(ElementType.S8, N, K), new float[N * K]);
        Refuse(KernelStatus.InvalidArgument, () => Run(new GemmOptions { Compute = ElementType.U4 }));
        Refuse(KernelStatus.InvalidArgument, () => Run(new GemmOptions { Compute = ElementType.F16 }));
        Refuse(KernelStatus.InvalidArgument, () => Run(new GemmOptions { OutlierThreshold = 6 }));
        Refuse(KernelStatus.InvalidArgument, () => Run(GemmOptions.LlmInt8(float.NaN)));
        Refuse(KernelStatus.NonFinite, () => Run(new GemmOptions { Lora = LoraAdapter.Of<float>(a, b, Rank, float.NaN) }));
        Refuse(KernelStatus.InvalidArgument, () => Gemm.Run(
            context, packed, M, Activations.S8(new byte[M * K], new float[M]), new GemmOutput<float>(y), new GemmOptions { Compute = ElementType.S8 }));
        x[^1] = float.PositiveInfinity;
        Array.Fill(y, 7);
        Assert.Contains("activations->data[2, 7]", Refuse(KernelStatus.NonFinite, () => Run(GemmOptions.LlmInt8())).Message, StringComparison.Ordinal);
        Assert.All(y, value => Assert.Equal(7, value));

        Assert.Throws<ArgumentOutOfRangeException>("rank", () => LoraAdapter.Of<float>(a, b, 0, 1).Rank);
        Assert.Throws<NotSupportedException>(() => LoraAdapter.Of<double>(default, default, 1, 1).Rank);
        Assert.Throws<ArgumentException>("options.Lora.A", () => Run(new GemmOptions { Lora = LoraAdapter.Of<float>(a.AsSpan(1), b, Rank, 1) }));
        Assert.Throws<ArgumentException>("options.Lora.B", () => Run(new GemmOptions { Lora = LoraAdapter.Of<float>(a, b.AsSpan(1), Rank, 1) }));
        Assert.Throws<ArgumentOutOfRangeException>(
            "options.Lora.ALd", () => Run(new GemmOptions { Lora = LoraAdapter.Of<float>(a, b, Rank, 1, aLd: K - 1) }));
        Assert.Throws<ArgumentOutOfRangeException>(
            "options.Lora.BLd", () => Run(new GemmOptions { Lora = LoraAdapter.Of<float>(a, b, Rank, 1, bLd: Rank - 1) }));
        ArgumentException overlap = Assert.Throws<ArgumentException>(
            "output.Data", () => Run(new GemmOptions { Lora = LoraAdapter.Of<float>(a, y, Rank, 1) }));
        Assert.Contains("overlaps that of 'options.Lora.B'", overlap.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>("activations", () => Gemm.Run(
            context, packed, M, Activations.S4(new byte[(M * K / 2) - 1], new float[M]), new GemmOutput<float>(y)));

        void Run(GemmOptions options) => Gemm.Run(context, packed, M, Activations.Of<float>(x), new GemmOutput<float>(y), options);

        static KernelException Refuse(KernelStatus status, Action action)
        {
            KernelException failure = Assert.Throws<KernelException>(action);
            Assert.Equal(status, failure.Status);
            return failure;
        }
    }

    private static QuantizedTensor Weights(KernelContext context, WeightsShape shape) =>
        Quantizer.Quantize<float>(context, shape.ToQuantizeOptions(), shape.N, shape.K, Numbers.Floats(shape.N * shape.K, seed: 7));

    private static float[] Run(KernelContext context, PackedWeights weights, long m, Activations activations, GemmOptions options)
    {
        float[] y = Enumerable.Repeat(float.NaN, (int)(m * weights.Shape.N)).ToArray();
        Gemm.Run(context, weights, m, activations, new GemmOutput<float>(y), options);
        return y;
    }
}
