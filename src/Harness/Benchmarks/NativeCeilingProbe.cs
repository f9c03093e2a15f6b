using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace Kernels.Harness.Benchmarks;

/// <summary>Takes samples of the library's ceiling loops on threads that start together.</summary>
internal sealed class NativeCeilingProbe : ICeilingProbe, IDisposable
{
    // About as long as a sample of a case, so that what disturbs the machine disturbs both alike.
    private static readonly TimeSpan s_registerSample = TimeSpan.FromMilliseconds(1.5);

    // A few ticks of the scheduler.
    private static readonly TimeSpan s_settling = TimeSpan.FromMilliseconds(10);

    // What a thread reads or copies in a sample: a millisecond's worth. Samples move on through the buffer, so that none finds in a
    // cache what the one before it read.
    private const long WindowBytes = 32L << 20;

    private const int PageBytes = 4096;
    private const int CalibrationAttempts = 5;

    private readonly Dictionary<Isa, KernelContext> _contexts = [];
    private readonly Dictionary<(Ceiling, Isa), long> _iterations = [];
    private readonly AlignedBuffer _buffer;
    private long _position;

    /// <summary>Makes a probe.</summary>
    /// <param name="bufferBytes">What bandwidth is measured over: several times the L3.</param>
    public NativeCeilingProbe(long bufferBytes)
    {
        _buffer = new AlignedBuffer(bufferBytes);
        // Untouched pages would all be the one page of zeros, which every cache holds.
        const int Step = 1 << 20;
        for (long start = 0; start < bufferBytes; start += Step)
            _buffer.Slice<byte>(start, (int)Math.Min(Step, bufferBytes - start)).Fill((byte)(start / Step + 1));
    }

    /// <summary>The buffer that a machine with such an L3 needs: above four times the L3, at least 256 MiB, at most 1 GiB.</summary>
    public static long BufferBytesFor(long l3Bytes) => Math.Clamp((4 * l3Bytes + (32L << 20)) / PageBytes * PageBytes, 256L << 20, 1L << 30);

    /// <inheritdoc/>
    public string? VariantOf(Ceiling ceiling, Isa isa) => Ceilings.Variant(ContextOf(isa), ceiling);

    /// <inheritdoc/>
    public double[] Sample(Ceiling ceiling, Isa isa, int threads, int count)
    {
        KernelContext context = ContextOf(isa);
        long iterations = CeilingNames.IsBandwidth(ceiling) ? 1 : IterationsOf(ceiling, isa);
        var windows = new (long Start, int SliceBytes)[count];
        for (int i = 0; i < count; i++)
            windows[i] = NextWindow(threads);
        var spans = new (long Start, long End, double Work)[threads, count];
        Run(threads, Measure);
        var rates = new double[count];
        for (int i = 0; i < count; i++)
        {
            long start = long.MaxValue, end = long.MinValue;
            double work = 0;
            for (int thread = 0; thread < threads; thread++)
            {
                start = Math.Min(start, spans[thread, i].Start);
                end = Math.Max(end, spans[thread, i].End);
                work += spans[thread, i].Work;
            }

            rates[i] = work / Stopwatch.GetElapsedTime(start, end).TotalNanoseconds;
        }

        return rates;

        void Measure(int thread, Action meet)
        {
            for (int i = 0; i < count; i++)
            {
                Span<byte> slice = SliceOf(ceiling, windows[i].Start + (long)thread * windows[i].SliceBytes, windows[i].SliceBytes);
                meet();
                long start = Stopwatch.GetTimestamp();
                double work = Ceilings.Run(context, ceiling, slice, iterations);
                spans[thread, i] = (start, Stopwatch.GetTimestamp(), work);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (KernelContext context in _contexts.Values)
            context.Dispose();
        _buffer.Dispose();
    }

    // Runs a measurement on threads that can meet: none goes on before all have come.
    private static void Run(int threads, Action<int, Action> measure)
    {
        if (threads == 1)
        {
            measure(0, static () => { });
            return;
        }

        ExceptionDispatchInfo? failure = null;
        long arrivals = 0;
        var workers = new Thread[threads];
        for (int i = 0; i < threads; i++)
        {
            int index = i;
            workers[i] = new Thread(() =>
            {
                // The scheduler may start threads on one core, and takes some milliseconds of work to see that there are others.
                long begin = Stopwatch.GetTimestamp();
                while (Stopwatch.GetElapsedTime(begin) < s_settling)
                    Thread.SpinWait(10);
                long meetings = 0;
                try
                {
                    measure(index, () => Meet(++meetings * threads));
                }
                catch (KernelException exception)
                {
                    failure = ExceptionDispatchInfo.Capture(exception);
                    // Nobody waits for a thread that is gone.
                    Interlocked.Add(ref arrivals, long.MaxValue / 2 / threads);
                }
            })
            { IsBackground = true };
            workers[i].Start();
        }

        foreach (Thread worker in workers)
            worker.Join();
        failure?.Throw();

        // Spinning, because threads that a kernel object wakes do not start together; yielding, in case that two share a core.
        void Meet(long expected)
        {
            Interlocked.Increment(ref arrivals);
            var spinner = new SpinWait();
            while (Volatile.Read(ref arrivals) < expected)
                spinner.SpinOnce(sleep1Threshold: -1);
        }
    }

    // The next part of the buffer: its start, and the bytes of each thread, whole pages and an even number of them, so that a copy has
    // a half to write.
    private (long Start, int SliceBytes) NextWindow(int threads)
    {
        int sliceBytes = (int)(Math.Min(WindowBytes, _buffer.Length / threads) / (2 * PageBytes) * (2 * PageBytes));
        long bytes = (long)sliceBytes * threads;
        if (_position + bytes > _buffer.Length)
            _position = 0;
        long start = _position;
        _position += bytes;
        return (start, sliceBytes);
    }

    private Span<byte> SliceOf(Ceiling ceiling, long start, int bytes) =>
        CeilingNames.IsBandwidth(ceiling) ? _buffer.Slice<byte>(start, bytes) : [];

    private long IterationsOf(Ceiling ceiling, Isa isa)
    {
        if (_iterations.TryGetValue((ceiling, isa), out long known))
            return known;

        KernelContext context = ContextOf(isa);
        long iterations = 1000;
        while (true)
        {
            // The fastest of a few: one that was interrupted would make all samples too short.
            double share = double.PositiveInfinity;
            for (int attempt = 0; attempt < CalibrationAttempts; attempt++)
            {
                long start = Stopwatch.GetTimestamp();
                _ = Ceilings.Run(context, ceiling, [], iterations);
                share = Math.Min(share, Stopwatch.GetElapsedTime(start) / s_registerSample);
            }

            if (share >= 0.5)
                return _iterations[(ceiling, isa)] = Math.Max(1, (long)(iterations / share));
            iterations = checked(iterations * (share < 0.05 ? 10 : 2));
        }
    }

    private KernelContext ContextOf(Isa isa)
    {
        if (!_contexts.TryGetValue(isa, out KernelContext? context))
            _contexts[isa] = context = new KernelContext(new KernelContextOptions { Isa = isa, Threads = 1 });
        return context;
    }
}
