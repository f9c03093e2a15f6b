namespace Kernels.Harness.Models;

/// <summary>Keys and values as floats in arrays: what the caches of the library are compared with.</summary>
internal sealed class FloatKeyValueCache : IKeyValueCache
{
    private readonly int _width;
    private readonly PlainAttention _attention;
    private readonly float[] _keys;
    private readonly float[] _values;

    /// <summary>Makes an empty cache.</summary>
    public FloatKeyValueCache(LlamaConfig config, int capacity)
    {
        _width = config.KvDim;
        _attention = new PlainAttention(config, capacity);
        _keys = new float[capacity * _width];
        _values = new float[capacity * _width];
    }

    /// <inheritdoc/>
    public int Length { get; private set; }

    /// <inheritdoc/>
    public double BytesPerToken => 2.0 * _width * sizeof(float);

    /// <inheritdoc/>
    public void Append(int tokens, ReadOnlySpan<float> keys, ReadOnlySpan<float> values)
    {
        keys[..(tokens * _width)].CopyTo(_keys.AsSpan(Length * _width));
        values[..(tokens * _width)].CopyTo(_values.AsSpan(Length * _width));
        Length += tokens;
    }

    /// <inheritdoc/>
    public void Attend(int tokens, ReadOnlySpan<float> queries, Span<float> output) =>
        _attention.Attend(Length, _keys, _values, tokens, queries, output);

    /// <inheritdoc/>
    public void Clear() => Length = 0;

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
