using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Tokens to the end of a sequence. Every call has the same tokens, as an op in a model finds them: the op before has just written
/// them. They are cut off again for the next call, so that they are written to the same pages.</summary>
internal sealed class KvAppendCase : MeasuredCase
{
    private readonly KvAppendSpec _spec;
    private readonly string _variant;
    private readonly KernelContext _context;
    private readonly KvCache _cache;
    private readonly AlignedBuffer _keys;
    private readonly AlignedBuffer _values;
    private readonly long _sourceBytes;
    private readonly long _cacheBytes;

    /// <summary>Prepares a case.</summary>
    /// <param name="spec">What to do.</param>
    /// <param name="variant">The variant that runs.</param>
    /// <param name="context">The context that runs it.</param>
    /// <param name="values">Keys, then values: twice tokens * heads * head dimension floats.</param>
    public KvAppendCase(KvAppendSpec spec, string variant, KernelContext context, ReadOnlySpan<float> values)
    {
        _spec = spec;
        _variant = variant;
        _context = context;
        int elements = values.Length / 2;
        _sourceBytes = elements * (spec.Way.Source.Bits() / 8L);
        _keys = new AlignedBuffer(_sourceBytes);
        _values = new AlignedBuffer(_sourceBytes);
        FloatConvert.FromSingle(spec.Way.Source, values[..elements], _keys.Span);
        FloatConvert.FromSingle(spec.Way.Source, values[elements..], _values.Span);
        _cache = new KvCache(spec.Way.ToOptions((int)spec.KvHeads, (int)spec.HeadDim, spec.Context));
        KvCacheSizes sizes = _cache.Sizes;
        long pageTokens = _cache.Pages * _cache.Options.PageTokens;
        _cacheBytes = (sizes.KeyCodes + sizes.ValueCodes + sizes.KeyScales + sizes.ValueScales) * spec.Tokens / pageTokens;
        // What was there before: the same tokens over and over.
        for (long before = spec.Context - spec.Tokens; before > 0; before -= spec.Tokens)
            Append(Math.Min(before, spec.Tokens));
        Bytes = new CaseBytes(sizes.Total, 2 * spec.Context * spec.KvHeads * spec.HeadDim * 2, 0);
    }

    /// <inheritdoc/>
    public override double? Operations => null;

    /// <inheritdoc/>
    public override double BytesMoved => (2 * _sourceBytes) + _cacheBytes;

    /// <inheritdoc/>
    public override CaseBytes Bytes { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Demand> Demands => _variant == "ref" ? [] : Roofline.OfPass(BytesMoved);

    /// <inheritdoc/>
    public override void Invoke()
    {
        _cache.Truncate(0, _spec.Context - _spec.Tokens);
        Append(_spec.Tokens);
    }

    /// <inheritdoc/>
    public override (KernelError Kernel, QuantizationError? Quantization) Check()
    {
        int width = (int)(_spec.KvHeads * _spec.HeadDim), tokens = (int)_spec.Tokens;
        var kernel = new KernelErrorMeter("exact");
        var quantization = new QuantizationErrorMeter();
        // Groups are those of the sequence: with groups the tokens have to begin with one to be known from themselves.
        long first = _spec.Context - _spec.Tokens;
        bool isKnown = _spec.Way.KeyGroup == 0 || first % _spec.Way.KeyGroup == 0;
        var keys = new float[tokens * width];
        var values = new float[tokens * width];
        _cache.Read<float>(_context, 0, first, tokens, keys, values);
        if (isKnown)
            Compare(keys, _keys, "key", source => KvOracle.Keys(_spec.Way, (int)_spec.KvHeads, (int)_spec.HeadDim, source));
        Compare(values, _values, "value", source => KvOracle.Values(_spec.Way, (int)_spec.KvHeads, (int)_spec.HeadDim, source));
        return (kernel.Result(2L * tokens * width), quantization.Result());

        void Compare(float[] read, AlignedBuffer source, string name, Func<float[], float[]> oracle)
        {
            var floats = new float[tokens * width];
            FloatConvert.ToSingle(_spec.Way.Source, source.Span, floats);
            float[] prescribed = oracle(floats);
            for (int i = 0; i < read.Length; i++)
            {
                int at = i;
                kernel.AddExact(read[i], prescribed[i], prescribed[i], 0, () => $"the {name} at [{at / width},{at % width}]");
                quantization.Add(read[i], floats[i]);
            }
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _cache.Dispose();
        _keys.Dispose();
        _values.Dispose();
    }

    private void Append(long tokens)
    {
        switch (_spec.Way.Source)
        {
            case ElementType.F32:
                _cache.Append<float>(_context, 0, tokens, _keys.AsSpan<float>(), _values.AsSpan<float>());
                break;
            case ElementType.F16:
                _cache.Append<Half>(_context, 0, tokens, _keys.AsSpan<Half>(), _values.AsSpan<Half>());
                break;
            default:
                _cache.Append<BFloat16>(_context, 0, tokens, _keys.AsSpan<BFloat16>(), _values.AsSpan<BFloat16>());
                break;
        }
    }
}
