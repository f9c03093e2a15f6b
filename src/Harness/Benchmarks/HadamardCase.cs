using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>A rotation. A matrix of at most half a MiB stays in the second-level cache and is held against a copy there; a larger one comes
/// from memory, and is held against a copy in memory.</summary>
internal sealed class HadamardCase : MeasuredCase
{
    /// <summary>The largest matrix that stays in the cache.</summary>
    private const long CachedBytes = 512 << 10;

    private readonly HadamardSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly HadamardOptions _options;
    private readonly AlignedBuffer _source;
    private readonly AlignedBuffer? _target;
    private readonly AlignedBuffer? _spare;
    private readonly int _copies;
    private readonly int _bytes;
    private int _next;

    /// <summary>Prepares a case.</summary>
    public HadamardCase(HadamardSpec spec, string variant, KernelContext context, float[] values, long coldBytes)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _options = spec.ToOptions();
        Values = values;
        _bytes = checked((int)(spec.Rows * spec.Type.RowBytes(spec.Cols)));
        _copies = _bytes <= CachedBytes ? 1 : (int)(coldBytes / _bytes + 1);
        _source = new AlignedBuffer((long)_bytes * _copies);
        for (int copy = 0; copy < _copies; copy++)
            FloatConvert.FromSingle(spec.Type, values, CopyOf(_source, copy));
        if (spec.IsOutOfPlace)
        {
            _target = new AlignedBuffer((long)_bytes * _copies);
            _target.Span[..Math.Min(_bytes, _target.Span.Length)].Fill(1);
        }

        if (_copies == 1)
            _spare = new AlignedBuffer(_bytes);
        Bytes = new CaseBytes(0, 0, 0);
    }

    /// <summary>The matrix as floats, before it was rotated.</summary>
    public float[] Values { get; }

    /// <summary>In how many places the matrix lies, that calls take in turns.</summary>
    public int Copies => _copies;

    /// <inheritdoc/>
    public override double? Operations => null;

    /// <inheritdoc/>
    public override double BytesMoved => 2.0 * _bytes;

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands => _variant == "ref" || _spare is not null ? [] : Roofline.OfPass(BytesMoved);

    /// <inheritdoc/>
    public override Yardstick? Yardstick => _variant == "ref" || _spare is null
        ? null
        : new Yardstick("cache_copy", BytesMoved, () => CopyOf(_source, 0).CopyTo(_spare.Span));

    /// <inheritdoc/>
    public override void Invoke()
    {
        switch (_spec.Type)
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

        _next = _next + 1 == _copies ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        // Rotated in place again and again, the matrix of the last call is not the one that it began with.
        _next = 0;
        FloatConvert.FromSingle(_spec.Type, Values, CopyOf(_source, 0));
        var source = new float[Values.Length];
        var result = new float[Values.Length];
        FloatConvert.ToSingle(_spec.Type, CopyOf(_source, 0), source);
        Invoke();
        FloatConvert.ToSingle(_spec.Type, CopyOf(_target ?? _source, 0), result);
        var meter = new KernelErrorMeter("bound", _spec.Type == ElementType.F32);
        int n = (int)_spec.Block;
        var oracle = new HadamardOracle(n);
        foreach (long index in SampleGrid.Indices(Values.Length / n, 16))
        {
            int first = (int)index * n;
            double[] block = Array.ConvertAll(source[first..(first + n)], value => (double)value);
            double bound = oracle.BoundFor(block);
            double[] exact = oracle.Rotate(block);
            for (int i = 0; i < n; i++)
                meter.AddBounded(result[first + i], exact[i], bound + RoundingOf(_spec.Type, Math.Abs(exact[i]) + bound), () => $"the value at {first + i}");
        }

        return (meter.Result(Values.Length), null);
    }

    /// <summary>The most by which rounding to a type moves a value of f32.</summary>
    internal static double RoundingOf(ElementType type, double magnitude) => type switch
    {
        ElementType.F16 => Math.Max(Math.ScaleB(magnitude, -11), Math.ScaleB(1, -25)),
        ElementType.BF16 => Math.ScaleB(magnitude, -8),
        _ => 0,
    };

    /// <inheritdoc/>
    public override void Dispose()
    {
        _source.Dispose();
        _target?.Dispose();
        _spare?.Dispose();
    }

    private void Run<T>()
        where T : unmanaged
    {
        Span<T> source = MemoryMarshal.Cast<byte, T>(CopyOf(_source, _next));
        Span<T> target = _target is null ? source : MemoryMarshal.Cast<byte, T>(CopyOf(_target, _next));
        Hadamard.Rotate<T>(_context, _options, _spec.Rows, _spec.Cols, source, target);
    }

    private Span<byte> CopyOf(AlignedBuffer buffer, int copy) => buffer.Slice<byte>((long)copy * _bytes, _bytes);
}
