using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>A GEMM on the operands of a layer, output f32.</summary>
internal sealed class GemmCase : MeasuredCase
{
    /// <summary>Batches up to this size find the weights cold, as decoding does: between two uses of a layer come all the others.</summary>
    public const long ColdBatch = 8;

    private const string ReferenceVariant = "ref";

    private readonly GemmSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly LayerData _layer;
    private readonly WeightOperand _weights;
    private readonly ActivationOperand _activations;
    private readonly AlignedBuffer _output;
    private readonly AlignedBuffer _workspace;
    private readonly int _copies;
    private readonly bool _isFromMemory;
    private int _next;

    /// <summary>Prepares a case. The weights stay the caller's.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="quantizing">The context that quantizes activations.</param>
    /// <param name="layer">The unquantized operands.</param>
    /// <param name="weights">The quantized weights.</param>
    /// <param name="coldBytes">Several times what the caches hold.</param>
    public GemmCase(
        GemmSpec spec, string variant, KernelContext context, KernelContext quantizing, LayerData layer, WeightOperand weights, long coldBytes)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        _layer = layer;
        _weights = weights;
        _activations = new ActivationOperand(quantizing, layer, spec.M, spec.Cell, weights.Oracle.OutlierColumns);
        _output = new AlignedBuffer(Math.Max(1, spec.M * spec.N * sizeof(float)));
        long workspaceBytes = Gemm.WorkspaceBytes(context, weights.Copies[0], spec.Cell.Activations, spec.M, _activations.ToOptions());
        _workspace = new AlignedBuffer(workspaceBytes);
        _copies = spec.M <= ColdBatch ? weights.Copies.Count : 1;
        _isFromMemory = _copies * weights.PackedBytes >= coldBytes / 2;
        Bytes = new CaseBytes(weights.PackedBytes, spec.N * spec.K * 2, workspaceBytes);
    }

    /// <summary>The quantized weights.</summary>
    public WeightOperand Weights => _weights;

    /// <summary>The activations of the cell's type.</summary>
    public ActivationOperand Activations => _activations;

    /// <inheritdoc/>
    public override double? Operations => _spec.Operations;

    /// <inheritdoc/>
    public override double BytesMoved =>
        _weights.PackedBytes + _spec.M * (double)_activations.RowBytes + _spec.M * (double)_spec.N * sizeof(float)
        + _spec.Cell.LoraRank * (double)(_spec.N + _spec.K) * sizeof(float);

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands =>
        _variant == ReferenceVariant ? [] : Roofline.OfGemm(_spec, _variant, _isFromMemory ? _weights.PackedBytes : 0);

    /// <inheritdoc/>
    public override void Invoke()
    {
        Gemm.Run(
            _context, _weights.Copies[_next], _spec.M, _activations.ToActivations(), new GemmOutput<float>(_output.AsSpan<float>()),
            _activations.ToOptions(), _workspace.Span);
        _next = _next + 1 == _copies ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        var kernel = new KernelErrorMeter(_spec.Cell.IsInteger ? "exact" : "bound");
        var quantization = new QuantizationErrorMeter();
        long[] rows = SampleGrid.Indices(_spec.M), columns = SampleGrid.Indices(_spec.N);
        double[] unquantized = _layer.Exact(_spec.M);
        var channels = new OracleChannel[columns.Length];
        Parallel.For(0, columns.Length, j => channels[j] = _weights.Oracle.Channel(columns[j], GemmOracle.EntriesOf(_variant)));

        var outputs = new (float Prescribed, OracleOutput Exact)[columns.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            long m = rows[i];
            ComputeRow(m, columns, channels, outputs);
            SideRow adapted = _activations.Adapter.Row(_layer.ActivationRow(m).ToArray());
            ReadOnlySpan<float> actual = _output.Slice<float>(m * _spec.N, (int)_spec.N);
            for (int j = 0; j < columns.Length; j++)
            {
                long n = columns[j];
                (float prescribed, OracleOutput exact) = outputs[j];
                double bound = GemmOracle.Bound(exact, _spec.K, ElementType.F32, _spec.Cell.LoraRank, _variant);
                if (_spec.Cell.IsInteger)
                    kernel.AddExact(actual[(int)n], prescribed, exact.Value, bound, () => $"Y[{m},{n}]");
                else
                    kernel.AddBounded(actual[(int)n], exact.Value, bound, () => $"Y[{m},{n}]");
                quantization.Add(
                    actual[(int)n], unquantized[i * columns.Length + j] + _activations.Adapter.Exact(adapted, channels[j], n).Value);
            }
        }

        return (kernel.Result(_spec.M * _spec.N), quantization.Result());
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _activations.Dispose();
        _output.Dispose();
        _workspace.Dispose();
    }

    private void ComputeRow(long m, long[] columns, OracleChannel[] channels, (float Prescribed, OracleOutput Exact)[] outputs)
    {
        SideOracle side = _activations.Side;
        SideRow sideRow = _activations.SideRow(m);
        if (_spec.Cell.IsInteger)
        {
            IntegerRow row = _activations.IntegerRow(m);
            Parallel.For(0, channels.Length, j => outputs[j] = (
                GemmOracle.ExactInteger(row, channels[j], null, null, side.Bits(sideRow, channels[j], columns[j])),
                GemmOracle.Integer(row, channels[j], null, null, side.Exact(sideRow, channels[j], columns[j]))));
        }
        else
        {
            float[] row = _activations.FloatRow(m);
            Parallel.For(0, channels.Length, j => outputs[j] = (
                0, GemmOracle.Float(row, channels[j], null, null, side.Exact(sideRow, channels[j], columns[j]))));
        }
    }
}
