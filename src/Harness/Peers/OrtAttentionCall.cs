using System.Runtime.InteropServices;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Peers;

/// <summary>ONNX Runtime's GroupQueryAttention in f32. A cache is one tensor for all sequences, long enough for the longest; the op writes the
/// keys and values of its query tokens into it, and then attends.</summary>
internal sealed class OrtAttentionCall : IPeerCall
{
    private const string Op = "GroupQueryAttention";

    private readonly OnnxRuntimePeer _peer;
    private readonly AttentionSpec _spec;
    private readonly List<AlignedBuffer> _buffers = [];
    private readonly List<nint> _tensors = [];
    private readonly List<(OrtArguments Inputs, OrtArguments Outputs)> _runs = [];
    private readonly AlignedBuffer _output;
    private readonly nint _session;
    private int _next;

    private OrtAttentionCall(OnnxRuntimePeer peer, AttentionProblem problem, nint session)
    {
        _peer = peer;
        _spec = problem.Spec;
        _session = session;
        long[] cacheDims = CacheDims(_spec), tokenDims = TokenDims(_spec, _spec.KvHeads), queryDims = TokenDims(_spec, _spec.Heads);
        nint query = Tensor(queryDims, out AlignedBuffer queries), output = Tensor(queryDims, out _output);
        problem.Query.CopyTo(queries.AsSpan<float>());
        nint keys = Tensor(tokenDims, out AlignedBuffer newKeys), values = Tensor(tokenDims, out AlignedBuffer newValues);
        FillTokens(problem, problem.Keys, newKeys);
        FillTokens(problem, problem.Values, newValues);
        long cacheBytes = 2 * cacheDims.Aggregate(sizeof(float), (long product, long size) => product * size);
        long copies = problem.ColdBytes == 0 ? 1 : (problem.ColdBytes / cacheBytes) + 2;
        while (_runs.Count < copies)
        {
            nint pastKeys = Tensor(cacheDims, out AlignedBuffer keyCache), pastValues = Tensor(cacheDims, out AlignedBuffer valueCache);
            FillCache(problem, problem.Keys, keyCache);
            FillCache(problem, problem.Values, valueCache);
            // The same memory before and after: the op then copies no cache.
            _runs.Add((
                new OrtArguments(("query", query), ("key", keys), ("value", values), ("past_key", pastKeys), ("past_value", pastValues)),
                new OrtArguments(("output", output), ("present_key", pastKeys), ("present_value", pastValues))));
        }
    }

    /// <inheritdoc/>
    public string Function => $"{Op} f32";

    /// <inheritdoc/>
    public PeerTraits Traits { get; } = new(PeerInput.Floats, Note: "f32 cache; appends the query tokens too");

    /// <summary>Prepares a case; null when the op cannot do it.</summary>
    public static OrtAttentionCall? TryPrepare(OnnxRuntimePeer peer, AttentionProblem problem, int threads)
    {
        AttentionSpec spec = problem.Spec;
        // Several tokens behind a past are for one sequence alone.
        if (spec.Batch > 1 && spec.Queries > 1)
            return null;
        return peer.TryMakeSession(Model(spec).Serialize(), threads) is { } session ? new OrtAttentionCall(peer, problem, session) : null;
    }

    /// <summary>The model of a case.</summary>
    internal static OnnxNode Model(AttentionSpec spec)
    {
        long[] cacheDims = CacheDims(spec), tokenDims = TokenDims(spec, spec.KvHeads), queryDims = TokenDims(spec, spec.Heads);
        int[] last = [.. Enumerable.Range(0, spec.Batch).Select(sequence => (int)spec.LengthOf(sequence) - 1)], total = [(int)spec.Context];
        return new OnnxNode(
            Op, "com.microsoft",
            [
                new("query", OnnxType.F32, queryDims), new("key", OnnxType.F32, tokenDims), new("value", OnnxType.F32, tokenDims),
                new("past_key", OnnxType.F32, cacheDims), new("past_value", OnnxType.F32, cacheDims),
            ],
            [
                new("output", OnnxType.F32, queryDims), new("present_key", OnnxType.F32, cacheDims), new("present_value", OnnxType.F32, cacheDims),
            ],
            [("num_heads", spec.Heads), ("kv_num_heads", spec.KvHeads)],
            [
                new("seqlens_k", OnnxType.S32, [spec.Batch], MemoryMarshal.AsBytes(last.AsSpan()).ToArray()),
                new("total_sequence_length", OnnxType.S32, [1], MemoryMarshal.AsBytes(total.AsSpan()).ToArray()),
            ]);
    }

    /// <inheritdoc/>
    public void Invoke()
    {
        _peer.Api.Run(_session, _runs[_next].Inputs, _runs[_next].Outputs);
        _next = _next + 1 == _runs.Count ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public float Output(long m, long n) => _output.Slice<float>((m * _spec.Heads * _spec.HeadDim) + n, 1)[0];

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((OrtArguments inputs, OrtArguments outputs) in _runs)
        {
            inputs.Dispose();
            outputs.Dispose();
        }

        _peer.FreeSession(_session);
        _tensors.ForEach(_peer.Api.FreeTensor);
        _buffers.ForEach(buffer => buffer.Dispose());
    }

    private static long[] CacheDims(AttentionSpec spec) => [spec.Batch, spec.KvHeads, spec.Context, spec.HeadDim];

    private static long[] TokenDims(AttentionSpec spec, long heads) => [spec.Batch, spec.Queries, heads * spec.HeadDim];

    private nint Tensor(long[] dims, out AlignedBuffer memory)
    {
        memory = new AlignedBuffer(dims.Aggregate(sizeof(float), (long product, long size) => product * size));
        _buffers.Add(memory);
        nint tensor = _peer.Api.MakeTensor(memory, OnnxType.F32, dims);
        _tensors.Add(tensor);
        return tensor;
    }

    private void FillTokens(AttentionProblem problem, float[] source, AlignedBuffer target)
    {
        int dim = (int)_spec.HeadDim;
        long at = 0;
        for (int sequence = 0; sequence < _spec.Batch; sequence++)
        {
            for (long token = _spec.LengthOf(sequence) - _spec.Queries; token < _spec.LengthOf(sequence); token++)
            {
                for (int head = 0; head < _spec.KvHeads; head++, at += dim)
                    problem.Head(source, token, head).CopyTo(target.Slice<float>(at, dim));
            }
        }
    }

    // Also of the tokens that the call brings: what it writes is what was there.
    private void FillCache(AttentionProblem problem, float[] source, AlignedBuffer target)
    {
        int dim = (int)_spec.HeadDim, heads = (int)_spec.KvHeads;
        Parallel.For(0, _spec.Batch * heads, index =>
        {
            for (long token = 0; token < _spec.Context; token++)
                problem.Head(source, token, index % heads).CopyTo(target.Slice<float>(((index * _spec.Context) + token) * dim, dim));
        });
    }
}
