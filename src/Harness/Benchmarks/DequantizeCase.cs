using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Dequantization of a matrix, codes and target cold.</summary>
internal sealed class DequantizeCase : MeasuredCase
{
    private readonly DequantizeSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly QuantizedTensor _tensor;
    private readonly float[] _values;
    private readonly AlignedBuffer _codes;
    private readonly AlignedBuffer _target;
    private readonly long _targetBytes;
    private readonly int _codeBytes;
    private readonly int _copies;
    private int _next;
    private int _last;

    /// <summary>Prepares a case from float values.</summary>
    public DequantizeCase(DequantizeSpec spec, string variant, KernelContext context, float[] values, long coldBytes)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _values = values;
        WeightsShape shape = spec.Weights.ToShape(spec.Rows, spec.Cols);
        _tensor = Quantizer.Quantize<float>(context, shape.ToQuantizeOptions(), spec.Rows, spec.Cols, values);
        _codeBytes = _tensor.Codes.Length;
        _targetBytes = spec.Rows * spec.Target.RowBytes(spec.Cols);
        _copies = (int)Math.Clamp(coldBytes / Math.Max(1, _targetBytes + _codeBytes) + 1, 1, 1 << 16);
        _codes = new AlignedBuffer((long)_codeBytes * _copies);
        _target = new AlignedBuffer(_targetBytes * _copies);
        for (int copy = 0; copy < _copies; copy++)
        {
            _tensor.Codes.CopyTo(CodesOf(copy));
            TargetOf<byte>(copy).Fill(0xAA);
        }

        Bytes = new CaseBytes(_codeBytes + ScaleBytes, spec.Rows * spec.Cols * 2, 0);
    }

    /// <inheritdoc/>
    public override double? Operations => null;

    /// <inheritdoc/>
    public override double BytesMoved => _codeBytes + ScaleBytes + _targetBytes;

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands => _variant == "ref" ? [] : Roofline.OfPass(BytesMoved);

    private long ScaleBytes => _tensor.Scales.LongLength * sizeof(float) + (_tensor.ZeroPoints?.LongLength ?? 0) * sizeof(int);

    /// <inheritdoc/>
    public override void Invoke()
    {
        _last = _next;
        switch (_spec.Target)
        {
            case ElementType.F32:
                Run(TargetOf<float>(_next));
                break;
            case ElementType.F16:
                Run(TargetOf<Half>(_next));
                break;
            default:
                Run(TargetOf<BFloat16>(_next));
                break;
        }

        _next = _next + 1 == _copies ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        int cols = (int)_spec.Cols;
        var kernel = new KernelErrorMeter("exact");
        var quantization = new QuantizationErrorMeter();
        var codes = new int[cols];
        var actual = new float[cols];
        int groups = (int)_spec.Weights.GroupsOf(cols);
        int groupLength = _spec.Weights.GroupSize == 0 ? cols : (int)_spec.Weights.GroupSize;
        int stride = (int)_tensor.CodesStrideBytes;
        int targetStride = (int)_spec.Target.RowBytes(cols);
        foreach (long row in SampleGrid.Indices(_spec.Rows))
        {
            CodeReader.Widen(_spec.Weights.Format, _tensor.Codes.AsSpan((int)row * stride, stride), codes);
            FloatConvert.ToSingle(_spec.Target, TargetOf<byte>(_last).Slice((int)row * targetStride, targetStride), actual);
            for (int col = 0; col < cols; col++)
            {
                int block = (int)row * groups + col / groupLength;
                float value = QuantizeOracle.Dequantize(_tensor.Options, codes[col], _tensor.ZeroPoints?[block] ?? 0, _tensor.Scales[block]);
                kernel.AddExact(actual[col], FloatConvert.Round(_spec.Target, value), value, 0, () => $"the value at [{row},{col}]");
                quantization.Add(actual[col], _values[row * cols + col]);
            }
        }

        return (kernel.Result(_spec.Rows * _spec.Cols), quantization.Result());
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _codes.Dispose();
        _target.Dispose();
    }

    private void Run<T>(Span<T> target)
        where T : unmanaged => Quantizer.Dequantize<T>(
            _context, _tensor.Options, _spec.Rows, _spec.Cols, CodesOf(_next), _tensor.Scales, _tensor.ZeroPoints, target);

    private Span<byte> CodesOf(int copy) => _codes.Slice<byte>((long)copy * _codeBytes, _codeBytes);

    private Span<T> TargetOf<T>(int copy)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(_target.Slice<byte>(copy * _targetBytes, (int)_targetBytes));
}
