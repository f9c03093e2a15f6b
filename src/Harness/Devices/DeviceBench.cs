using Kernels.Harness.Results;

namespace Kernels.Harness.Devices;

/// <summary>Measures a device's ceilings, and cases beside them and cuBLASLt.</summary>
internal sealed class DeviceBench : IDisposable
{
    private const string BytesUnit = "gb_per_s", OperationsUnit = "gops", Triad = "device_triad";

    // Large enough for the rate of any device, and cold.
    private static readonly MatrixShape s_peakShape = new(8192, 8192, 8192);
    private static readonly (CublasLtType Type, string Name)[] s_products = [(CublasLtType.Bf16, "cublaslt_bf16"), (CublasLtType.Int8, "cublaslt_int8")];

    private readonly CudaContext _context;
    private readonly CudaTimer _timer;
    private readonly CublasLt? _cublasLt;
    private readonly List<CeilingResult> _ceilings = [];

    /// <summary>Measures the ceilings.</summary>
    /// <param name="context">The device.</param>
    /// <param name="hasPeers">Whether cuBLASLt is timed beside cases.</param>
    public DeviceBench(CudaContext context, bool hasPeers)
    {
        _context = context;
        _timer = new CudaTimer(context);
        _cublasLt = CublasLt.Open(context, CublasLt.Candidates, out string? reason);
        HasPeers = hasPeers && _cublasLt is not null;
        var missing = new List<string>();
        if (reason is not null)
            missing.Add($"cuBLASLt, for peers and the ceilings of arithmetic: {reason}");
        if (!_timer.KnowsLoad)
            missing.Add($"NVML, for clocks and power: {Nvml.File}, which comes with the driver, cannot be used");
        Missing = missing;
        foreach (CudaCeiling ceiling in Enum.GetValues<CudaCeiling>())
        {
            CudaCase loop = new MemoryOp().Cases().Single(c => c.Id == MemoryOp.CeilingId(ceiling));
            Add($"device_{MemoryOp.NameOf(ceiling)}", BytesUnit, loop.Bytes, _timer.Measure(loop));
        }

        foreach ((CublasLtType type, string name) in s_products)
        {
            if (MeasureProduct(type) is { } time)
                Add(name, OperationsUnit, s_peakShape.Operations, time);
        }
    }

    /// <summary>What was not found, a sentence without a full stop each.</summary>
    public IReadOnlyList<string> Missing { get; }

    /// <summary>The ceilings.</summary>
    public IReadOnlyList<CeilingResult> Ceilings => _ceilings;

    private bool HasPeers { get; }

    /// <summary>Measures a case and its peers, in turns.</summary>
    /// <param name="id">The id of the case on this device.</param>
    /// <param name="spec">The case.</param>
    public CaseResult Measure(string id, CudaCase spec)
    {
        int rotations = _timer.RotationsFor(spec.Bytes);
        using ICudaCalls own = spec.Open(_context, rotations);
        var contestants = new List<(ICudaCalls Calls, int Rotations)> { (own, rotations) };
        var peers = new List<(CublasLtType Type, CublasLtCalls Calls)>();
        try
        {
            if (HasPeers && spec.Product is { } shape)
            {
                foreach (CublasLtType type in Enum.GetValues<CublasLtType>())
                {
                    int copies = _timer.RotationsFor(CublasLtFormat.Of(type).BytesOf(shape));
                    if (_cublasLt!.Prepare(type, shape, copies) is not { } calls)
                        continue;
                    peers.Add((type, calls));
                    contestants.Add((calls, copies));
                }
            }

            IReadOnlyList<DeviceTime> times = _timer.Measure(contestants);
            return ResultOf(id, spec, times[0]) with { Peers = [.. peers.Select((peer, i) => PeerOf(peer.Type, peer.Calls, times[i + 1].Time, times[0].Time))] };
        }
        finally
        {
            peers.ForEach(peer => peer.Calls.Dispose());
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _timer.Dispose();
        _cublasLt?.Dispose();
    }

    private DeviceTime? MeasureProduct(CublasLtType type)
    {
        int rotations = _timer.RotationsFor(CublasLtFormat.Of(type).BytesOf(s_peakShape));
        using CublasLtCalls? calls = _cublasLt?.Prepare(type, s_peakShape, rotations);
        return calls is null ? null : _timer.Measure([(calls, rotations)])[0];
    }

    private void Add(string name, string unit, double work, DeviceTime time) => _ceilings.Add(new CeilingResult(
        name, 1, CudaContext.NameOf(_context.Class), unit, work / time.Time.Median, work / time.MaxNs, work / time.Time.Min, time.Time.Samples));

    private CaseResult ResultOf(string id, CudaCase spec, DeviceTime measured)
    {
        CaseTime time = measured.Time;
        CaseCeiling ceiling = CeilingOf(spec);
        return new CaseResult
        {
            Id = id,
            Op = spec.Op,
            Scheme = spec.Scheme,
            Shape = spec.Shape,
            Threads = 1,
            Isa = CudaContext.NameOf(_context.Class),
            TimeNs = time,
            Gops = spec.Operations > 0 ? spec.Operations / time.Median : null,
            GbytesPerS = spec.Bytes / time.Median,
            Ceiling = ceiling,
            OfCeiling = ceiling.TimeNs / time.Median,
            DeviceLoad = measured.Load,
        };
    }

    // The larger of the time of its bytes by the triad and, where cuBLASLt is, that of its operations.
    private CaseCeiling CeilingOf(CudaCase spec)
    {
        CaseCeiling memory = Of(Triad, spec.Bytes)!;
        CaseCeiling? arithmetic = spec.Operations > 0 ? Of(spec.IsInteger ? "cublaslt_int8" : "cublaslt_bf16", spec.Operations) : null;
        return arithmetic?.TimeNs > memory.TimeNs ? arithmetic : memory;

        CaseCeiling? Of(string name, double work) =>
            _ceilings.Find(c => c.Name == name) is { } found ? new CaseCeiling(name, found.Value, found.Unit, work / found.Value) : null;
    }

    private PeerResult PeerOf(CublasLtType type, CublasLtCalls calls, CaseTime time, CaseTime own)
    {
        string? failure = calls.Check();
        return new PeerResult(
            $"cuBLASLt {type.ToString().ToLowerInvariant()}", _cublasLt!.Version, time.Median, failure is null ? time.Median / own.Median : null,
            own.Median, Note: calls.Note, Failure: failure);
    }
}
