namespace Kernels.Harness.Models;

/// <summary>Is shown what flows through a model.</summary>
/// <param name="name">The name of a linear layer whose input it is, or "residual.N" for the residual stream before
/// decoder layer N; after the last layer N is the number of layers.</param>
/// <param name="rows">Tokens.</param>
/// <param name="values">rows times the width, row by row; they change after the call.</param>
internal delegate void ActivationObserver(string name, int rows, ReadOnlySpan<float> values);

/// <summary>One sequence going through a Llama model. Tokens come in blocks of any size up to
/// <see cref="BlockTokens"/>; how a sequence is cut into blocks does not change what is computed, but for
/// rounding.</summary>
internal sealed class LlamaSession : IDisposable
{
    private readonly Llama _model;
    private readonly KernelContext _context;
    private readonly RopeTable _rope;
    private readonly IKeyValueCache[] _caches;
    private readonly int[] _positions;
    private readonly float[] _residual;
    private readonly float[] _normed;
    private readonly float[] _queries;
    private readonly float[] _keys;
    private readonly float[] _values;
    private readonly float[] _attended;
    private readonly float[] _gate;
    private readonly float[] _up;
    private readonly string[] _residualNames;

    /// <summary>Starts an empty sequence.</summary>
    /// <param name="model">The weights.</param>
    /// <param name="scheme">How keys and values are kept.</param>
    /// <param name="context">What kernels run in.</param>
    /// <param name="capacity">The longest sequence.</param>
    /// <param name="blockTokens">The largest block.</param>
    public LlamaSession(Llama model, KvScheme scheme, KernelContext context, int capacity, int blockTokens = 128)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockTokens);
        LlamaConfig config = model.Config;
        _model = model;
        _context = context;
        Capacity = capacity;
        BlockTokens = blockTokens;
        _rope = new RopeTable(config.Rope, 0, capacity);
        _caches = [.. model.Layers.Select(_ => scheme.Create(context, config, capacity))];
        _positions = new int[blockTokens];
        _residual = new float[blockTokens * config.Dim];
        _normed = new float[blockTokens * config.Dim];
        _queries = new float[blockTokens * config.QueryDim];
        _keys = new float[blockTokens * config.KvDim];
        _values = new float[blockTokens * config.KvDim];
        _attended = new float[blockTokens * config.QueryDim];
        _gate = new float[blockTokens * config.HiddenDim];
        _up = new float[blockTokens * config.HiddenDim];
        _residualNames = [.. Enumerable.Range(0, config.Layers + 1).Select(layer => $"residual.{layer}")];
    }

    /// <summary>The longest sequence.</summary>
    public int Capacity { get; }

    /// <summary>The largest block.</summary>
    public int BlockTokens { get; }

    /// <summary>Tokens so far.</summary>
    public int Length { get; private set; }

    /// <summary>Bytes that a token takes in the caches of all layers.</summary>
    public double CacheBytesPerToken => _caches.Sum(cache => cache.BytesPerToken);

    /// <summary>Is shown the inputs of linear layers and the residual stream; null for nobody.</summary>
    public ActivationObserver? Observer { get; set; }

    /// <summary>Appends a block of tokens.</summary>
    /// <param name="tokens">1 to <see cref="BlockTokens"/> tokens of the vocabulary.</param>
    /// <param name="logits">Receives the logits after each of them, a row each.</param>
    public void Forward(ReadOnlySpan<int> tokens, Span<float> logits)
    {
        LlamaConfig config = _model.Config;
        int rows = tokens.Length;
        Check(tokens, logits.Length);
        for (int i = 0; i < rows; i++)
        {
            _positions[i] = Length + i;
        }

        Span<float> residual = _residual.AsSpan(0, rows * config.Dim), normed = _normed.AsSpan(0, rows * config.Dim);
        _model.Embed(tokens, residual);
        for (int i = 0; i < config.Layers; i++)
        {
            LlamaLayer layer = _model.Layers[i];
            Observer?.Invoke(_residualNames[i], rows, residual);
            LlamaMath.RmsNorm(residual, layer.AttentionNorm, config.NormEpsilon, normed);
            Attend(layer, _caches[i], rows, normed);
            LlamaMath.Add(residual, normed);
            LlamaMath.RmsNorm(residual, layer.FeedForwardNorm, config.NormEpsilon, normed);
            FeedForward(layer, rows, normed);
            LlamaMath.Add(residual, normed);
        }

        Observer?.Invoke(_residualNames[config.Layers], rows, residual);
        LlamaMath.RmsNorm(residual, _model.Norm, config.NormEpsilon, normed);
        Apply(_model.Classifier, rows, normed, logits);
        Length += rows;
    }

    /// <summary>Starts again with an empty sequence.</summary>
    public void Clear()
    {
        foreach (IKeyValueCache cache in _caches)
        {
            cache.Clear();
        }

        Length = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IKeyValueCache cache in _caches)
        {
            cache.Dispose();
        }
    }

    // x becomes what attention adds to the residual stream.
    private void Attend(LlamaLayer layer, IKeyValueCache cache, int rows, Span<float> x)
    {
        LlamaConfig config = _model.Config;
        Span<float> queries = _queries.AsSpan(0, rows * config.QueryDim), attended = _attended.AsSpan(0, rows * config.QueryDim);
        Span<float> keys = _keys.AsSpan(0, rows * config.KvDim), values = _values.AsSpan(0, rows * config.KvDim);
        Apply(layer.Query, rows, x, queries);
        Apply(layer.Key, rows, x, keys);
        Apply(layer.Value, rows, x, values);
        ReadOnlySpan<int> positions = _positions.AsSpan(0, rows);
        Rope.RotateInPlace(_context, _rope, config.Heads, positions, queries);
        Rope.RotateInPlace(_context, _rope, config.KvHeads, positions, keys);
        cache.Append(rows, keys, values);
        cache.Attend(rows, queries, attended);
        Apply(layer.AttentionOutput, rows, attended, x);
    }

    // x becomes what the feed-forward part adds.
    private void FeedForward(LlamaLayer layer, int rows, Span<float> x)
    {
        int width = rows * _model.Config.HiddenDim;
        Span<float> gate = _gate.AsSpan(0, width), up = _up.AsSpan(0, width);
        Apply(layer.Gate, rows, x, gate);
        Apply(layer.Up, rows, x, up);
        LlamaMath.SwiGlu(gate, up);
        Apply(layer.Down, rows, gate, x);
    }

    private void Apply(ILinear linear, int rows, ReadOnlySpan<float> x, Span<float> y)
    {
        Observer?.Invoke(linear.Name, rows, x);
        linear.Multiply(rows, x, y);
    }

    private void Check(ReadOnlySpan<int> tokens, int logits)
    {
        if (tokens.IsEmpty || tokens.Length > BlockTokens || tokens.Length > Capacity - Length)
        {
            throw new ArgumentException(
                $"A block has 1 to {BlockTokens} tokens, and the sequence {Capacity} at most: {tokens.Length} after {Length} are too many or none.",
                nameof(tokens));
        }

        foreach (int token in tokens)
        {
            if (token < 0 || token >= _model.Config.VocabularySize)
            {
                throw new ArgumentOutOfRangeException(nameof(tokens), token, $"The vocabulary has {_model.Config.VocabularySize} tokens.");
            }
        }

        if (logits < (long)tokens.Length * _model.Config.VocabularySize)
        {
            throw new ArgumentException($"{tokens.Length} rows of {_model.Config.VocabularySize} logits do not fit.", nameof(logits));
        }
    }
}
