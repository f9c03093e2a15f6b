using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>A fused step, or its parts one after the other, with input and codes cold: buffers are rotated over more than the caches hold.</summary>
internal sealed class FusedCase : MeasuredCase
{
    private readonly FusedSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly AlignedBuffer _inputs;
    private readonly AlignedBuffer _sums;
    private readonly AlignedBuffer _codes;
    private readonly AlignedBuffer _scales;
    private readonly AlignedBuffer _zeroPoints;
    private readonly AlignedBuffer _between;
    private readonly float[] _weight;
    private readonly float[] _bias;
    private readonly long _matrixBytes;
    private readonly long _codeBytes;
    private readonly int _blocks;
    private readonly int _copies;
    private int _next;
    private int _last;

    /// <summary>Prepares a case.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="values">Rows * cols floats: x, and with another sign residual or ups.</param>
    /// <param name="coldBytes">Bytes over which buffers are rotated.</param>
    public FusedCase(FusedSpec spec, string variant, KernelContext context, ReadOnlySpan<float> values, long coldBytes)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _matrixBytes = spec.Rows * spec.Way.Source.RowBytes(spec.Cols);
        _codeBytes = spec.Rows * spec.Way.Type.RowBytes(spec.Cols);
        _blocks = checked((int)Quantizer.ScaleCount(spec.Way.ToOptions(), spec.Rows, spec.Cols));
        _copies = (int)Math.Clamp(coldBytes / Math.Max(1, InputBytes) + 1, 1, 1 << 10);
        _inputs = new AlignedBuffer(InputBytes * _copies);
        _sums = new AlignedBuffer(SumBytes * _copies);
        _codes = new AlignedBuffer(_codeBytes * _copies);
        _scales = new AlignedBuffer(_blocks * sizeof(float));
        _zeroPoints = new AlignedBuffer(_blocks * sizeof(int));
        _between = new AlignedBuffer(spec.Way.IsUnfused ? spec.Rows * spec.Cols * sizeof(float) : 0);
        _weight = new float[spec.Cols];
        for (int i = 0; i < _weight.Length; i++)
            _weight[i] = spec.Way.Step == FusedStep.Hadamard ? 1 : 0.75f + i % 17 / 32f;
        _bias = new float[spec.Way.Step == FusedStep.LayerNormBias ? spec.Cols : 0];
        for (int i = 0; i < _bias.Length; i++)
            _bias[i] = (i % 13 - 6) / 32f;
        float[] second = [.. values];
        for (int i = 0; i < second.Length; i++)
            second[i] = i % 2 == 0 ? -values[second.Length - 1 - i] : values[second.Length - 1 - i];
        for (int copy = 0; copy < _copies; copy++)
        {
            FloatConvert.FromSingle(spec.Way.Source, values, MatrixOf(copy, 0));
            if (spec.Way.HasSecond)
                FloatConvert.FromSingle(spec.Way.Source, second, MatrixOf(copy, 1));
        }

        Bytes = new CaseBytes(_codeBytes + ScaleBytes, spec.Rows * spec.Cols * 2, 0);
    }

    /// <inheritdoc/>
    public override double? Operations => null;

    /// <inheritdoc/>
    public override double BytesMoved => InputBytes + SumBytes + _codeBytes + ScaleBytes;

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands => _variant == "ref" ? [] : Roofline.OfStep(InputBytes, SumBytes + _codeBytes + ScaleBytes);

    private long InputBytes => _spec.Way.HasSecond ? 2 * _matrixBytes : _matrixBytes;

    private long SumBytes => _spec.Way.Step == FusedStep.ResidualRmsNorm ? _matrixBytes : 0;

    private bool IsAsymmetric => _spec.Way.ToOptions().Asymmetric;

    private long ScaleBytes => (long)_blocks * (IsAsymmetric ? sizeof(float) + sizeof(int) : sizeof(float));

    /// <inheritdoc/>
    public override void Invoke()
    {
        _last = _next;
        new FusedOperands
        {
            Source = MatrixOf(_next, 0),
            Second = _spec.Way.HasSecond ? MatrixOf(_next, 1) : default,
            Sum = _sums.Slice<byte>(_next * SumBytes, (int)SumBytes),
            Weight = _weight,
            Bias = _bias,
            Codes = _codes.Slice<byte>(_next * _codeBytes, (int)_codeBytes),
            Scales = _scales.AsSpan<float>(),
            ZeroPoints = IsAsymmetric ? _zeroPoints.AsSpan<int>() : default,
            Between = _between.AsSpan<float>(),
        }.Run(_spec.Way, _context, _spec.Rows, _spec.Cols);
        _next = _next + 1 == _copies ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        int cols = (int)_spec.Cols, stride = (int)_spec.Way.Type.RowBytes(cols);
        QuantizeOptions options = _spec.Way.ToOptions();
        var kernel = new KernelErrorMeter("bound");
        var quantization = new QuantizationErrorMeter();
        var codes = new int[cols];
        int blocksPerRow = _blocks / Math.Max(1, (int)_spec.Rows);
        foreach (long row in SampleGrid.Indices(_spec.Rows, 16))
        {
            float[] source = RowOf(SumBytes > 0 ? _sums.Slice<byte>(_last * SumBytes, (int)SumBytes) : MatrixOf(_last, 0), row);
            float[] up = _spec.Way.IsGate ? RowOf(MatrixOf(_last, 1), row) : [];
            FusedRow exact = FusedRow.Of(_spec.Way, source, up, _weight, _bias);
            CodeReader.Widen(_spec.Way.Type, _codes.Slice<byte>((_last * _codeBytes) + (row * stride), stride), codes);
            for (int col = 0; col < cols; col++)
            {
                int block = ((int)row * blocksPerRow) + (options.GroupSize == 0 ? 0 : col / (int)options.GroupSize);
                float scale = _scales.AsSpan<float>()[block];
                float actual = QuantizeOracle.Dequantize(options, codes[col], IsAsymmetric ? _zeroPoints.AsSpan<int>()[block] : 0, scale);
                int at = col;
                kernel.AddBounded(actual, exact.Values[col], exact.BoundOfCode(col, scale, IsAsymmetric), () => $"the value at [{row},{at}]");
                quantization.Add(actual, exact.Values[col]);
            }
        }

        return (kernel.Result(_spec.Rows * _spec.Cols), quantization.Result());
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _inputs.Dispose();
        _sums.Dispose();
        _codes.Dispose();
        _scales.Dispose();
        _zeroPoints.Dispose();
        _between.Dispose();
    }

    private Span<byte> MatrixOf(int copy, int index) => _inputs.Slice<byte>((copy * InputBytes) + (index * _matrixBytes), (int)_matrixBytes);

    private float[] RowOf(ReadOnlySpan<byte> matrix, long row)
    {
        int bytes = (int)_spec.Way.Source.RowBytes(_spec.Cols);
        var values = new float[_spec.Cols];
        FloatConvert.ToSingle(_spec.Way.Source, matrix.Slice((int)row * bytes, bytes), values);
        return values;
    }
}
