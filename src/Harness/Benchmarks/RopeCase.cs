using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Rotary embedding in place, as in a model between the projections and attention. Every call has the same
/// buffer.</summary>
internal sealed class RopeCase : MeasuredCase
{
    private readonly RopeSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly RopeTable _table;
    private readonly int[] _positions;
    private readonly AlignedBuffer _source;
    private readonly AlignedBuffer _tensor;
    private readonly long _bytes;

    /// <summary>Prepares a case.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="values">Rows * heads * head dimension floats.</param>
    public RopeCase(RopeSpec spec, string variant, KernelContext context, ReadOnlySpan<float> values)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _table = new RopeTable(spec.Way.ToOptions(spec.HeadDim), 0, spec.Rows);
        _positions = [.. Enumerable.Range(0, (int)spec.Rows)];
        _bytes = spec.Way.Type.RowBytes(values.Length);
        _source = new AlignedBuffer(_bytes);
        _tensor = new AlignedBuffer(_bytes);
        FloatConvert.FromSingle(spec.Way.Type, values, _source.Span);
        _source.Span.CopyTo(_tensor.Span);
        Bytes = new CaseBytes(_bytes, spec.Rows * spec.Heads * spec.HeadDim * 2, 0);
    }

    /// <inheritdoc/>
    public override double? Operations => null;

    /// <inheritdoc/>
    public override double BytesMoved => 2.0 * _bytes + _table.CosSin.Length * sizeof(float);

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands => _variant == "ref" ? [] : Roofline.OfPass(BytesMoved);

    /// <inheritdoc/>
    public override void Invoke()
    {
        switch (_spec.Way.Type)
        {
            case ElementType.F32:
                Rope.RotateInPlace(_context, _table, _spec.Heads, _positions, _tensor.AsSpan<float>());
                break;
            case ElementType.F16:
                Rope.RotateInPlace(_context, _table, _spec.Heads, _positions, _tensor.AsSpan<Half>());
                break;
            default:
                Rope.RotateInPlace(_context, _table, _spec.Heads, _positions, _tensor.AsSpan<BFloat16>());
                break;
        }
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        // The tensor has been rotated many times: the call that is checked starts afresh.
        _source.Span.CopyTo(_tensor.Span);
        Invoke();
        int dim = (int)_spec.HeadDim, width = (int)_spec.Heads * dim, rotated = (int)(_table.CosSin.Length / Math.Max(1, _table.Count));
        int rowBytes = (int)_spec.Way.Type.RowBytes(width);
        var meter = new KernelErrorMeter("exact");
        float[] expected = new float[width], actual = new float[width];
        foreach (long row in SampleGrid.Indices(_spec.Rows))
        {
            FloatConvert.ToSingle(_spec.Way.Type, _source.Slice<byte>(row * rowBytes, rowBytes), expected);
            FloatConvert.ToSingle(_spec.Way.Type, _tensor.Slice<byte>(row * rowBytes, rowBytes), actual);
            for (int start = 0; start < width; start += dim)
                RopeOracle.Rotate(_table.Options, _table.CosSin.Slice((int)row * rotated, rotated), expected.AsSpan(start, dim));
            for (int col = 0; col < width; col++)
            {
                float value = FloatConvert.Round(_spec.Way.Type, expected[col]);
                meter.AddExact(actual[col], value, value, 0, () => $"[{row},{col}]");
            }
        }

        return (meter.Result(_spec.Rows * width), null);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _source.Dispose();
        _tensor.Dispose();
    }
}
