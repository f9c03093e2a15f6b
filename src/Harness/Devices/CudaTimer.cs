using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;

namespace Kernels.Harness.Devices;

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
        _nvml = Nvml.Open(context.Device.Ordinal);
    }

    /// <summary>Measures a case.</summary>
    public (CaseTime Time, DeviceLoad? Load) Measure(CudaCase spec)
    {
        int rotations = (int)Math.Clamp((L2Multiple * _context.Properties.L2Bytes / Math.Max(1, spec.Bytes)) + 1, 2, MaxRotations);
        using ICudaCalls calls = spec.Open(_context, rotations);
        _context.Synchronize();
        using CudaGraph graph = CudaGraph.Capture(_stream, stream =>
        {
            for (int i = 0; i < rotations; i++)
                calls.Call(i, stream);
        });
        var samples = new double[Samples];
        for (int i = -WarmUp; i < Samples; i++)
        {
            double milliseconds = Launch(graph, (byte)i);
            if (i >= 0)
                samples[i] = milliseconds * NanosecondsPerMillisecond / rotations;
        }

        Array.Sort(samples);
        double median = Statistics.Median(samples);
        var time = new CaseTime(median, samples[0], Statistics.Percentile(samples, 0.95), Samples, rotations);
        return (time, LoadOf(graph, median * rotations / NanosecondsPerMillisecond));
    }

    public void Dispose()
    {
        _flush.Dispose();
        _end.Dispose();
        _start.Dispose();
        _stream.Dispose();
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
