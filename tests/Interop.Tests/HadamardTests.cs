using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class HadamardTests
{
    public static TheoryData<Isa> Levels => IsaTest.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public void Rotation_is_the_product_with_the_matrix(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 2);
        foreach (int n in new[] { 1, 2, 12, 64, 80, 128, 172, 384 })
        {
            var matrix = new sbyte[n * n];
            Hadamard.Matrix(n, matrix);
            float[] x = Numbers.Floats(2 * 2 * n, seed: n);
            var y = new float[x.Length];
            byte[] signs = Hadamard.RandomSigns(7, n);
            var options = new HadamardOptions(n) { SignsBefore = signs };
            Hadamard.Rotate<float>(context, options, 2, 2 * n, x, y);
            for (int block = 0; block < 4; block++)
            {
                double magnitudes = 0;
                for (int j = 0; j < n; j++)
                    magnitudes += Math.Abs(x[block * n + j]);
                for (int i = 0; i < n; i++)
                {
                    double sum = 0;
                    for (int j = 0; j < n; j++)
                        sum += matrix[i * n + j] * ((signs[j / 8] >> (j % 8) & 1) != 0 ? -x[block * n + j] : (double)x[block * n + j]);
                    // At most 60 additions on the way from an input to an output of these orders.
                    Assert.True(Math.Abs(y[block * n + i] - sum / Math.Sqrt(n)) <= 62 * Math.ScaleB(1, -24) * magnitudes / Math.Sqrt(n));
                }
            }

            Hadamard.Rotate<float>(context, options with { Inverse = true }, 2, 2 * n, y.AsSpan());
            for (int i = 0; i < x.Length; i++)
                Assert.Equal(x[i], y[i], 1e-3f);
        }
    }

    [Fact]
    public void Narrow_types_round_the_result_of_f32()
    {
        using var context = new KernelContext();
        const int N = 28 * 8;
        Half[] half = Numbers.ToHalf(Numbers.Floats(3 * N, seed: 1));
        BFloat16[] brain = Numbers.ToBFloat16(Numbers.Floats(3 * N, seed: 2));
        float[] wideHalf = Array.ConvertAll(half, value => (float)value), wideBrain = Array.ConvertAll(brain, value => (float)value);
        var options = new HadamardOptions(N, Normalized: true);
        Hadamard.Rotate<float>(context, options, 3, N, wideHalf.AsSpan());
        Hadamard.Rotate<float>(context, options, 3, N, wideBrain.AsSpan());
        Hadamard.Rotate<Half>(context, options, 3, N, half.AsSpan());
        Hadamard.Rotate<BFloat16>(context, options, 3, N, brain.AsSpan());
        Assert.Equal(Array.ConvertAll(wideHalf, value => (Half)value), half);
        Assert.Equal(Array.ConvertAll(wideBrain, value => (BFloat16)value), brain);
    }

    [Fact]
    public void Leading_dimensions_leave_padding_alone()
    {
        using var context = new KernelContext();
        const int N = 64, Ld = 70;
        float[] padded = Numbers.Floats(3 * Ld, seed: 3);
        var target = new float[3 * Ld];
        Array.Fill(target, 5f);
        Hadamard.Rotate<float>(context, new HadamardOptions(32), 3, N, padded, target, Ld, Ld);
        for (int row = 0; row < 3; row++)
        {
            var expected = new float[N];
            Hadamard.Rotate<float>(context, new HadamardOptions(32), 1, N, padded.AsSpan(row * Ld, N), expected);
            Assert.Equal(expected, target[(row * Ld)..(row * Ld + N)]);
            Assert.All(target[(row * Ld + N)..((row + 1) * Ld)], value => Assert.Equal(5f, value));
        }
    }

    [Fact]
    public void Rotated_weights_keep_the_product()
    {
        using var context = new KernelContext();
        const int N = 24, K = 40;
        float[] w = Numbers.Floats(N * K, seed: 4), x = Numbers.Floats(K, seed: 5);
        var rotated = new float[N * K];
        var options = new HadamardOptions(K) { SignsBefore = Hadamard.RandomSigns(9, K) };
        foreach (bool useDouble in new[] { false, true })
        {
            Hadamard.RotateWeights<float>(context, options, null, N, K, w, rotated, useDouble);
            var turned = new float[K];
            Hadamard.Rotate<float>(context, options, 1, K, x, turned);
            for (int row = 0; row < N; row++)
            {
                double expected = 0, actual = 0, xx = 0, ww = 0;
                for (int i = 0; i < K; i++)
                {
                    expected += (double)x[i] * w[row * K + i];
                    actual += (double)turned[i] * rotated[row * K + i];
                    xx += (double)x[i] * x[i];
                    ww += (double)w[row * K + i] * w[row * K + i];
                }

                // Two rotations, 12 roundings each, of sums that are at most sqrt(K) times a norm.
                Assert.True(Math.Abs(actual - expected) <= 24 * Math.ScaleB(1, -24) * Math.Sqrt(K * xx * ww));
            }
        }
    }

    [Fact]
    public void Widths_of_models_are_supported()
    {
        foreach (long n in new long[] { 64, 80, 96, 128, 2880, 3584, 5120, 8640, 10944, 11008, 13824, 14336, 18944, 27648, 28672, 29568, 53248 })
            Assert.True(Hadamard.IsSupported(n), $"{n}");
        foreach (long n in new long[] { long.MinValue, -1, 0, 3, 6, 188, 236, Hadamard.MaxN + 1, long.MaxValue })
            Assert.False(Hadamard.IsSupported(n), $"{n}");
    }

    [Fact]
    public void Misuse_names_the_argument()
    {
        using var context = new KernelContext();
        var x = new float[96];
        var y = new float[96];
        var options = new HadamardOptions(16);
        Assert.Throws<ArgumentNullException>("context", () => Hadamard.Rotate<float>(null!, options, 3, 32, x, y));
        Assert.Throws<ArgumentNullException>("context", () => Hadamard.Variant(null!));
        foreach (long n in new[] { 0, -1, Hadamard.MaxN + 1, long.MinValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>("options", () => Hadamard.Rotate<float>(context, options with { N = n }, 3, 32, x, y));
            Assert.Throws<ArgumentOutOfRangeException>("n", () => Hadamard.RandomSigns(1, n));
            Assert.Throws<ArgumentOutOfRangeException>("n", () => Hadamard.Matrix(n, new sbyte[4]));
        }

        Assert.Throws<ArgumentException>("options.SignsBefore", () => Hadamard.Rotate<float>(context, options with { SignsBefore = new byte[1] }, 3, 32, x, y));
        Assert.Throws<ArgumentException>("options.SignsAfter", () => Hadamard.Rotate<float>(context, options with { SignsAfter = new byte[1] }, 3, 32, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("rows", () => Hadamard.Rotate<float>(context, options, -1, 32, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => Hadamard.Rotate<float>(context, options, 3, -16, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => Hadamard.Rotate<float>(context, options, 3, 24, x, y));
        Assert.Throws<ArgumentException>("source", () => Hadamard.Rotate<float>(context, options, 4, 32, x, new float[128]));
        Assert.Throws<ArgumentException>("target", () => Hadamard.Rotate<float>(context, options, 4, 32, new float[128], y));
        Assert.Throws<ArgumentException>("matrix", () => Hadamard.Rotate<float>(context, options, 4, 32, x.AsSpan()));
        Assert.Throws<ArgumentException>("source", () => Hadamard.Rotate<float>(context, options, long.MaxValue, 32, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("sourceLd", () => Hadamard.Rotate<float>(context, options, 3, 32, x, y, sourceLd: 31));
        Assert.Throws<ArgumentOutOfRangeException>("targetLd", () => Hadamard.Rotate<float>(context, options, 3, 32, x, y, targetLd: -1));
        Assert.Throws<ArgumentException>("target", () => Hadamard.Rotate<float>(context, options, 1, 32, x, x.AsSpan(1)));
        Assert.Throws<ArgumentException>("target", () => Hadamard.Rotate<float>(context, options, 2, 32, x, x, 32, 33));
        Assert.Throws<ArgumentException>("matrix", () => Hadamard.Matrix(12, new sbyte[143]));
        Assert.ThrowsAny<Exception>(() => Hadamard.Rotate<int>(context, options, 1, 16, new int[16], new int[16]));
        KernelException failure = Assert.Throws<KernelException>(() => Hadamard.Rotate<float>(context, new HadamardOptions(24 * 47), 0, 0, x, y));
        Assert.Equal(KernelStatus.Unsupported, failure.Status);

        Assert.Throws<ArgumentException>("input", () => Hadamard.RotateWeights<float>(context, null, null, 4, 4, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("input", () => Hadamard.RotateWeights<float>(context, default(HadamardOptions), null, 4, 4, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("output", () => Hadamard.RotateWeights<float>(context, null, default(HadamardOptions), 4, 4, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("n", () => Hadamard.RotateWeights<float>(context, null, options, 4, 4, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("k", () => Hadamard.RotateWeights<float>(context, options, null, 4, 4, x, y));
        Assert.Throws<ArgumentOutOfRangeException>("n", () => Hadamard.RotateWeights<float>(context, options, null, -4, 16, x, y));
        Assert.Throws<ArgumentException>("weights", () => Hadamard.RotateWeights<float>(context, options, null, 7, 16, x, new float[112]));
        Assert.Throws<ArgumentException>("target", () => Hadamard.RotateWeights<float>(context, options, null, 7, 16, new float[112], y));
        Assert.Throws<ArgumentOutOfRangeException>("weightsLd", () => Hadamard.RotateWeights<float>(context, options, null, 4, 16, x, y, weightsLd: 3));
        Assert.Throws<ArgumentException>("target", () => Hadamard.RotateWeights<float>(context, options, null, 2, 16, x, x.AsSpan(1)));
    }

    [Fact]
    public void Nothing_is_rotated_to_nothing()
    {
        using var context = new KernelContext();
        Hadamard.Rotate<float>(context, new HadamardOptions(16), 0, 32, default, default);
        Hadamard.Rotate<float>(context, new HadamardOptions(16), 3, 0, default, default);
    }
}
