using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Whatever the caller of a fused step gets wrong is an exception that names the argument, never a crash.</summary>
public sealed class FusedMisuseTests : IDisposable
{
    private const int Rows = 3, Cols = 32;

    private static readonly QuantizeOptions s_perToken = new(ElementType.S8, Granularity.Token);

    private readonly KernelContext _context = new();
    private readonly float[] _x = new float[Rows * Cols];
    private readonly float[] _other = new float[Rows * Cols];
    private readonly float[] _sum = new float[Rows * Cols];
    private readonly float[] _weight = new float[Cols];
    private readonly byte[] _codes = new byte[Rows * Cols];
    private readonly float[] _scales = new float[Rows];

    private NormWeights Weights => NormWeights.Of<float>(_weight, 1e-5f);

    private FusedCodes Codes => new(s_perToken, _codes, _scales);

    public void Dispose() => _context.Dispose();

    [Fact]
    public void Null_and_negative_sizes_are_refused()
    {
        Assert.Throws<ArgumentNullException>("context", () => Fused.RmsNormQuantize(null!, Rows, Cols, new NormInput<float>(_x), Weights, Codes));
        Assert.Throws<ArgumentNullException>("context", () => Fused.WorkspaceBytes(null!, Cols));
        Assert.Throws<ArgumentNullException>("context", () => Fused.Variant(null!));
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => Fused.WorkspaceBytes(_context, -1));
        Assert.Throws<ArgumentOutOfRangeException>("rows", () => Fused.RmsNormQuantize(_context, -1, Cols, new NormInput<float>(_x), Weights, Codes));
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => Fused.RmsNormQuantize(_context, Rows, -1, new NormInput<float>(_x), Weights, Codes));
    }

    [Theory]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(1L << 32, 1L << 32)]
    [InlineData(3, long.MaxValue)]
    [InlineData(long.MaxValue, 32)]
    public void Sizes_that_overflow_are_refused(long rows, long cols)
    {
        AssertRefused(() => Fused.RmsNormQuantize(_context, rows, cols, new NormInput<float>(_x), Weights, Codes));
        AssertRefused(() => Fused.SiluMulQuantize(_context, rows, cols, GateInput.Halves<float>(_x), Codes));

        static void AssertRefused(Action action) =>
            Assert.True(Record.Exception(action) is ArgumentException or KernelException { Status: KernelStatus.Shape });
    }

    [Fact]
    public void Spans_that_are_too_short_are_refused()
    {
        Assert.Throws<ArgumentException>("input.Data", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x.AsSpan(1)), Weights, Codes));
        Assert.Throws<ArgumentException>("input.Gate", () => Fused.SiluMulQuantize(_context, Rows, Cols, GateInput.Halves<float>(_x), Codes));
        Assert.Throws<ArgumentException>(
            "input.Up", () => Fused.SiluMulQuantize(_context, Rows, Cols, GateInput.Separate<float>(_x, _other.AsSpan(1)), Codes));
        Assert.Throws<ArgumentException>(
            "input.Residual",
            () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x) { Residual = _other.AsSpan(1), Sum = _sum }, Weights, Codes));
        Assert.Throws<ArgumentException>(
            "input.Sum", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x) { Residual = _other }, Weights, Codes));
        Assert.Throws<ArgumentException>(
            "input.Sum", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x) { Sum = _sum }, Weights, Codes));
        Assert.Throws<ArgumentException>(
            "weights.Weight",
            () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), NormWeights.Of<float>(_weight.AsSpan(1), 1), Codes));
        Assert.Throws<ArgumentException>(
            "weights.Bias",
            () => Fused.LayerNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), NormWeights.Of<float>(_weight, 1, _weight.AsSpan(1)), Codes));
        Assert.Throws<ArgumentException>("factors", () => Fused.SmoothQuantize<float, float>(_context, Rows, Cols, _x, default, Codes));
        Assert.Throws<ArgumentException>(
            "codes.Codes",
            () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(s_perToken, _codes.AsSpan(1), _scales)));
        Assert.Throws<ArgumentException>(
            "codes.Scales",
            () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(s_perToken, _codes, _scales.AsSpan(1))));
        Assert.Throws<ArgumentException>(
            "codes.ZeroPoints",
            () => Fused.RmsNormQuantize(
                _context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(s_perToken with { Asymmetric = true }, _codes, _scales)));
        Assert.Throws<ArgumentException>("target", () => Fused.RmsNorm(_context, Rows, Cols, new NormInput<float>(_x), Weights, _sum.AsSpan(1)));
        Assert.Throws<ArgumentException>(
            "workspace", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), Weights, Codes, new byte[64]));
    }

    [Fact]
    public void Leading_dimensions_below_the_width_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(
            "input.Ld", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x, Cols - 1), Weights, Codes));
        Assert.Throws<ArgumentOutOfRangeException>(
            "codes.CodesLdBytes",
            () => Fused.RmsNormQuantize(
                _context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(s_perToken, _codes, _scales, codesLdBytes: Cols - 1)));
        Assert.Throws<ArgumentOutOfRangeException>(
            "targetLd", () => Fused.RmsNorm(_context, Rows, Cols, new NormInput<float>(_x), Weights, _sum.AsSpan(), Cols - 1));
    }

    [Fact]
    public void Values_out_of_range_are_refused()
    {
        foreach (float epsilon in new[] { 0, -1, float.NaN, float.PositiveInfinity })
        {
            Assert.Throws<ArgumentOutOfRangeException>(
                "weights", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), NormWeights.Of<float>(_weight, epsilon), Codes));
        }

        Assert.Throws<ArgumentException>("weights", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), default, Codes));
        Assert.Throws<ArgumentOutOfRangeException>(
            "codes.StaticScale",
            () => Fused.RmsNormQuantize(
                _context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(s_perToken, _codes, _scales) { StaticScale = float.NaN }));
        Assert.Throws<ArgumentException>(
            "codes",
            () => Fused.RmsNormQuantize(
                _context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(new(ElementType.S8, Granularity.Tensor), _codes, _scales)));
        Assert.Throws<ArgumentOutOfRangeException>(
            "codes", () => Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), Weights, new FusedCodes(default, _codes, _scales)));
        Assert.Throws<ArgumentException>("rotation", () => Fused.HadamardQuantize<float>(_context, Rows, Cols, _x, new HadamardOptions(24), Codes));
        Assert.Throws<ArgumentOutOfRangeException>("rotation", () => Fused.HadamardQuantize<float>(_context, Rows, Cols, _x, default, Codes));
        Assert.Throws<ArgumentException>(
            "rotation.SignsBefore",
            () => Fused.HadamardQuantize<float>(_context, Rows, Cols, _x, new HadamardOptions(32) { SignsBefore = new byte[3] }, Codes));
        Assert.Throws<NotSupportedException>(() => Fused.SiluMulQuantize(_context, 1, 1, GateInput.Halves<int>(new int[2]), Codes));
    }

    [Fact]
    public void Outputs_that_overlap_are_refused()
    {
        var memory = new float[Rows * Cols * 2];
        Assert.Throws<ArgumentException>(
            "input.Sum",
            () => Fused.RmsNormQuantize(
                _context, Rows, Cols, new NormInput<float>(memory.AsSpan(0, Rows * Cols)) { Residual = _other, Sum = memory.AsSpan(1, Rows * Cols) }, Weights,
                Codes));
        Assert.Throws<ArgumentException>(
            "codes.Scales",
            () => Fused.RmsNormQuantize(
                _context, Rows, Cols, new NormInput<float>(memory.AsSpan(0, Rows * Cols)), Weights, new FusedCodes(s_perToken, _codes, memory.AsSpan(5, Rows))));
        Assert.Throws<ArgumentException>(
            "target", () => Fused.RmsNorm(_context, Rows, Cols, new NormInput<float>(memory.AsSpan(0, Rows * Cols)), Weights, memory.AsSpan(1, Rows * Cols)));
        // In place of an operand is fine.
        Fused.RmsNorm(_context, Rows, Cols, new NormInput<float>(_x), Weights, _x.AsSpan());
        Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x) { Residual = _other, Sum = _other }, Weights, Codes);
        Assert.Equal(0, _scales[0]);
    }

    [Fact]
    public void Nothing_to_do_is_fine()
    {
        Fused.RmsNormQuantize(_context, 0, Cols, new NormInput<float>(default), Weights, new FusedCodes(s_perToken, default, default));
        Fused.SiluMulQuantize(_context, Rows, 0, GateInput.Separate<float>(default, default), Codes);
        Assert.Equal(0, _scales[2]);
    }

    [Fact]
    public void Calls_allocate_nothing()
    {
        using var workspace = new AlignedBuffer(Fused.WorkspaceBytes(_context, Cols));
        Allocations.AssertNone(() =>
        {
            Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x) { Residual = _other, Sum = _sum }, Weights, Codes);
            Fused.RmsNormQuantize(_context, Rows, Cols, new NormInput<float>(_x), Weights, Codes, workspace.Span);
            Fused.SiluMulHadamardQuantize(_context, Rows, Cols, GateInput.Separate<float>(_x, _other), new HadamardOptions(32), Codes);
            Fused.Multiply<float, float, float>(_context, Rows, Cols, _x, _weight, _sum);
        });
    }
}
