using System.Diagnostics;

namespace Kernels.Harness.Benchmarks;

/// <summary>How <see cref="Interleaver"/> measures.</summary>
internal sealed record InterleaverOptions
{
    /// <summary>For hundreds of cases that take microseconds each.</summary>
    public static InterleaverOptions ForManySmallCases { get; } = new() { Budget = TimeSpan.FromMilliseconds(15), Rounds = 3 };

    /// <summary>For a thousand cases: their number makes up for the wider spread of each.</summary>
    public static InterleaverOptions ForEveryCase { get; } = new() { Budget = TimeSpan.FromMilliseconds(90), Rounds = 3 };

    /// <summary>Rounds in which every contestant has its turn. An odd number, so that a median is a sample.</summary>
    public int Rounds { get; init; } = 5;

    /// <summary>Time for the samples of a contestant over all rounds.</summary>
    public TimeSpan Budget { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>A sample lasts at least this long.</summary>
    public TimeSpan MinSampleTime { get; init; } = TimeSpan.FromMilliseconds(1);

    /// <summary>Before a turn with several threads: those of the contestant before may still spin. Most pools do for some milliseconds,
    /// OpenBLAS for 2^26 cycles.</summary>
    public TimeSpan Pause { get; init; } = TimeSpan.FromMilliseconds(30);

    /// <summary>A call slower than this is measured once in a turn and has no call before it to warm up.</summary>
    public TimeSpan SlowCall { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Rounds when a contestant's call takes longer than <see cref="SlowCall"/>.</summary>
    public int SlowRounds { get; init; } = 3;
}

/// <summary>Measures several calls against each other: in turns, so that a machine that drifts over seconds is the same to all.</summary>
internal sealed class Interleaver(InterleaverOptions options)
{
    /// <summary>Measures calls.</summary>
    /// <param name="calls">The calls.</param>
    /// <param name="threads">How many threads each uses.</param>
    /// <returns>The median time of each in nanoseconds.</returns>
    public double[] Medians(IReadOnlyList<Action> calls, int threads)
    {
        // The first call of each finds nothing in place; it only tells how slow it is.
        double[] estimates = [.. calls.Select(call => Math.Max(1, TimeOf(call, 1)))];
        int rounds = estimates.Max() >= options.SlowCall.TotalNanoseconds ? options.SlowRounds : options.Rounds;
        List<double>[] samples = [.. calls.Select(_ => new List<double>())];
        for (int round = 0; round < rounds; round++)
        {
            for (int turn = 0; turn < calls.Count; turn++)
            {
                // Everybody comes after everybody, over the rounds.
                int contestant = (round + turn) % calls.Count;
                if (threads > 1)
                    Thread.Sleep(options.Pause);
                TakeTurn(calls[contestant], rounds, ref estimates[contestant], samples[contestant]);
            }
        }

        return [.. samples.Select(times => Statistics.Median([.. times]))];
    }

    private void TakeTurn(Action call, int rounds, ref double estimate, List<double> samples)
    {
        if (estimate >= options.SlowCall.TotalNanoseconds)
        {
            samples.Add(estimate = TimeOf(call, 1));
            return;
        }

        // Not measured: caches, and threads that sleep.
        estimate = Math.Max(1, TimeOf(call, 1));
        int perSample = (int)Math.Clamp(Math.Ceiling(options.MinSampleTime.TotalNanoseconds / estimate), 1, 1_000_000);
        long end = Stopwatch.GetTimestamp() + (long)(options.Budget.TotalSeconds / rounds * Stopwatch.Frequency);
        do
            samples.Add(TimeOf(call, perSample));
        while (Stopwatch.GetTimestamp() < end);
    }

    private static double TimeOf(Action call, int count)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++)
            call();
        return Stopwatch.GetElapsedTime(start).TotalNanoseconds / count;
    }
}
