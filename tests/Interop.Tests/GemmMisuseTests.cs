using System.Runtime.InteropServices;
using Xunit;

namespace Kernels.Tests;

public sealed class GemmMisuseTests : IDisposable
{
    private const int M = 3, N = 4, K = 8;

    private readonly KernelContext _context = new();
    private readonly PackedWeights _weights;
    private readonly float[] _x = new float[M * K];
    private readonly float[] _y = new float[M * N];
    private readonly byte[] _codes = new byte[M * K];
    private readonly float[] _scales = new float[M];
    private readonly int[] _zeroPoints = new int[M];

    public GemmMisuseTests() => _weights = PackedWeights.FromFloat<float>(_context, new(ElementType.S8, N, K), new float[N * K]);

    public void Dispose()
    {
        _weights.Dispose();
        _context.Dispose();
    }

    [Fact]
    public void Null_is_refused()
    {
        Assert.Throws<ArgumentNullException>("context", () => Gemm.Run(null!, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y)));
        Assert.Throws<ArgumentNullException>("weights", () => Gemm.Run(_context, null!, M, Activations.Of<float>(_x), new GemmOutput<float>(_y)));
        Assert.Throws<ArgumentNullException>("context", () => Gemm.WorkspaceBytes(null!, _weights, ElementType.F32, M));
        Assert.Throws<ArgumentNullException>("weights", () => Gemm.WorkspaceBytes(_context, null!, ElementType.F32, M));
        Assert.Throws<ArgumentNullException>("context", () => Gemm.IsSupported((KernelContext)null!, ElementType.S8, ElementType.F32));
        Assert.Throws<ArgumentNullException>("context", () => Gemm.Variant(null!, ElementType.S8, ElementType.F32));
        Assert.Throws<ArgumentNullException>("tensor", () => Activations.Of(null!).Ld);
    }

    [Fact]
    public void Rows_that_the_spans_do_not_hold_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>("m", () => Gemm.Run(_context, _weights, -1, Activations.Of<float>(_x), new GemmOutput<float>(_y)));
        Assert.Throws<ArgumentOutOfRangeException>("m", () => Gemm.WorkspaceBytes(_context, _weights, ElementType.F32, -1));
        foreach (long m in new long[] { M + 1, 1L << 32, long.MaxValue })
        {
            Assert.Throws<ArgumentException>(
                "activations", () => Gemm.Run(_context, _weights, m, Activations.Of<float>(_x), new GemmOutput<float>(_y)));
        }

        Assert.Throws<KernelException>(() => Gemm.WorkspaceBytes(_context, _weights, ElementType.F32, long.MaxValue));
        Assert.Throws<ArgumentException>(
            "output.Data", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y.AsSpan(1))));
        Assert.Throws<ArgumentException>("output.Data", () => Gemm.Run<float>(_context, _weights, M, Activations.Of<float>(_x), default));
        Assert.Throws<ArgumentException>(
            "output.Bias",
            () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y) { Bias = new float[N - 1] }));
        Assert.Throws<ArgumentException>(
            "output.Residual",
            () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y) { Residual = new float[(M * N) - 1] }));
        Assert.Throws<ArgumentException>(
            "activations.Scales", () => Gemm.Run(_context, _weights, M, Activations.S8(_codes, _scales.AsSpan(1)), new GemmOutput<float>(_y)));
        Assert.Throws<ArgumentException>(
            "activations.ZeroPoints",
            () => Gemm.Run(_context, _weights, M, Activations.U8(_codes, _scales, _zeroPoints.AsSpan(1)), new GemmOutput<float>(_y)));
    }

    [Fact]
    public void Leading_dimensions_out_of_range_are_refused()
    {
        foreach (long ld in new long[] { 3, -1, long.MinValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>(
                "activations.Ld", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x, ld), new GemmOutput<float>(_y)));
            Assert.Throws<ArgumentOutOfRangeException>(
                "output.Ld", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y, ld)));
            Assert.Throws<ArgumentOutOfRangeException>(
                "output.ResidualLd",
                () => Gemm.Run(
                    _context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y) { Residual = new float[M * N], ResidualLd = ld }));
        }

        Assert.Throws<ArgumentException>(
            "activations", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x, long.MaxValue), new GemmOutput<float>(_y)));
        Assert.Throws<ArgumentException>(
            "output.Data", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y, long.MaxValue)));
    }

    [Fact]
    public void Activations_that_are_none_are_refused()
    {
        Assert.Throws<ArgumentException>("activations", () => Gemm.Run(_context, _weights, M, default, new GemmOutput<float>(_y)));
        Assert.Throws<NotSupportedException>(() => Activations.Of<double>(default).Ld);
        Assert.Throws<NotSupportedException>(
            () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<int>(new int[M * N])));

        foreach (QuantizeOptions options in new QuantizeOptions[]
        {
            new(ElementType.S8, Granularity.Tensor),
            new(ElementType.S8, Granularity.Token, Asymmetric: true),
            new(ElementType.U8, Granularity.Token),
            new(ElementType.S4, Granularity.Token, Asymmetric: true),
            new(ElementType.S8, Granularity.Group, GroupSize: 16),
        })
        {
            QuantizedTensor tensor = Quantizer.Quantize<float>(_context, options, M, K, _x);
            Assert.Throws<ArgumentException>("tensor", () => Activations.Of(tensor).Ld);
        }
    }

    [Fact]
    public void Zero_points_out_of_range_are_refused()
    {
        _zeroPoints[1] = 256;
        KernelException failure = Assert.Throws<KernelException>(
            () => Gemm.Run(_context, _weights, M, Activations.U8(_codes, _scales, _zeroPoints), new GemmOutput<float>(_y)));
        Assert.Equal(KernelStatus.InvalidArgument, failure.Status);
    }

    [Fact]
    public void Pairs_without_a_kernel_are_refused() =>
        Assert.Equal(
            KernelStatus.Unsupported,
            Assert.Throws<KernelException>(() => Gemm.WorkspaceBytes(_context, _weights, ElementType.U4, M)).Status);

    [Fact]
    public void Workspaces_that_are_too_small_or_not_aligned_are_refused()
    {
        long bytes = Gemm.WorkspaceBytes(_context, _weights, ElementType.F32, M);
        using var buffer = new AlignedBuffer(bytes + 64);
        if (bytes > 0)
        {
            Assert.Throws<ArgumentException>(
                "workspace",
                () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y), buffer.Slice<byte>(0, (int)bytes - 1)));
            Assert.Throws<ArgumentException>(
                "workspace", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y), Span<byte>.Empty));
        }

        Assert.Throws<ArgumentException>(
            "workspace",
            () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y), buffer.Slice<byte>(1, (int)bytes + 1)));
    }

    [Fact]
    public void Overlapping_memory_is_refused()
    {
        AssertOverlap("activations", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_x.AsSpan(0, M * N))));
        AssertOverlap("activations", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_x.AsSpan(12, M * N))));
        AssertOverlap(
            "activations.Scales", () => Gemm.Run(_context, _weights, M, Activations.S8(_codes, _y.AsSpan(9)), new GemmOutput<float>(_y)));
        AssertOverlap(
            "activations.ZeroPoints",
            () => Gemm.Run(_context, _weights, M, Activations.U8(_codes, _scales, MemoryMarshal.Cast<float, int>(_y)), new GemmOutput<float>(_y)));
        AssertOverlap(
            "output.Bias", () => Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y) { Bias = _y.AsSpan(4, N) }));
        var shifted = new float[(M * N) + 1];
        AssertOverlap(
            "output.Residual",
            () => Gemm.Run(
                _context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(shifted.AsSpan(0, M * N)) { Residual = shifted.AsSpan(1) }));

        static void AssertOverlap(string other, Action action)
        {
            ArgumentException failure = Assert.Throws<ArgumentException>("output.Data", action);
            Assert.Contains($"overlaps that of '{other}'", failure.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_workspace_that_overlaps_a_tensor_is_refused()
    {
        int bytes = (int)Gemm.WorkspaceBytes(_context, _weights, ElementType.F32, M);
        if (bytes == 0)
            return;
        using var buffer = new AlignedBuffer(bytes + 4096);
        Assert.Throws<ArgumentException>(
            "workspace",
            () => Gemm.Run(
                _context, _weights, M, Activations.Of<float>(buffer.Slice<float>(0, M * K)), new GemmOutput<float>(_y), buffer.Slice<byte>(0, bytes)));
        Assert.Throws<ArgumentException>(
            "workspace",
            () => Gemm.Run(
                _context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(buffer.Slice<float>(0, M * N)), buffer.Slice<byte>(0, bytes)));
    }

    [Fact]
    public void Not_a_number_propagates()
    {
        _x[K] = float.NaN;
        Gemm.Run(_context, _weights, M, Activations.Of<float>(_x), new GemmOutput<float>(_y));
        Assert.All(_y[..N], value => Assert.Equal(0, value));
        Assert.All(_y[N..(2 * N)], value => Assert.True(float.IsNaN(value)));
    }
}
