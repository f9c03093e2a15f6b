using System.Runtime.InteropServices;
using Xunit;

namespace Kernels.Tests;

/// <summary>Whatever the caller gets wrong is an exception that names the argument, never a crash.</summary>
public sealed class QuantizerMisuseTests : IDisposable
{
    private static readonly QuantizeOptions s_perToken = new(ElementType.S8, Granularity.Token);
    private static readonly QuantizeOptions s_asymmetric = new(ElementType.U8, Granularity.Token, Asymmetric: true);

    private readonly KernelContext _context = new();
    private readonly float[] _source = new float[12];
    private readonly byte[] _codes = new byte[12];
    private readonly float[] _scales = new float[3];
    private readonly int[] _zeroPoints = new int[3];

    public void Dispose() => _context.Dispose();

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void Input_that_is_not_finite_writes_nothing(float value)
    {
        _source[11] = value;
        Array.Fill(_codes, (byte)0x55);
        Array.Fill(_scales, 5f);
        KernelException failure = Assert.Throws<KernelException>(() => Quantize(s_perToken));
        Assert.Equal(KernelStatus.NonFinite, failure.Status);
        Assert.All(_codes, code => Assert.Equal(0x55, code));
        Assert.All(_scales, scale => Assert.Equal(5f, scale));
    }

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        QuantizeOptions[] wrong =
        [
            default,
            s_perToken with { Type = ElementType.F32 },
            s_perToken with { Type = (ElementType)99 },
            s_perToken with { Granularity = (Granularity)4 },
            s_perToken with { Granularity = Granularity.Group },
            s_perToken with { Granularity = Granularity.Group, GroupSize = 15 },
            s_perToken with { Granularity = Granularity.Group, GroupSize = -16 },
            s_perToken with { ClipRatio = -0.5f },
            s_perToken with { ClipRatio = 1.5f },
            s_perToken with { ClipRatio = float.NaN },
        ];
        foreach (QuantizeOptions options in wrong)
        {
            Assert.Throws<ArgumentOutOfRangeException>("options", () => Quantize(options));
            Assert.Throws<ArgumentOutOfRangeException>("options", () => Dequantize(options));
            Assert.Throws<ArgumentOutOfRangeException>("options", () => Quantizer.ScaleCount(options, 3, 4));
            Assert.Throws<ArgumentOutOfRangeException>("options", () => Quantizer.Quantize<float>(_context, options, 3, 4, _source));
            Assert.Throws<ArgumentOutOfRangeException>("options", () => new QuantizedTensor(options, 3, 4, _codes, _scales));
        }
    }

    [Theory]
    [InlineData(-1, 4, "rows")]
    [InlineData(long.MinValue, 4, "rows")]
    [InlineData(3, -1, "cols")]
    public void Negative_dimensions_are_refused(long rows, long cols, string name)
    {
        Assert.Throws<ArgumentOutOfRangeException>(name, () => Quantizer.ScaleCount(s_perToken, rows, cols));
        Assert.Throws<ArgumentOutOfRangeException>(name, () => Quantizer.Quantize<float>(_context, s_perToken, rows, cols, _source, _codes, _scales));
        Assert.Throws<ArgumentOutOfRangeException>(name, () => Quantizer.Dequantize<float>(_context, s_perToken, rows, cols, _codes, _scales, default, _source));
        Assert.Throws<ArgumentOutOfRangeException>(name, () => new QuantizedTensor(s_perToken, rows, cols, _codes, _scales));
    }

    [Theory]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(1L << 32, 1L << 32)]
    [InlineData(3, long.MaxValue)]
    [InlineData(long.MaxValue, 4)]
    public void Sizes_that_overflow_are_refused(long rows, long cols)
    {
        AssertRefused(() => Quantizer.Quantize<float>(_context, s_perToken, rows, cols, _source, _codes, _scales));
        AssertRefused(() => Quantizer.Quantize<float>(_context, s_perToken, rows, cols, _source));
        AssertRefused(() => Quantizer.Dequantize<float>(_context, s_perToken, rows, cols, _codes, _scales, default, _source));
        AssertRefused(() => _ = new QuantizedTensor(s_perToken, rows, cols, _codes, _scales));

        static void AssertRefused(Action action) =>
            Assert.True(Record.Exception(action) is ArgumentException or KernelException { Status: KernelStatus.Shape });
    }

    [Fact]
    public void Spans_that_are_too_short_are_refused()
    {
        Assert.Throws<ArgumentException>("source", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source.AsSpan(1), _codes, _scales));
        Assert.Throws<ArgumentException>("codes", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source, _codes.AsSpan(1), _scales));
        Assert.Throws<ArgumentException>("scales", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source, _codes, _scales.AsSpan(1)));
        Assert.Throws<ArgumentException>("zeroPoints", () => Quantizer.Quantize<float>(_context, s_asymmetric, 3, 4, _source, _codes, _scales));
        Assert.Throws<ArgumentException>(
            "zeroPoints", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source, _codes, _scales, _zeroPoints.AsSpan(1)));
        Assert.Throws<ArgumentException>("source", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, default));

        Assert.Throws<ArgumentException>("codes", () => Quantizer.Dequantize<float>(_context, s_perToken, 3, 4, _codes.AsSpan(1), _scales, default, _source));
        Assert.Throws<ArgumentException>("scales", () => Quantizer.Dequantize<float>(_context, s_perToken, 3, 4, _codes, _scales.AsSpan(1), default, _source));
        Assert.Throws<ArgumentException>("zeroPoints", () => Quantizer.Dequantize<float>(_context, s_asymmetric, 3, 4, _codes, _scales, default, _source));
        Assert.Throws<ArgumentException>("target", () => Quantizer.Dequantize<float>(_context, s_perToken, 3, 4, _codes, _scales, default, _source.AsSpan(1)));

        Assert.Throws<ArgumentException>("codes", () => new QuantizedTensor(s_perToken, 3, 4, new byte[11], _scales));
        Assert.Throws<ArgumentException>("scales", () => new QuantizedTensor(s_perToken, 3, 4, _codes, new float[2]));
        Assert.Throws<ArgumentException>("zeroPoints", () => new QuantizedTensor(s_asymmetric, 3, 4, _codes, _scales, new int[2]));
    }

    [Fact]
    public void Null_is_refused()
    {
        Assert.Throws<ArgumentNullException>("context", () => Quantizer.Quantize<float>(null!, s_perToken, 3, 4, _source, _codes, _scales));
        Assert.Throws<ArgumentNullException>("context", () => Quantizer.Quantize<float>(null!, s_perToken, 3, 4, _source));
        Assert.Throws<ArgumentNullException>("context", () => Quantizer.QuantizeWithError<float>(null!, s_perToken, 3, 4, _source, _codes, _scales));
        Assert.Throws<ArgumentNullException>("context", () => Quantizer.Dequantize<float>(null!, s_perToken, 3, 4, _codes, _scales, default, _source));
        Assert.Throws<ArgumentNullException>("context", () => Quantizer.Variant(null!));
        Assert.Throws<ArgumentNullException>("tensor", () => Quantizer.Dequantize<float>(_context, null!, _source));
        Assert.Throws<ArgumentNullException>("codes", () => new QuantizedTensor(s_perToken, 3, 4, null!, _scales));
        Assert.Throws<ArgumentNullException>("scales", () => new QuantizedTensor(s_perToken, 3, 4, _codes, null!));
        Assert.Throws<ArgumentNullException>("zeroPoints", () => new QuantizedTensor(s_asymmetric, 3, 4, _codes, _scales));
    }

    [Fact]
    public void Leading_dimensions_below_the_width_are_refused()
    {
        foreach (long ld in new long[] { 3, -1, long.MinValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>(
                "sourceLd", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source, _codes, _scales, sourceLd: ld));
            Assert.Throws<ArgumentOutOfRangeException>(
                "codesLdBytes", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source, _codes, _scales, codesLdBytes: ld));
            Assert.Throws<ArgumentOutOfRangeException>(
                "targetLd", () => Quantizer.Dequantize<float>(_context, s_perToken, 3, 4, _codes, _scales, default, _source, targetLd: ld));
        }

        Assert.Throws<ArgumentException>(
            "source", () => Quantizer.Quantize<float>(_context, s_perToken, 3, 4, _source, _codes, _scales, sourceLd: long.MaxValue));
    }

    [Fact]
    public void A_single_row_is_never_stepped_over() =>
        Quantizer.Quantize<float>(_context, s_perToken, 1, 12, _source, _codes, _scales, sourceLd: 1000, codesLdBytes: 1000);

    [Fact]
    public void Other_types_are_refused()
    {
        Assert.Throws<NotSupportedException>(() => Quantizer.Quantize<double>(_context, s_perToken, 1, 1, new double[1]));
        Assert.Throws<NotSupportedException>(() => Quantizer.Dequantize<int>(_context, s_perToken, 3, 4, _codes, _scales, default, new int[12]));
    }

    [Fact]
    public void Overlapping_memory_is_refused()
    {
        Span<byte> memory = MemoryMarshal.AsBytes(_source.AsSpan());
        Span<float> floats = _source;
        AssertOverlap("codes", ThrownBy(memory, floats, (bytes, values) =>
            Quantizer.Quantize<float>(_context, s_perToken, 3, 4, values, bytes[36..], _scales)));
        AssertOverlap("scales", ThrownBy(memory, floats, (_, values) =>
            Quantizer.Quantize<float>(_context, s_perToken, 3, 4, values, _codes, values[9..])));
        AssertOverlap("scales", ThrownBy(memory, floats, (bytes, values) =>
            Quantizer.Quantize<float>(_context, s_perToken, 3, 2, new float[6], bytes[..6], values)));
        AssertOverlap("zeroPoints", ThrownBy(memory, floats, (bytes, values) =>
            Quantizer.Quantize<float>(_context, s_perToken, 3, 4, values, _codes, _scales, MemoryMarshal.Cast<byte, int>(bytes))));
        AssertOverlap("target", ThrownBy(memory, floats, (bytes, values) =>
            Quantizer.Dequantize<float>(_context, s_perToken, 3, 4, bytes[..12], _scales, default, values)));
    }

    [Fact]
    public void Zero_points_out_of_range_are_refused()
    {
        _zeroPoints[1] = 40000;
        KernelException failure = Assert.Throws<KernelException>(
            () => Quantizer.Dequantize<float>(_context, s_asymmetric, 3, 4, _codes, _scales, _zeroPoints, _source));
        Assert.Equal(KernelStatus.InvalidArgument, failure.Status);
    }

    private void Quantize(QuantizeOptions options) => Quantizer.Quantize<float>(_context, options, 3, 4, _source, _codes, _scales, _zeroPoints);

    private void Dequantize(QuantizeOptions options) => Quantizer.Dequantize<float>(_context, options, 3, 4, _codes, _scales, _zeroPoints, _source);

    private delegate void SpanAction(Span<byte> bytes, Span<float> values);

    private static Exception? ThrownBy(Span<byte> bytes, Span<float> values, SpanAction action)
    {
        try
        {
            action(bytes, values);
            return null;
        }
        catch (ArgumentException failure)
        {
            return failure;
        }
    }

    private static void AssertOverlap(string name, Exception? failure)
    {
        ArgumentException refused = Assert.IsType<ArgumentException>(failure);
        Assert.Equal(name, refused.ParamName);
        Assert.Contains("overlaps", refused.Message, StringComparison.Ordinal);
    }
}
