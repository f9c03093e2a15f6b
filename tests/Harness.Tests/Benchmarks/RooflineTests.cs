using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;

namespace Kernels.Harness.Tests.Benchmarks;

public sealed class RooflineTests
{
    [Theory]
    [InlineData("w8-a8", "avx512vnni", nameof(Ceiling.Int8Dot))]
    [InlineData("w4g128-u8", "avx512vnni", nameof(Ceiling.Int8Dot))]
    [InlineData("w8-a8", "avx2", nameof(Ceiling.Int16MultiplyAdd))]
    [InlineData("w4g128-a8", "avx2", nameof(Ceiling.Int8Dot))]
    [InlineData("w4-a8", "avx512", nameof(Ceiling.Int16MultiplyAdd))]
    [InlineData("w4g128-f32", "avx512", nameof(Ceiling.F32Fma))]
    [InlineData("w8-bf16", "avx512", nameof(Ceiling.F32Fma))]
    [InlineData("w8-bf16", "avx512bf16", nameof(Ceiling.Bf16Dot))]
    [InlineData("w8-bf16", "neon_bf16", nameof(Ceiling.Bf16Dot))]
    [InlineData("w8-a8", "neon_i8mm", nameof(Ceiling.Int8Dot))]
    [InlineData("w8-f16", "avx2", nameof(Ceiling.F32Fma))]
    public void ArithmeticIsThatOfTheVariant(string cell, string variant, string ceiling)
    {
        var spec = new GemmSpec(GemmScheme.Parse(cell), 128, 4096, 4096);
        IReadOnlyList<Demand> demands = Roofline.OfGemm(spec, variant, 1000);
        Assert.Equal([new Demand(Enum.Parse<Ceiling>(ceiling), 2.0 * 128 * 4096 * 4096), new Demand(Ceiling.Read, 1000)], demands);
        // Weights in a cache ask nothing of memory.
        Assert.Equal(demands.Take(1), Roofline.OfGemm(spec, variant, 0));
    }

    [Fact]
    public void TheDemandThatTakesLongestBinds()
    {
        (Demand Demand, double Rate)[] demands = [(new Demand(Ceiling.Int8Dot, 1000), 100), (new Demand(Ceiling.Read, 900), 30)];
        (Demand demand, double rate, double nanoseconds) = Roofline.Bind(demands);
        Assert.Equal((Ceiling.Read, 30.0, 30.0), (demand.Ceiling, rate, nanoseconds));

        demands[0].Rate = 10;
        (demand, rate, nanoseconds) = Roofline.Bind(demands);
        Assert.Equal((Ceiling.Int8Dot, 10.0, 100.0), (demand.Ceiling, rate, nanoseconds));
    }

    [Fact]
    public void NoDemandAndNoRateAreRefused()
    {
        Assert.Throws<ArgumentException>(() => Roofline.Bind([]));
        Assert.Throws<ArgumentException>(() => Roofline.Bind([(new Demand(Ceiling.Read, 1), 0)]));
    }

    [Theory]
    [InlineData(4, 1, Ceiling.Narrow)]
    [InlineData(8, 1, Ceiling.Narrow)]
    [InlineData(2, 1, Ceiling.Copy)]
    [InlineData(8, 5, Ceiling.Copy)]
    public void AStepIsHeldAgainstTrafficLikeItsOwn(double read, double written, Ceiling ceiling) =>
        Assert.Equal([new Demand(ceiling, read + written)], Roofline.OfStep(read, written));

    [Fact]
    public void TheMeterKeepsSamplesApartAndTakesMedians()
    {
        var meter = new CeilingMeter(new ScriptedProbe());
        CeilingMeter.CeilingKey one = meter.KeyOf(Ceiling.Read, Isa.Avx2, 1)!.Value;
        CeilingMeter.CeilingKey two = meter.KeyOf(Ceiling.Read, Isa.Avx2, 2)!.Value;
        Assert.Null(meter.KeyOf(Ceiling.Bf16Dot, Isa.Avx2, 1));

        meter.Sample(one, 3); // 1, 2, 3
        int mark = meter.Mark(one);
        meter.Sample(two); // 4
        meter.Sample(one, 3); // 5, 6, 7
        Assert.Equal(6, meter.Since(one, mark));
        Assert.Throws<InvalidOperationException>(() => meter.Since(two, 1));

        IReadOnlyList<CeilingResult> results = meter.Results();
        Assert.Equal(new CeilingResult("dram_read", 1, "scripted", "gb_per_s", 4, 1, 7, 6), results[0]);
        Assert.Equal(new CeilingResult("dram_read", 2, "scripted", "gb_per_s", 4, 4, 4, 1), results[1]);
    }

    private sealed class ScriptedProbe : ICeilingProbe
    {
        private int _next;

        public string? VariantOf(Ceiling ceiling, Isa isa) => ceiling == Ceiling.Bf16Dot ? null : "scripted";

        public double[] Sample(Ceiling ceiling, Isa isa, int threads, int count) => [.. Enumerable.Range(0, count).Select(_ => (double)++_next)];
    }
}
