using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Quantization of a matrix, source and codes cold.</summary>
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
    private readonly int _copies;
    private int _next;
    private int _last;

    /// <summary>Prepares a case.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="values">Rows * cols floats.</param>
    /// <param name="coldBytes">Bytes that all copies of source and codes together should have.</param>
    public QuantizeCase(QuantizeSpec spec, string variant, KernelContext context, ReadOnlySpan<float> values, long coldBytes)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _options = spec.Way.ToOptions();
        _sourceBytes = spec.Rows * spec.Way.Source.RowBytes(spec.Cols);
        _codeBytes = spec.Rows * spec.Way.Type.RowBytes(spec.Cols);
        _blocks = checked((int)Quantizer.ScaleCount(_options, spec.Rows, spec.Cols));
        _copies = (int)Math.Clamp(coldBytes / Math.Max(1, _sourceBytes + _codeBytes) + 1, 1, 1 << 16);
        _source = new AlignedBuffer(_sourceBytes * _copies);
        _codes = new AlignedBuffer(_codeBytes * _copies);
        _scales = new AlignedBuffer(_blocks * sizeof(float));
        _zeroPoints = new AlignedBuffer(_blocks * sizeof(int));
        for (int copy = 0; copy < _copies; copy++)
            FloatConvert.FromSingle(spec.Way.Source, values, _source.Slice<byte>(copy * _sourceBytes, (int)_sourceBytes));
        // Pages that were never written would be made by the first calls.
        for (int copy = 0; copy < _copies; copy++)
            _codes.Slice<byte>(copy * _codeBytes, (int)_codeBytes).Fill(0xAA);
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
        _last = _next;
        Span<byte> codes = CodesOf(_next);
        Span<int> zeroPoints = _options.Asymmetric ? _zeroPoints.AsSpan<int>() : default;
        switch (_spec.Way.Source)
        {
            case ElementType.F32:
                Quantizer.Quantize(_context, _options, _spec.Rows, _spec.Cols, SourceOf<float>(_next), codes, _scales.AsSpan<float>(), zeroPoints);
                break;
            case ElementType.F16:
                Quantizer.Quantize(_context, _options, _spec.Rows, _spec.Cols, SourceOf<Half>(_next), codes, _scales.AsSpan<float>(), zeroPoints);
                break;
            default:
                Quantizer.Quantize(_context, _options, _spec.Rows, _spec.Cols, SourceOf<BFloat16>(_next), codes, _scales.AsSpan<float>(), zeroPoints);
                break;
        }

        _next = _next + 1 == _copies ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        int cols = (int)_spec.Cols, rows = (int)_spec.Rows;
        var source = new float[rows * cols];
        FloatConvert.ToSingle(_spec.Way.Source, _source.Slice<byte>(_last * _sourceBytes, (int)_sourceBytes), source);
        QuantizedReference reference = QuantizeOracle.Quantize(_options, rows, cols, source);
        var kernel = new KernelErrorMeter("exact");
        var quantization = new QuantizationErrorMeter();
        ReadOnlySpan<float> scales = _scales.AsSpan<float>();
        ReadOnlySpan<int> zeroPoints = _zeroPoints.AsSpan<int>();
        var codes = new int[cols];
        int stride = (int)_spec.Way.Type.RowBytes(cols);
        foreach (long row in SampleGrid.Indices(rows))
        {
            CodeReader.Widen(_spec.Way.Type, CodesOf(_last).Slice((int)row * stride, stride), codes);
            for (int col = 0; col < cols; col++)
            {
                int at = (int)row * cols + col;
                int block = BlockOf((int)row, col);
                int zeroPoint = _options.Asymmetric ? zeroPoints[block] : reference.ZeroPoints[block];
                float actual = QuantizeOracle.Dequantize(_options, codes[col], zeroPoint, scales[block]);
                float prescribed = QuantizeOracle.Dequantize(_options, reference.Codes[at], reference.ZeroPoints[block], reference.Scales[block]);
                kernel.AddExact(actual, prescribed, prescribed, 0, () => $"the value at [{row},{col}]");
                quantization.Add(actual, source[at]);
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

    private int BlockOf(int row, int col) => _options.Granularity switch
    {
        Granularity.Tensor => 0,
        Granularity.Group => row * (_blocks / (int)_spec.Rows) + col / (int)_options.GroupSize,
        _ => row,
    };

    private ReadOnlySpan<T> SourceOf<T>(int copy)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(_source.Slice<byte>(copy * _sourceBytes, (int)_sourceBytes));

    private Span<byte> CodesOf(int copy) => _codes.Slice<byte>(copy * _codeBytes, (int)_codeBytes);
}
