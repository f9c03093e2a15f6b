using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>ONNX Runtime: MatMulNBits, for 8-bit weights per channel MatMulInteger and DynamicQuantizeMatMul, and GroupQueryAttention.</summary>
internal sealed class OnnxRuntimePeer : IPeer
{
    private readonly OrtApi _api;
    private nint _environment;
    private int _threads;
    private int _sessions;

    private OnnxRuntimePeer(OrtApi api) => _api = api;

    /// <summary>How to find it.</summary>
    public static PeerEntry Entry { get; } = new(
        "ONNX Runtime",
        ["libonnxruntime.so.1", "libonnxruntime.so.1.21", "libonnxruntime.so", "libonnxruntime.dylib", "onnxruntime.dll"],
        "install libonnxruntime1.21 (Debian) or onnxruntime (Homebrew, vcpkg), or take the library out of the packages Microsoft.ML.OnnxRuntime "
            + "(NuGet) or onnxruntime-node (npm)",
        library => new OnnxRuntimePeer(new OrtApi(library)));

    /// <inheritdoc/>
    public string Name => "ONNX Runtime";

    /// <inheritdoc/>
    public string Version => _api.Version;

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareGemm(PeerProblem problem, int threads)
    {
        if (!problem.IsUsual)
            yield break;
        foreach (OrtRecipe recipe in OrtRecipe.For(problem))
        {
            if (OrtCall.TryPrepare(this, recipe, problem, threads) is { } call)
                yield return call;
        }
    }

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareAttention(AttentionProblem problem, int threads) =>
        OrtAttentionCall.TryPrepare(this, problem, threads) is { } call ? [call] : [];

    /// <summary>Makes a session whose threads are so many; null when the library has no kernel for the model.</summary>
    internal nint? TryMakeSession(byte[] model, int threads)
    {
        if (_threads != threads)
        {
            // The pool belongs to the process: another number of threads means another environment.
            if (_sessions > 0)
                throw new InvalidOperationException("Calls on different numbers of threads cannot live at the same time.");
            if (_environment != 0)
                _api.FreeEnvironment(_environment);
            _environment = _api.MakeEnvironment(threads);
            _threads = threads;
        }

        if (_api.TryMakeSession(_environment, model, out nint session) is not null)
            return null;
        _sessions++;
        return session;
    }

    /// <summary>Frees a session.</summary>
    internal void FreeSession(nint session)
    {
        _api.FreeSession(session);
        _sessions--;
    }

    /// <summary>The C interface.</summary>
    internal OrtApi Api => _api;
}

/// <summary>A model that is ready: sessions that have packed their weights, as many as make them cold.</summary>
internal sealed class OrtCall : IPeerCall
{
    private readonly OnnxRuntimePeer _peer;
    private readonly OrtRecipe _recipe;
    private readonly PeerProblem _problem;
    private readonly TokenFinish? _finish;
    private readonly AlignedBuffer _input;
    private readonly AlignedBuffer _output;
    private readonly nint _inputTensor;
    private readonly nint _outputTensor;
    private readonly List<nint> _sessions = [];
    private int _next;

    private OrtCall(OnnxRuntimePeer peer, OrtRecipe recipe, PeerProblem problem)
    {
        _peer = peer;
        _recipe = recipe;
        _problem = problem;
        _finish = recipe.Traits.Input == PeerInput.OfCell && recipe.Model.Output == OnnxType.S32 ? new TokenFinish(problem) : null;
        ReadOnlySpan<byte> input = recipe.Model.Input == OnnxType.F32
            ? MemoryMarshal.AsBytes(problem.Rows)
            : problem.Activations.Data[..(problem.M * problem.K)];
        _input = new AlignedBuffer(input.Length);
        input.CopyTo(_input.Span);
        foreach (ref byte code in recipe.InputShift == 0 ? [] : _input.Span)
            code ^= recipe.InputShift;
        _output = new AlignedBuffer(problem.Spec.M * problem.Spec.N * sizeof(float));
        _inputTensor = peer.Api.MakeTensor(_input, recipe.Model.Input, problem.M, problem.K);
        _outputTensor = peer.Api.MakeTensor(_output, recipe.Model.Output, problem.M, problem.N);
    }

    /// <inheritdoc/>
    public string Function => _recipe.Function;

    /// <inheritdoc/>
    public PeerTraits Traits => _recipe.Traits;

    /// <summary>Prepares a model; null when the library has no kernel for it.</summary>
    public static OrtCall? TryPrepare(OnnxRuntimePeer peer, OrtRecipe recipe, PeerProblem problem, int threads)
    {
        byte[] model = recipe.Model.Serialize(problem.M, problem.N, problem.K);
        var call = new OrtCall(peer, recipe, problem);
        int copies = problem.CopiesFor(recipe.WeightBytes);
        while (call._sessions.Count < copies)
        {
            if (peer.TryMakeSession(model, threads) is not { } session)
            {
                call.Dispose();
                return null;
            }

            call._sessions.Add(session);
        }

        return call;
    }

    /// <inheritdoc/>
    public void Invoke()
    {
        _peer.Api.Run(_sessions[_next], _inputTensor, _outputTensor);
        _next = _next + 1 == _sessions.Count ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public float Output(long m, long n)
    {
        long at = m * _problem.N + n;
        // Sums of integers: the scale of the channel is left to the user, like that of the token.
        return _finish is null
            ? _output.Slice<float>(at, 1)[0]
            : _finish.Apply(m, n, _output.Slice<int>(at, 1)[0] * (double)_problem.Weights.Scales[n]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (nint session in _sessions)
            _peer.FreeSession(session);
        _peer.Api.FreeTensor(_inputTensor);
        _peer.Api.FreeTensor(_outputTensor);
        _input.Dispose();
        _output.Dispose();
    }
}
