using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;

namespace Kernels.Harness.Devices;

/// <summary>What was measured of calls.</summary>
/// <param name="Time">The time of a call.</param>
/// <param name="MaxNs">The slowest sample.</param>
/// <param name="Load">Clocks and power while they ran; null without NVML.</param>
internal sealed record DeviceTime(CaseTime Time, double MaxNs, DeviceLoad? Load);

/// <summary>Times calls on a GPU: a graph of calls on rotated operands, timed by events, the second-level cache flushed before each launch.</summary>
internal sealed class CudaTimer : IDisposable
{
    private const int Samples = 25;
    private const int WarmUp = 3;
    private const int MaxRotations = 64;

    // Operands together are so many times the cache, and what flushes it twice.
    private const int L2Multiple = 4;
    private const int FlushOfL2 = 2;
    private const double BusyMilliseconds = 100;
    private const double NanosecondsPerMillisecond = 1e6;

    private readonly CudaContext _context;
    private readonly CudaStream _stream;
    private readonly CudaEvent _start;
    private readonly CudaEvent _end;
    private readonly CudaBuffer<byte> _flush;
    private readonly Nvml? _nvml;

    public CudaTimer(CudaContext context)
    {
        _context = context;
        _stream = new CudaStream(context);
        _start = new CudaEvent(context);
        _end = new CudaEvent(context);
        _flush = new CudaBuffer<byte>(context, FlushOfL2 * context.Properties.L2Bytes);
        _nvml = Nvml.Open(Nvml.File, context.Device.PciBusId);
    }

    /// <summary>Whether clocks and power are known.</summary>
    public bool KnowsLoad => _nvml is not null;

    /// <summary>How many copies of operands keep every call from finding its own in the second-level cache.</summary>
    /// <param name="bytes">Of the operands of a call.</param>
    public int RotationsFor(long bytes) =>
        (int)Math.Clamp((L2Multiple * _context.Properties.L2Bytes / Math.Max(1, bytes)) + 1, 2, MaxRotations);

    /// <summary>Measures a case alone.</summary>
    public DeviceTime Measure(CudaCase spec)
    {
        int rotations = RotationsFor(spec.Bytes);
        using ICudaCalls calls = spec.Open(_context, rotations);
        return Measure([(calls, rotations)])[0];
    }

    /// <summary>Measures calls in turns: a launch of each, beginning with another one each time.</summary>
    /// <param name="contestants">Calls, and how many copies of operands they have.</param>
    public IReadOnlyList<DeviceTime> Measure(IReadOnlyList<(ICudaCalls Calls, int Rotations)> contestants)
    {
        _context.Synchronize();
        var graphs = new List<CudaGraph>();
        try
        {
            foreach ((ICudaCalls calls, int rotations) in contestants)
            {
                graphs.Add(CudaGraph.Capture(_stream, stream =>
                {
                    for (int i = 0; i < rotations; i++)
                        calls.Call(i, stream);
                }));
            }

            var samples = new double[graphs.Count][];
            for (int i = 0; i < samples.Length; i++)
                samples[i] = new double[Samples];
            for (int i = -WarmUp; i < Samples; i++)
            {
                for (int turn = 0; turn < graphs.Count; turn++)
                {
                    int which = (turn + i + WarmUp) % graphs.Count;
                    double milliseconds = Launch(graphs[which], (byte)i);
                    if (i >= 0)
                        samples[which][i] = milliseconds * NanosecondsPerMillisecond / contestants[which].Rotations;
                }
            }

            return [.. graphs.Select((graph, i) => ToTime(samples[i], graph, contestants[i].Rotations))];
        }
        finally
        {
            graphs.ForEach(graph => graph.Dispose());
        }
    }

    public void Dispose()
    {
        _flush.Dispose();
        _end.Dispose();
        _start.Dispose();
        _stream.Dispose();
    }

    private DeviceTime ToTime(double[] samples, CudaGraph graph, int rotations)
    {
        Array.Sort(samples);
        double median = Statistics.Median(samples);
        var time = new CaseTime(median, samples[0], Statistics.Percentile(samples, 0.95), Samples, rotations);
        return new DeviceTime(time, samples[^1], LoadOf(graph, median * rotations / NanosecondsPerMillisecond));
    }

    private double Launch(CudaGraph graph, byte flushed)
    {
        _flush.Fill(flushed, _stream);
        _start.Record(_stream);
        graph.Launch(_stream);
        _end.Record(_stream);
        _end.Synchronize();
        return CudaEvent.ElapsedMilliseconds(_start, _end);
    }

    // In the middle of so much work that the device is busy while it is asked.
    private DeviceLoad? LoadOf(CudaGraph graph, double launchMilliseconds)
    {
        if (_nvml is null)
            return null;
        int launches = (int)(BusyMilliseconds / (launchMilliseconds + 1e-3)) + 2;
        for (int i = 0; i < launches; i++)
        {
            if (i == launches / 2)
                _end.Record(_stream);
            graph.Launch(_stream);
        }

        _end.Synchronize();
        DeviceLoad? load = _nvml.Read();
        _stream.Synchronize();
        return load;
    }
}
