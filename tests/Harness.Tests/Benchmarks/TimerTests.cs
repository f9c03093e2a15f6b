using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;
using Kernels.Harness.Verbs;

namespace Kernels.Harness.Tests.Benchmarks;

public sealed class TimerTests
{
    private static readonly SamplerOptions s_short = new()
    {
        WarmUpTime = TimeSpan.FromMilliseconds(1),
        Budget = TimeSpan.FromMilliseconds(20),
        MinSampleTime = TimeSpan.FromMilliseconds(1),
    };

    [Fact]
    public void ACheapCallIsRepeatedUntilASampleIsLongEnough()
    {
        int calls = 0;
        SampleSet samples = new Sampler(s_short).Measure(() => calls++);
        Assert.True(samples.CallsPerSample > 1000, $"{samples.CallsPerSample} calls in a sample");
        Assert.True(samples.Nanoseconds.Length >= s_short.MinSamples);
        Assert.True(calls >= (long)samples.CallsPerSample * samples.Nanoseconds.Length);
        Assert.All(samples.Nanoseconds, time => Assert.True(time > 0));
        Assert.Equal(0, samples.AllocatedBytes);
    }

    [Fact]
    public void ACallThatLastsAMillisecondIsASampleOfItsOwn()
    {
        SampleSet samples = new Sampler(s_short).Measure(() => Thread.Sleep(2));
        Assert.Equal(1, samples.CallsPerSample);
        Assert.All(samples.Nanoseconds, time => Assert.True(time >= 1.9e6, $"{time} ns"));
    }

    [Fact]
    public void ASlowCallIsNotMadeOften()
    {
        int calls = 0;
        SampleSet samples = new Sampler(s_short with { SlowCall = TimeSpan.FromMilliseconds(5), SlowSamples = 2 }).Measure(() =>
        {
            calls++;
            Thread.Sleep(10);
        });
        Assert.Equal(2, samples.Nanoseconds.Length);
        Assert.Equal(3, calls);
    }

    [Fact]
    public void AllocationsAreSeen() =>
        Assert.True(new Sampler(s_short).Measure(() => GC.KeepAlive(new byte[100])).AllocatedBytes >= 100);

    [Fact]
    public void CeilingsAreLookedAtBeforeBetweenAndAfter()
    {
        int looks = 0;
        SampleSet samples = new Sampler(s_short with { Rounds = 3 }).Measure(() => Thread.Sleep(1), () => looks++);
        Assert.True(samples.Nanoseconds.Length >= 3);
        Assert.Equal(4, looks);
    }

    [Fact]
    public void BenchmarkDotNetTakesTimesInThisProcess()
    {
        using var timer = new BenchmarkDotNetTimer();
        int looks = 0;
        SampleSet samples = timer.Measure(() => Thread.Sleep(3), () => looks++);
        // Three runs of five; on a machine that stalls, a call may seem slow, and one run is all.
        Assert.Contains((looks, samples.Nanoseconds.Length), new[] { (4, 15), (2, 5) });
        Assert.All(samples.Nanoseconds, time => Assert.InRange(time, 2.9e6, 3e9));
        Assert.True(timer.Measure(() => GC.KeepAlive(new byte[1000])).AllocatedBytes >= 1000);
    }

    [Fact]
    public void BenchmarkDotNetMakesASlowCallAFewTimesOnly()
    {
        using var timer = new BenchmarkDotNetTimer();
        int calls = 0;
        SampleSet samples = timer.Measure(() =>
        {
            calls++;
            Thread.Sleep(30);
        });
        Assert.Equal((5, 1), (samples.Nanoseconds.Length, samples.CallsPerSample));
        Assert.InRange(calls, 7, 12);
    }

    [Fact]
    public void BothTimersAgreeAboutATimeThatIsKnown()
    {
        using var precise = new BenchmarkDotNetTimer();
        CaseTime a = TimeOf(new Sampler(s_short).Measure(() => Thread.Sleep(5)));
        CaseTime b = TimeOf(precise.Measure(() => Thread.Sleep(5)));
        // A sleep ends late on a busy machine: the fastest samples are what both must agree about.
        Assert.InRange(a.Min / b.Min, 0.5, 2);
    }

    [Theory]
    [InlineData(100, 90, 120, 105, 95, 130, true)]
    [InlineData(100, 99, 101, 150, 149, 151, false)]
    [InlineData(100, 90, 160, 150, 95, 155, true)]
    public void AgreementIsJudgedByMediansAndRanges(double m1, double min1, double p1, double m2, double min2, double p2, bool agrees) =>
        Assert.Equal(agrees, CrossCheck.Agree(new CaseTime(m1, min1, p1, 10, 1), new CaseTime(m2, min2, p2, 10, 1)));

    private static CaseTime TimeOf(SampleSet samples) => new(
        Statistics.Median(samples.Nanoseconds), samples.Nanoseconds.Min(), Statistics.Percentile(samples.Nanoseconds, 0.95),
        samples.Nanoseconds.Length, samples.CallsPerSample);
}
