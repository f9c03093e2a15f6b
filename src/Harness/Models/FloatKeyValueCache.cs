namespace Kernels.Harness.Models;

/// <summary>Keys and values as floats, and attention written out: the reference that quantized caches are compared
/// with.</summary>
internal sealed class FloatKeyValueCache : IKeyValueCache
{
    private readonly LlamaConfig _config;
    private readonly float[] _keys;
    private readonly float[] _values;
    private readonly float[] _scores;

    /// <summary>Makes an empty cache.</summary>
    public FloatKeyValueCache(LlamaConfig config, int capacity)
    {
        _config = config;
        _keys = new float[capacity * config.KvDim];
        _values = new float[capacity * config.KvDim];
        _scores = new float[capacity];
    }

    /// <inheritdoc/>
    public int Length { get; private set; }

    /// <inheritdoc/>
    public long Bytes => 2L * Length * _config.KvDim * sizeof(float);

    /// <inheritdoc/>
    public void Append(int tokens, ReadOnlySpan<float> keys, ReadOnlySpan<float> values)
    {
        int width = _config.KvDim;
        keys[..(tokens * width)].CopyTo(_keys.AsSpan(Length * width));
        values[..(tokens * width)].CopyTo(_values.AsSpan(Length * width));
        Length += tokens;
    }

    /// <inheritdoc/>
    public void Attend(int tokens, ReadOnlySpan<float> queries, Span<float> output)
    {
        int dim = _config.HeadDim;
        for (int token = 0; token < tokens; token++)
        {
            for (int head = 0; head < _config.Heads; head++)
            {
                int at = (token * _config.Heads + head) * dim;
                int kvHead = head / (_config.Heads / _config.KvHeads);
                AttendHead(Length - tokens + token + 1, kvHead, queries.Slice(at, dim), output.Slice(at, dim));
            }
        }
    }

    /// <inheritdoc/>
    public void Clear() => Length = 0;

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    // One query over the first `visible` tokens.
    private void AttendHead(int visible, int kvHead, ReadOnlySpan<float> query, Span<float> output)
    {
        int dim = _config.HeadDim, stride = _config.KvDim, start = kvHead * dim;
        float scale = 1 / MathF.Sqrt(dim);
        Span<float> scores = _scores.AsSpan(0, visible);
        for (int i = 0; i < visible; i++)
        {
            scores[i] = LlamaMath.Dot(query, _keys.AsSpan(i * stride + start, dim)) * scale;
        }

        LlamaMath.Softmax(scores);
        output.Clear();
        for (int i = 0; i < visible; i++)
        {
            ReadOnlySpan<float> value = _values.AsSpan(i * stride + start, dim);
            for (int d = 0; d < dim; d++)
            {
                output[d] += scores[i] * value[d];
            }
        }
    }
}
