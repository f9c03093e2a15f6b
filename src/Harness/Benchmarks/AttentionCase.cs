using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Peers;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Attention over the cache of one sequence or a ragged batch: decode with caches that come from memory, because between two calls of a model's layer all
/// others run; prefill with one cache.</summary>
internal sealed class AttentionCase : MeasuredCase
{
    // Tokens are made once and appended over and over: their values do not repeat within what a processor's cache holds.
    private const int Period = 1024;

    // Rows that are checked; each costs the oracle a pass over the sequence.
    private const int CheckedRows = 4;

    private readonly AttentionSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly KvCache[] _caches;
    private readonly float[] _keys;
    private readonly float[] _values;
    private readonly float[] _query;
    private readonly float[] _output;
    private readonly AlignedBuffer _workspace;
    private readonly int[] _sequences;
    private readonly long[] _queryTokens;
    private readonly long _cacheBytes;
    private int _next;
    private int _last;

    /// <summary>Prepares a case.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="appending">A context that fills the caches.</param>
    /// <param name="seed">Of the operands.</param>
    /// <param name="coldBytes">Bytes over which caches of decode are rotated.</param>
    public AttentionCase(AttentionSpec spec, string variant, KernelContext context, KernelContext appending, long seed, long coldBytes)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        long kvWidth = spec.KvHeads * spec.HeadDim;
        int period = (int)Math.Min(Period, spec.Context);
        _keys = LayerData.MakeActivations(period, kvWidth, seed);
        _values = LayerData.MakeActivations(period, kvWidth, seed + 1);
        _query = LayerData.MakeActivations(spec.Batch * spec.Queries, spec.Heads * spec.HeadDim, seed + 2);
        _output = new float[_query.Length];
        _sequences = [.. Enumerable.Range(0, spec.Batch)];
        _queryTokens = [.. Enumerable.Repeat(spec.Queries, spec.Batch)];
        KvCacheOptions options = spec.Way.Cache.ToOptions(
            (int)spec.KvHeads, (int)spec.HeadDim, [.. Enumerable.Range(0, spec.Batch).Select(spec.LengthOf)]);
        KvCacheSizes sizes = KvCache.SizesOf(options);
        _cacheBytes = sizes.KeyCodes + sizes.ValueCodes + sizes.KeyScales + sizes.ValueScales;
        _caches = new KvCache[spec.Way.IsDecode ? (int)(coldBytes / _cacheBytes) + 2 : 1];
        for (int i = 0; i < _caches.Length; i++)
        {
            _caches[i] = new KvCache(options);
            // In turns, so that the pages of a sequence do not follow each other.
            for (long token = 0; token < spec.Context; token += period)
            {
                foreach (int sequence in _sequences)
                {
                    long count = Math.Clamp(spec.LengthOf(sequence) - token, 0, period);
                    _caches[i].Append<float>(appending, sequence, count, _keys, _values);
                }
            }
        }

        _workspace = new AlignedBuffer(Attention.WorkspaceBytes(context, _caches[0], Options, _sequences, _queryTokens));
        Bytes = new CaseBytes(_cacheBytes, 2 * spec.Tokens * kvWidth * 2, _workspace.Length);
    }

    /// <inheritdoc/>
    public override double? Operations => _spec.Operations;

    /// <inheritdoc/>
    public override double BytesMoved => _cacheBytes;

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands =>
        _variant == "ref" ? [] : Roofline.OfAttention(_spec, _variant, _spec.Way.IsDecode ? _cacheBytes : 0);

    private AttentionOptions Options => new() { Heads = (int)_spec.Heads };

    /// <summary>The same for peers.</summary>
    public AttentionProblem ToProblem(long coldBytes) => new(_spec, _keys, _values, _query, coldBytes);

    /// <inheritdoc/>
    public override void Invoke()
    {
        _last = _next;
        Attention.Run<float, float>(
            _context, _caches[_next], Options, _sequences, _queryTokens, _query, _output, default, 0, 0, _workspace.Span);
        _next = _next + 1 == _caches.Length ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        var kernel = new KernelErrorMeter("bound");
        var quantization = new QuantizationErrorMeter();
        foreach (int sequence in _sequences)
            Check(sequence, kernel, quantization);
        return (kernel.Result(_output.LongLength), _spec.Way.Cache.Type == ElementType.F32 ? null : quantization.Result());
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        foreach (KvCache cache in _caches)
            cache.Dispose();
        _workspace.Dispose();
    }

    private void Check(int sequence, KernelErrorMeter kernel, QuantizationErrorMeter quantization)
    {
        int kvHeads = (int)_spec.KvHeads, dim = (int)_spec.HeadDim, heads = (int)_spec.Heads, context = (int)_spec.LengthOf(sequence);
        var kept = new float[context * kvHeads * dim];
        var keptValues = new float[kept.Length];
        _caches[_last].Read<float>(_context, sequence, 0, context, kept, keptValues);
        var oracle = new AttentionOracle(_spec.Way.Cache, new AttentionWay(heads), kvHeads, dim, _keys, _values, kept, keptValues);
        int rows = (int)_spec.Queries * heads, before = sequence * rows, checkedRows = Math.Min(rows, Math.Max(1, CheckedRows / _spec.Batch));
        for (int i = 0; i < checkedRows; i++)
        {
            // Different heads, the first query token and the last.
            int at = (int)((((long)i * (rows - 1)) + sequence) / Math.Max(1, checkedRows - 1)) % rows;
            AttentionRow row = oracle.Row(_query.AsSpan((before + at) * dim, dim), at % heads, context - (int)_spec.Queries + (at / heads));
            for (int c = 0; c < dim; c++)
            {
                int channel = c;
                float actual = _output[((before + at) * dim) + c];
                double bound = row.Bounds[c] + (GemmOracle.UnitRoundoff * Math.Abs(row.Values[c]));
                kernel.AddBounded(
                    actual, row.Values[c], bound, () => $"the output at [{(before + at) / heads},{at % heads},{channel}]");
                quantization.Add(actual, row.Unquantized[c]);
            }
        }
    }
}
