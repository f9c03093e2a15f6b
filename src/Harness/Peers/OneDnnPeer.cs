using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>oneDNN: products of 8-bit integers, of floats, and of floats with weights that it widens on the fly.</summary>
internal sealed class OneDnnPeer : IPeer
{
    private readonly OneDnnApi _api;

    private OneDnnPeer(OneDnnApi api) => _api = api;

    /// <summary>How to find it.</summary>
    public static PeerEntry Entry { get; } = new(
        "oneDNN",
        ["libdnnl.so.3", "libdnnl.so.3.6", "libdnnl.so", "libdnnl.3.dylib", "libdnnl.dylib", "dnnl.dll"],
        "install libdnnl3 or libdnnl3.6 (Debian, Ubuntu), onednn (Homebrew, vcpkg) or build version 3 with OpenMP",
        library => new OneDnnPeer(new OneDnnApi(library)));

    /// <inheritdoc/>
    public string Name => "oneDNN";

    /// <inheritdoc/>
    public string Version => _api.Version;

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareGemm(PeerProblem problem, int threads)
    {
        if (!problem.IsUsual)
            yield break;
        foreach (OneDnnRecipe recipe in RecipesFor(problem))
        {
            _api.SetThreads(threads);
            if (OneDnnCall.TryPrepare(_api, recipe, problem, threads) is { } call)
                yield return call;
        }
    }

    /// <summary>What a user of the cell would try, whether or not the library has it.</summary>
    internal static IEnumerable<OneDnnRecipe> RecipesFor(PeerProblem problem)
    {
        ElementType activations = problem.Spec.Cell.Activations;
        PeerWeights weights = problem.Weights;
        // It quantizes no activations.
        if (problem.Spec.Cell.Compute is not null)
            yield break;
        if (activations is ElementType.BF16)
            yield return new OneDnnRecipe(OneDnnType.BF16, OneDnnType.BF16, "weights in bf16");
        else if (activations is ElementType.F32)
            yield return new OneDnnRecipe(OneDnnType.F32, OneDnnType.F32, "weights in f32");
        if (!weights.IsPlain)
            yield break;
        bool is8Bit = weights.Format == ElementType.S8;
        OneDnnType own = weights.Format switch { ElementType.S8 => OneDnnType.S8, ElementType.S4 => OneDnnType.S4, _ => OneDnnType.U4 };
        // Groups of which the last is cut off cannot be told, nor rows of 4-bit codes that end within a byte.
        if ((!weights.IsPerChannel && problem.K % weights.GroupLength != 0) || (!is8Bit && problem.K % 2 != 0))
            yield break;
        if (activations is ElementType.S8 or ElementType.S4 or ElementType.U8)
        {
            OneDnnType source = activations == ElementType.U8 ? OneDnnType.U8 : OneDnnType.S8;
            string left = activations switch
            {
                ElementType.S8 => "token scales left out",
                ElementType.S4 => "token scales left out, activations widened to s8 before",
                _ => "token scales and zero points left out",
            };
            yield return new OneDnnRecipe(source, OneDnnType.S8, is8Bit ? left : $"{left}, 4-bit codes widened to s8 before");
            if (!is8Bit)
                yield return new OneDnnRecipe(source, own, left);
        }
        else if (activations is ElementType.BF16)
        {
            yield return new OneDnnRecipe(OneDnnType.BF16, own, null);
        }
    }
}

/// <summary>One way to compute a cell: the types that the product is given.</summary>
/// <param name="Source">Activations.</param>
/// <param name="Weights">Weights; their scales are given too where it is an integer type.</param>
/// <param name="Note">What is not like our call.</param>
internal sealed record OneDnnRecipe(OneDnnType Source, OneDnnType Weights, string? Note)
{
    /// <summary>Whether activations are integers.</summary>
    public bool IsInteger => Source is OneDnnType.S8 or OneDnnType.U8;

    /// <summary>Whether weights have scales.</summary>
    public bool HasScales => Weights is OneDnnType.S8 or OneDnnType.S4 or OneDnnType.U4;

    /// <summary>Such as "matmul bf16 x s4".</summary>
    public string Function => $"matmul {NameOf(Source)} x {NameOf(Weights)}";

    /// <summary>Bits of an element.</summary>
    public static int BitsOf(OneDnnType type) => type switch
    {
        OneDnnType.S4 or OneDnnType.U4 => 4,
        OneDnnType.S8 or OneDnnType.U8 => 8,
        OneDnnType.BF16 => 16,
        _ => 32,
    };

    private static string NameOf(OneDnnType type) => type.ToString().ToLowerInvariant();
}

/// <summary>A product that is ready: weights reordered to the layout that the product wants, in as many copies as make them cold.</summary>
internal sealed unsafe class OneDnnCall : IPeerCall
{
    private readonly OneDnnApi _api;
    private readonly OneDnnRecipe _recipe;
    private readonly int _threads;
    private readonly int _columns;
    private readonly TokenFinish? _finish;
    private readonly AlignedBuffer _output;
    private readonly List<AlignedBuffer> _buffers = [];
    private readonly List<nint> _memories = [];
    private nint _primitive;
    private nint[] _weights = [];
    // In native memory, so that a call neither allocates nor pins.
    private readonly AlignedBuffer _arguments = new(MaxArguments * sizeof(OneDnnApi.ExecutionArgument));
    private int _argumentCount;
    private int _next;

    private const int MaxArguments = 8;

    private OneDnnCall(OneDnnApi api, OneDnnRecipe recipe, PeerProblem problem, int threads)
    {
        _api = api;
        _recipe = recipe;
        _threads = threads;
        _columns = problem.N;
        _finish = recipe.IsInteger ? new TokenFinish(problem) : null;
        _output = Own(new AlignedBuffer(problem.Spec.M * problem.Spec.N * sizeof(float)));
    }

    /// <inheritdoc/>
    public string Function => _recipe.Function;

    /// <inheritdoc/>
    public PeerTraits Traits => new(
        PeerInput.OfCell, WeightRoundoff: _recipe.Source == OneDnnType.BF16 ? PeerTraits.Bf16Roundoff : 0, Note: _recipe.Note);

    /// <summary>Prepares a product; null when the library has no fast one.</summary>
    public static OneDnnCall? TryPrepare(OneDnnApi api, OneDnnRecipe recipe, PeerProblem problem, int threads)
    {
        var call = new OneDnnCall(api, recipe, problem, threads);
        bool isPrepared = false;
        try
        {
            isPrepared = call.TryPrepare(problem);
        }
        finally
        {
            if (!isPrepared)
                call.Dispose();
        }

        return isPrepared ? call : null;
    }

    /// <inheritdoc/>
    public void Invoke()
    {
        _api.SetThreads(_threads);
        fixed (OneDnnApi.ExecutionArgument* arguments = _arguments.AsSpan<OneDnnApi.ExecutionArgument>())
        {
            arguments[1].Memory = _weights[_next];
            _api.Execute(_primitive, arguments, _argumentCount);
        }

        _next = _next + 1 == _weights.Length ? 0 : _next + 1;
    }

    /// <inheritdoc/>
    public float Output(long m, long n)
    {
        float value = _output.Slice<float>(m * _columns + n, 1)[0];
        return _finish?.Apply(m, n, value) ?? value;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (nint memory in _memories)
            _api.DestroyMemory(memory);
        if (_primitive != 0)
            _api.DestroyPrimitive(_primitive);
        foreach (AlignedBuffer buffer in _buffers)
            buffer.Dispose();
        _arguments.Dispose();
        // Its threads spin for a while after a call and would be in the way of ours.
        _api.SetThreads(1);
    }

    private bool TryPrepare(PeerProblem problem)
    {
        int m = problem.M, n = problem.N, k = problem.K;
        OneDnnType zeroPoints = _recipe.Weights == OneDnnType.U4 ? OneDnnType.U4 : OneDnnType.None;
        long groupLength = !_recipe.HasScales ? -1 : problem.Weights.IsPerChannel ? 0 : problem.Weights.GroupLength;
        nint attributes = _api.TryMakeAttributes(groupLength, zeroPoints, _recipe.HasScales && !_recipe.IsInteger), matmul = 0;
        nint source = _api.TryDescribe(m, k, _recipe.Source, k, 1);
        nint any = _api.TryDescribeAny(k, n, _recipe.Weights);
        nint byOutput = _api.TryDescribe(k, n, _recipe.Weights, 1, k), byInput = _api.TryDescribe(k, n, _recipe.Weights, n, 1);
        nint destination = _api.TryDescribe(m, n, OneDnnType.F32, n, 1);
        nint scales = _recipe.HasScales ? DescribeGroups(problem, OneDnnType.F32) : 0;
        nint points = zeroPoints != OneDnnType.None ? DescribeGroups(problem, zeroPoints) : 0;
        try
        {
            // Without byInput there is no plain layout; all others are needed.
            if (attributes == 0 || source == 0 || any == 0 || byOutput == 0 || destination == 0 || (_recipe.HasScales && scales == 0)
                || (zeroPoints != OneDnnType.None && points == 0))
                return false;
            matmul = _api.TryDescribeMatmul(source, any, destination, attributes);
            if (matmul == 0 || !TryPackWeights(problem, byOutput, byInput, _api.WeightsOf(matmul)))
                return false;
            _primitive = _api.MakePrimitive(matmul);
            AddArgument(OneDnnApi.ArgSource, source, SourceOf(problem));
            AddArgument(OneDnnApi.ArgWeights, _weights[0]);
            AddArgument(OneDnnApi.ArgDestination, destination, _output);
            if (scales != 0)
                AddArgument(OneDnnApi.ArgScales | OneDnnApi.ArgWeights, scales, ScalesOf(problem.Weights));
            if (points != 0)
                AddArgument(OneDnnApi.ArgZeroPoints | OneDnnApi.ArgWeights, points, ZeroPointsOf(problem));
            return true;
        }
        finally
        {
            if (matmul != 0)
                _api.DestroyPrimitiveDesc(matmul);
            foreach (nint desc in new[] { source, any, byOutput, byInput, destination, scales, points }.Where(desc => desc != 0))
                _api.DestroyDesc(desc);
            if (attributes != 0)
                _api.DestroyAttributes(attributes);
        }
    }

    private nint DescribeGroups(PeerProblem problem, OneDnnType type) => _api.TryDescribe(problem.Weights.Groups, problem.N, type, problem.N, 1);

    private bool TryPackWeights(PeerProblem problem, nint byOutput, nint byInput, nint packed)
    {
        // 4-bit codes may be wanted in plain rows of N, and versions that want this do not reorder them.
        bool isPlain = OneDnnRecipe.BitsOf(_recipe.Weights) == 4 && byInput != 0 && _api.AreEqual(packed, byInput);
        using AlignedBuffer codes = isPlain ? CodesByInput(problem) : WeightsOf(problem);
        long bytes = _api.BytesOf(packed);
        int copies = problem.CopiesFor(bytes);
        _weights = new nint[copies];
        for (int copy = 0; copy < copies; copy++)
        {
            // Huge pages for the peer too: what is compared is the code, not the allocation.
            AlignedBuffer target = Own(new AlignedBuffer(bytes));
            if (!isPlain && !_api.TryReorder(byOutput, AddressOf(codes), packed, AddressOf(target)))
                return false;
            if (isPlain)
                codes.Span.CopyTo(target.Span);
            _memories.Add(_weights[copy] = _api.MakeMemory(packed, AddressOf(target)));
        }

        return true;
    }

    private AlignedBuffer SourceOf(PeerProblem problem)
    {
        long bytes = problem.Spec.M * problem.Spec.K * OneDnnRecipe.BitsOf(_recipe.Source) / 8;
        AlignedBuffer buffer = Own(new AlignedBuffer(bytes));
        if (problem.Spec.Cell.Activations != ElementType.S4)
        {
            problem.Activations.Data[..(int)bytes].CopyTo(buffer.Span);
            return buffer;
        }

        for (int m = 0; m < problem.M; m++)
            Accuracy.CodeReader.Narrow(ElementType.S8, problem.Activations.IntegerRow(m).Values, buffer.Slice<byte>((long)m * problem.K, problem.K));
        return buffer;
    }

    private static AlignedBuffer CodesByInput(PeerProblem problem)
    {
        byte[] codes = problem.Weights.CodesByInput();
        var buffer = new AlignedBuffer(codes.Length);
        codes.CopyTo(buffer.Span);
        return buffer;
    }

    private AlignedBuffer WeightsOf(PeerProblem problem)
    {
        var buffer = new AlignedBuffer((problem.Spec.N * problem.Spec.K * OneDnnRecipe.BitsOf(_recipe.Weights) + 7) / 8);
        switch (_recipe.Weights)
        {
            case OneDnnType.F32:
                problem.Weights.Dequantized.CopyTo(buffer.AsSpan<float>());
                break;
            case OneDnnType.BF16:
                problem.Weights.WriteBf16(buffer.Span);
                break;
            case OneDnnType.S8:
                problem.Weights.Signed.CopyTo(buffer.AsSpan<sbyte>());
                break;
            default:
                problem.Weights.Codes[..(int)buffer.Length].CopyTo(buffer.Span);
                break;
        }

        return buffer;
    }

    private AlignedBuffer ScalesOf(PeerWeights weights)
    {
        AlignedBuffer scales = Own(new AlignedBuffer(weights.Scales.Length * sizeof(float)));
        weights.ScalesByGroup().CopyTo(scales.AsSpan<float>());
        return scales;
    }

    private AlignedBuffer ZeroPointsOf(PeerProblem problem)
    {
        PeerWeights weights = problem.Weights;
        AlignedBuffer points = Own(new AlignedBuffer((weights.Scales.Length + 1) / 2));
        for (int g = 0; g < weights.Groups; g++)
        {
            for (int n = 0; n < problem.N; n++)
            {
                int at = g * problem.N + n;
                points.Span[at / 2] |= (byte)(weights.ZeroPoints![n * weights.Groups + g] << (4 * (at % 2)));
            }
        }

        return points;
    }

    private void AddArgument(int argument, nint desc, AlignedBuffer data)
    {
        nint memory = _api.MakeMemory(desc, AddressOf(data));
        _memories.Add(memory);
        AddArgument(argument, memory);
    }

    private void AddArgument(int argument, nint memory) =>
        _arguments.AsSpan<OneDnnApi.ExecutionArgument>()[_argumentCount++] = new OneDnnApi.ExecutionArgument(argument, memory);

    private AlignedBuffer Own(AlignedBuffer buffer)
    {
        _buffers.Add(buffer);
        return buffer;
    }

    private static void* AddressOf(AlignedBuffer buffer) =>
        System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetReference(buffer.Slice<byte>(0, 1)));
}
