using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Quantization of a matrix. Every call has the same buffers, as an op in a model finds them: its input was just written by the
/// op before, its output is read by the next. A matrix that fits the last-level cache is found there; one that is larger comes from memory.</summary>
internal sealed class QuantizeCase : MeasuredCase
{
    private readonly QuantizeSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly QuantizeOptions _options;
    private readonly AlignedBuffer _source;
    private readonly AlignedBuffer _codes;
    private readonly AlignedBuffer _scales;
    private readonly AlignedBuffer _zeroPoints;
    private readonly long _sourceBytes;
    private readonly long _codeBytes;
    private readonly int _blocks;

    /// <summary>Prepares a case.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="values">Rows * cols floats.</param>
    public QuantizeCase(QuantizeSpec spec, string variant, KernelContext context, ReadOnlySpan<float> values)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _options = spec.Way.ToOptions();
        _sourceBytes = spec.Rows * spec.Way.Source.RowBytes(spec.Cols);
        _codeBytes = spec.Rows * spec.Way.Type.RowBytes(spec.Cols);
        _blocks = checked((int)Quantizer.ScaleCount(_options, spec.Rows, spec.Cols));
        _source = new AlignedBuffer(_sourceBytes);
        _codes = new AlignedBuffer(_codeBytes);
        _scales = new AlignedBuffer(_blocks * sizeof(float));
        _zeroPoints = new AlignedBuffer(_blocks * sizeof(int));
        FloatConvert.FromSingle(spec.Way.Source, values, _source.Span);
        Bytes = new CaseBytes(_codeBytes + ScaleBytes, spec.Rows * spec.Cols * 2, 0);
    }

    /// <inheritdoc/>
    public override double? Operations => null;

    /// <inheritdoc/>
    public override double BytesMoved => _sourceBytes + _codeBytes + ScaleBytes;

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands => _variant == "ref" ? [] : Roofline.OfPass(BytesMoved);

    private long ScaleBytes => (long)_blocks * (_options.Asymmetric ? sizeof(float) + sizeof(int) : sizeof(float));

    /// <inheritdoc/>
    public override void Invoke()
    {
        switch (_spec.Way.Source)
        {
            case ElementType.F32:
                Run<float>();
                break;
            case ElementType.F16:
                Run<Half>();
                break;
            default:
                Run<BFloat16>();
                break;
        }
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        int cols = (int)_spec.Cols, rows = (int)_spec.Rows;
        // Only a scale for the whole matrix depends on rows that are not looked at.
        QuantizedReference? whole = _options.Granularity == Granularity.Tensor ? QuantizeOracle.Quantize(_options, rows, cols, SourceRows(0, rows)) : null;
        var kernel = new KernelErrorMeter("exact");
        var quantization = new QuantizationErrorMeter();
        ReadOnlySpan<float> scales = _scales.AsSpan<float>();
        ReadOnlySpan<int> zeroPoints = _zeroPoints.AsSpan<int>();
        var codes = new int[cols];
        int stride = (int)_spec.Way.Type.RowBytes(cols);
        foreach (long row in SampleGrid.Indices(rows))
        {
            float[] source = SourceRows((int)row, 1);
            QuantizedReference reference = whole ?? QuantizeOracle.Quantize(_options, 1, cols, source);
            int firstCode = whole is null ? 0 : (int)row * cols;
            int firstBlock = whole is null ? (int)row * (_blocks / rows) : 0;
            CodeReader.Widen(_spec.Way.Type, _codes.Slice<byte>(row * stride, stride), codes);
            for (int col = 0; col < cols; col++)
            {
                int block = _options.Granularity == Granularity.Group ? col / (int)_options.GroupSize : 0;
                int zeroPoint = _options.Asymmetric ? zeroPoints[firstBlock + block] : reference.ZeroPoints[block];
                float actual = QuantizeOracle.Dequantize(_options, codes[col], zeroPoint, scales[firstBlock + block]);
                float prescribed = QuantizeOracle.Dequantize(_options, reference.Codes[firstCode + col], reference.ZeroPoints[block], reference.Scales[block]);
                kernel.AddExact(actual, prescribed, prescribed, 0, () => $"the value at [{row},{col}]");
                quantization.Add(actual, source[col]);
            }
        }

        return (kernel.Result(_spec.Rows * _spec.Cols), quantization.Result());
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _source.Dispose();
        _codes.Dispose();
        _scales.Dispose();
        _zeroPoints.Dispose();
    }

    private void Run<T>()
        where T : unmanaged => Quantizer.Quantize<T>(
            _context, _options, _spec.Rows, _spec.Cols, _source.AsSpan<T>(), _codes.Span, _scales.AsSpan<float>(),
            _options.Asymmetric ? _zeroPoints.AsSpan<int>() : default);

    private float[] SourceRows(int first, int count)
    {
        long rowBytes = _spec.Way.Source.RowBytes(_spec.Cols);
        var values = new float[count * (int)_spec.Cols];
        FloatConvert.ToSingle(_spec.Way.Source, _source.Slice<byte>(first * rowBytes, (int)(count * rowBytes)), values);
        return values;
    }
}
