using System.Diagnostics;

namespace Kernels.Harness.Benchmarks;

/// <summary>How long and how often <see cref="Sampler"/> measures.</summary>
internal sealed record SamplerOptions
{
    /// <summary>For hundreds of cases that take microseconds each: the same figures with wider spread.</summary>
    public static SamplerOptions ForManySmallCases { get; } = new()
    {
        WarmUpTime = TimeSpan.FromMilliseconds(3),
        Budget = TimeSpan.FromMilliseconds(20),
        Rounds = 2,
    };

    /// <summary>A sample lasts at least this long: the clock's 20-100 ns and a stray interrupt are then below 1% of it.</summary>
    public TimeSpan MinSampleTime { get; init; } = TimeSpan.FromMilliseconds(1);

    /// <summary>Calls run unmeasured for this long: caches and branch predictors fill, the clock rises, threads wake.</summary>
    public TimeSpan WarmUpTime { get; init; } = TimeSpan.FromMilliseconds(20);

    /// <summary>Time for samples. Machines that are shared drift over seconds, so more time buys little in one go.</summary>
    public TimeSpan Budget { get; init; } = TimeSpan.FromMilliseconds(300);

    /// <summary>A median of fewer samples is not one, however slow the case is.</summary>
    public int MinSamples { get; init; } = 5;

    /// <summary>Samples are cut into so many rounds, with a look at the ceilings around each, so that both see the same machine.</summary>
    public int Rounds { get; init; } = 4;

    /// <summary>A case slower than this needs no warm-up of its own, and gets <see cref="SlowSamples"/>.</summary>
    public TimeSpan SlowCall { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Samples of a case of which one call takes longer than <see cref="SlowCall"/>.</summary>
    public int SlowSamples { get; init; } = 2;
}

/// <summary>What the sampler saw.</summary>
/// <param name="Nanoseconds">Time of a call, averaged over each sample.</param>
/// <param name="CallsPerSample">Calls in a sample.</param>
/// <param name="AllocatedBytes">Managed bytes that a call allocated on the calling thread.</param>
internal sealed record SampleSet(double[] Nanoseconds, int CallsPerSample, long AllocatedBytes);

/// <summary>Measures a call in this process: warm-up, samples of at least a millisecond, nothing allocated in between.</summary>
internal sealed class Sampler(SamplerOptions options) : ICaseTimer
{
    /// <inheritdoc/>
    public string Name => "sampler";

    /// <inheritdoc/>
    public SampleSet Measure(Action call, Action? lookAtCeilings = null)
    {
        int calls = WarmUp(call, out double estimate);
        bool isSlow = estimate >= options.SlowCall.TotalNanoseconds;
        int wanted = isSlow
            ? options.SlowSamples
            : Math.Max(options.MinSamples, (int)Math.Min(10_000, options.Budget.TotalNanoseconds / (estimate * calls)));
        int rounds = Math.Min(options.Rounds, wanted);

        var samples = new double[wanted];
        var allocated = new double[wanted];
        int taken = 0;
        lookAtCeilings?.Invoke();
        for (int round = 0; round < rounds; round++)
        {
            // The first call after an interlude finds cold caches and sleeping threads: it is not measured.
            if (!isSlow)
                call();
            int end = wanted * (round + 1) / rounds;
            Take(call, calls, samples.AsSpan(taken, end - taken), allocated.AsSpan(taken, end - taken));
            taken = end;
            lookAtCeilings?.Invoke();
        }

        // The median, because the runtime now and then allocates something of its own on whichever thread it finds.
        return new SampleSet(samples, calls, (long)Math.Ceiling(Statistics.Median(allocated) / calls));
    }

    // Nothing is allocated in here, so that no collection can start on this thread; the program has no background collector.
    private static void Take(Action call, int calls, Span<double> samples, Span<double> allocated)
    {
        for (int i = 0; i < samples.Length; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            long start = Stopwatch.GetTimestamp();
            for (int c = 0; c < calls; c++)
                call();
            samples[i] = Stopwatch.GetElapsedTime(start).TotalNanoseconds / calls;
            allocated[i] = GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    private int WarmUp(Action call, out double nanosecondsPerCall)
    {
        long begin = Stopwatch.GetTimestamp();
        call();
        double first = Stopwatch.GetElapsedTime(begin).TotalNanoseconds;
        if (first >= options.SlowCall.TotalNanoseconds)
        {
            nanosecondsPerCall = first;
            return 1;
        }

        double fastest = first;
        do
        {
            long start = Stopwatch.GetTimestamp();
            call();
            fastest = Math.Min(fastest, Stopwatch.GetElapsedTime(start).TotalNanoseconds);
        }
        while (Stopwatch.GetElapsedTime(begin) < options.WarmUpTime);

        nanosecondsPerCall = Math.Max(fastest, 1);
        return (int)Math.Clamp(Math.Ceiling(options.MinSampleTime.TotalNanoseconds / nanosecondsPerCall), 1, 10_000_000);
    }
}
