using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public sealed class PackedWeightsMisuseTests : IDisposable
{
    private static readonly WeightsShape s_s8 = new(ElementType.S8, 3, 20);
    private static readonly WeightsShape s_u4 = new(ElementType.U4, 3, 20, 16);

    private readonly KernelContext _context = new();
    private readonly byte[] _codes = new byte[60];
    private readonly float[] _scales = [1, 1, 1, 1, 1, 1];
    private readonly int[] _zeroPoints = new int[6];

    public void Dispose() => _context.Dispose();

    [Fact]
    public void Shapes_out_of_range_are_refused()
    {
        WeightsShape[] wrong =
        [
            default,
            s_s8 with { Format = ElementType.U8 },
            s_s8 with { Format = ElementType.F32 },
            s_s8 with { N = -1 },
            s_s8 with { K = long.MinValue },
            s_s8 with { GroupSize = 15 },
            s_s8 with { GroupSize = -1 },
        ];
        foreach (WeightsShape shape in wrong)
        {
            Assert.Throws<ArgumentOutOfRangeException>("shape", () => PackedWeights.PackedBytesOf(_context, shape));
            Assert.Throws<ArgumentOutOfRangeException>("shape", () => PackedWeights.Pack(_context, shape, _codes, _scales));
            Assert.Throws<ArgumentOutOfRangeException>("shape", () => PackedWeights.FromFloat<float>(_context, shape, new float[60]));
        }
    }

    [Theory]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(1L << 40, 1L << 40)]
    [InlineData(3, long.MaxValue)]
    public void Shapes_that_overflow_are_refused(long n, long k)
    {
        WeightsShape shape = new(ElementType.S4, n, k, 32);
        Assert.Equal(KernelStatus.Shape, Assert.Throws<KernelException>(() => PackedWeights.PackedBytesOf(_context, shape)).Status);
        Assert.True(Record.Exception(() => PackedWeights.Pack(_context, shape, _codes, _scales)) is ArgumentException or KernelException);
        Assert.True(Record.Exception(() => PackedWeights.FromFloat<float>(_context, shape, new float[60])) is ArgumentException or KernelException);
    }

    [Fact]
    public void Spans_that_do_not_fit_are_refused()
    {
        Assert.Throws<ArgumentException>("codes", () => PackedWeights.Pack(_context, s_s8, _codes.AsSpan(1), _scales));
        Assert.Throws<ArgumentException>("scales", () => PackedWeights.Pack(_context, s_s8, _codes, _scales.AsSpan(4)));
        Assert.Throws<ArgumentException>("zeroPoints", () => PackedWeights.Pack(_context, s_u4, _codes, _scales));
        Assert.Throws<ArgumentException>("zeroPoints", () => PackedWeights.Pack(_context, s_u4, _codes, _scales, _zeroPoints.AsSpan(1)));
        Assert.Throws<ArgumentException>("zeroPoints", () => PackedWeights.Pack(_context, s_s8, _codes, _scales, _zeroPoints));
        Assert.Throws<ArgumentOutOfRangeException>("codesLdBytes", () => PackedWeights.Pack(_context, s_s8, _codes, _scales, codesLdBytes: 19));
        Assert.Throws<ArgumentException>("source", () => PackedWeights.FromFloat<float>(_context, s_s8, new float[59]));
        Assert.Throws<ArgumentOutOfRangeException>("sourceLd", () => PackedWeights.FromFloat<float>(_context, s_s8, new float[60], sourceLd: 19));
        Assert.Throws<ArgumentOutOfRangeException>("clipRatio", () => PackedWeights.FromFloat<float>(_context, s_s8, new float[60], clipRatio: 2));
        Assert.Throws<ArgumentOutOfRangeException>("clipRatio", () => PackedWeights.FromFloat<float>(_context, s_s8, new float[60], float.NaN, out _));
        Assert.Throws<NotSupportedException>(() => PackedWeights.FromFloat<double>(_context, s_s8, new double[60]));

        using PackedWeights weights = PackedWeights.Pack(_context, s_u4, _codes, _scales, _zeroPoints);
        Assert.Throws<ArgumentException>("codes", () => weights.Unpack(_context, _codes.AsSpan(31), _scales));
        Assert.Throws<ArgumentException>("scales", () => weights.Unpack(_context, _codes, _scales.AsSpan(1)));
        Assert.Throws<ArgumentException>("zeroPoints", () => weights.Unpack(_context, _codes, _scales, _zeroPoints.AsSpan(1)));
        Assert.Throws<ArgumentOutOfRangeException>("codesLdBytes", () => weights.Unpack(_context, _codes, _scales, codesLdBytes: 9));
        Assert.Throws<ArgumentException>("blob", () => weights.Save(new byte[weights.BlobBytes - 1]));

        using PackedWeights signed = PackedWeights.Pack(_context, s_s8, _codes, _scales);
        Assert.Throws<ArgumentException>("zeroPoints", () => signed.Unpack(_context, _codes, _scales, _zeroPoints));
    }

    [Fact]
    public void Values_out_of_range_are_refused()
    {
        _scales[2] = float.NaN;
        Assert.Equal(KernelStatus.NonFinite, Assert.Throws<KernelException>(() => PackedWeights.Pack(_context, s_s8, _codes, _scales)).Status);
        _scales[2] = 1;
        _zeroPoints[5] = 16;
        Assert.Equal(
            KernelStatus.InvalidArgument,
            Assert.Throws<KernelException>(() => PackedWeights.Pack(_context, s_u4, _codes, _scales, _zeroPoints)).Status);
        float[] source = new float[60];
        source[59] = float.NegativeInfinity;
        Assert.Equal(KernelStatus.NonFinite, Assert.Throws<KernelException>(() => PackedWeights.FromFloat<float>(_context, s_s8, source)).Status);
    }

    [Fact]
    public void Tensors_that_weights_cannot_be_are_refused()
    {
        var bytes = new QuantizedTensor(new(ElementType.U8, Granularity.Channel), 3, 20, _codes, _scales);
        var asymmetric = new QuantizedTensor(new(ElementType.S8, Granularity.Channel, Asymmetric: true), 3, 20, _codes, _scales, _zeroPoints);
        Assert.Throws<ArgumentException>("tensor", () => PackedWeights.Pack(_context, bytes));
        Assert.Throws<ArgumentException>("tensor", () => PackedWeights.Pack(_context, asymmetric));
    }

    [Fact]
    public void Null_and_disposed_are_refused()
    {
        Assert.Throws<ArgumentNullException>("context", () => PackedWeights.PackedBytesOf(null!, s_s8));
        Assert.Throws<ArgumentNullException>("context", () => PackedWeights.Pack(null!, s_s8, _codes, _scales));
        Assert.Throws<ArgumentNullException>("tensor", () => PackedWeights.Pack(_context, null!));
        Assert.Throws<ArgumentNullException>("context", () => PackedWeights.FromFloat<float>(null!, s_s8, new float[60]));
        Assert.Throws<ArgumentNullException>("context", () => PackedWeights.Load(null!, new byte[64]));

        PackedWeights weights = PackedWeights.Pack(_context, s_s8, _codes, _scales);
        Assert.Throws<ArgumentNullException>("context", () => weights.Unpack(null!, _codes, _scales));
        weights.Dispose();
        weights.Dispose();
        Assert.Equal(s_s8, weights.Shape);
        Assert.Throws<ObjectDisposedException>(weights.Save);
        Assert.Throws<ObjectDisposedException>(() => weights.Unpack(_context));
        Assert.Throws<ObjectDisposedException>(() => Gemm.WorkspaceBytes(_context, weights, ElementType.F32, 1));
        Assert.Throws<ObjectDisposedException>(
            () => Gemm.Run(_context, weights, 1, Activations.Of<float>(new float[20]), new GemmOutput<float>(new float[3])));
    }

    [Fact]
    public void Every_truncated_blob_is_refused()
    {
        using PackedWeights weights = PackedWeights.Pack(_context, s_u4, _codes, _scales, _zeroPoints);
        byte[] blob = weights.Save();
        for (int length = 0; length < blob.Length; length += length < 80 ? 1 : 61)
        {
            KernelException failure = Assert.Throws<KernelException>(() => PackedWeights.Load(_context, blob.AsSpan(0, length)));
            Assert.Equal(KernelStatus.BlobFormat, failure.Status);
        }

        Assert.Equal(
            KernelStatus.BlobFormat, Assert.Throws<KernelException>(() => PackedWeights.Load(_context, [.. blob, 0])).Status);
    }

    [Fact]
    public void Every_damaged_byte_is_noticed()
    {
        using PackedWeights weights = PackedWeights.Pack(_context, s_u4, _codes, _scales, _zeroPoints);
        byte[] blob = weights.Save();
        for (int i = 0; i < blob.Length; i++)
        {
            blob[i] ^= 0x10;
            KernelException failure = Assert.Throws<KernelException>(() => PackedWeights.Load(_context, blob));
            Assert.True(failure.Status is KernelStatus.BlobFormat or KernelStatus.BlobChecksum);
            blob[i] ^= 0x10;
        }

        PackedWeights.Load(_context, blob).Dispose();
    }

    [Fact]
    public void Noise_is_not_a_blob()
    {
        for (int seed = 0; seed < 50; seed++)
            Assert.Throws<KernelException>(() => PackedWeights.Load(_context, Numbers.Bytes(seed * 20, seed)));
    }
}
