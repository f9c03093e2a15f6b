using System.Diagnostics;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using Perfolizer.Horology;

namespace Kernels.Harness.Benchmarks;

/// <summary>The configuration of BenchmarkDotNet.</summary>
internal static class BenchmarkConfig
{
    // The calls that fill an iteration. Long against the clock's 100 ns and the scheduler's ticks, short enough that those of a run see one
    // state of a machine that drifts over seconds.
    private static readonly TimeSpan s_iteration = TimeSpan.FromMilliseconds(10);

    // The fewest of which a median says something.
    private static readonly int s_iterations = new SamplerOptions().MinSamples;

    /// <summary>How often a case is run with this: three times, so that there are looks at the ceilings in between and a 95th percentile says
    /// something, or once, because a run of all cases is mostly slow calls.</summary>
    /// <param name="call">About how long a call takes.</param>
    public static int RunsFor(TimeSpan call) => call >= s_iteration ? 1 : 3;

    /// <summary>Makes the configuration.</summary>
    /// <param name="artifacts">A folder for what BenchmarkDotNet writes; nothing in it is kept.</param>
    /// <param name="call">About how long a call takes.</param>
    public static IConfig Make(string artifacts, TimeSpan call) => ManualConfig.CreateEmpty()
        .WithArtifactsPath(artifacts)
        .AddLogger(NullLogger.Instance)
        .WithOption(ConfigOptions.DisableLogFile, true)
        // Calls go to native code, which is compiled with optimization whatever this program is.
        .WithOption(ConfigOptions.DisableOptimizationsValidator, true)
        .AddJob(Job.Default
            // The operands are hundreds of MB in this process: another process could not share them, and a published program has no
            // project from which BenchmarkDotNet could build one.
            .WithToolchain(new InProcessEmitToolchain(TimeSpan.FromMinutes(10), logOutput: false))
            .WithTimes(call >= s_iteration)
            // One call is microseconds at least: a loop around it costs nothing that unrolling could save, and unrolling would multiply
            // the slowest cases by 16.
            .WithUnrollFactor(1)
            // An empty call costs about a nanosecond. The sampler does not take it off either.
            .WithEvaluateOverhead(false));

    // A call that fills an iteration averages over its own length what iterations of short calls average over many, and is not piloted.
    // Warm-up: the clock rises, threads wake, and every copy of the weights has been touched.
    private static Job WithTimes(this Job job, bool isSlow) => (isSlow
            ? job.WithInvocationCount(1)
            : job.WithIterationTime(TimeInterval.FromMilliseconds(s_iteration.TotalMilliseconds)))
        .WithWarmupCount(1).WithIterationCount(s_iterations);
}

/// <summary>Takes times with BenchmarkDotNet, inside this process.</summary>
internal sealed class BenchmarkDotNetTimer : ICaseTimer, IDisposable
{
    private readonly DirectoryInfo _artifacts = Directory.CreateTempSubdirectory("kernels-");

    /// <inheritdoc/>
    public string Name => "benchmarkdotnet";

    /// <inheritdoc/>
    public SampleSet Measure(Action call, Action? lookAtCeilings = null)
    {
        long start = Stopwatch.GetTimestamp();
        call();
        TimeSpan estimate = Stopwatch.GetElapsedTime(start);
        // On this thread, where a call works. BenchmarkDotNet's diagnoser counts those of all threads, also of the runtime's own.
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        call();
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        IConfig config = BenchmarkConfig.Make(_artifacts.FullName, estimate);
        var measured = new List<Measurement>();
        lookAtCeilings?.Invoke();
        for (int runs = BenchmarkConfig.RunsFor(estimate); runs > 0; runs--)
        {
            BenchmarkReport report = Run(call, config);
            measured.AddRange(report.AllMeasurements.Where(m => m is { IterationMode: IterationMode.Workload, IterationStage: IterationStage.Actual }));
            lookAtCeilings?.Invoke();
        }

        return new SampleSet(
            [.. measured.Select(m => m.Nanoseconds / m.Operations)], (int)Math.Min(int.MaxValue, measured[0].Operations), allocated);
    }

    private static BenchmarkReport Run(Action call, IConfig config)
    {
        CallBenchmark.Current = call;
        try
        {
            Summary summary = BenchmarkRunner.Run<CallBenchmark>(config);
            if (summary.Reports.FirstOrDefault() is { Success: true } report)
                return report;
            string reason = summary.ValidationErrors.FirstOrDefault()?.Message ?? "the benchmark failed";
            throw new InvalidOperationException($"BenchmarkDotNet took no time: {reason}.");
        }
        finally
        {
            CallBenchmark.Current = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _artifacts.Delete(recursive: true);
}

/// <summary>The one benchmark: whatever call is current. Public because BenchmarkDotNet generates code that derives from it.</summary>
public class CallBenchmark
{
    private readonly Action _call = Current ?? (() => throw new InvalidOperationException("There is no current call."));

    /// <summary>The call that the next instance takes.</summary>
    internal static Action? Current { get; set; }

    /// <summary>One call.</summary>
    [Benchmark]
    public void Call() => _call();
}
