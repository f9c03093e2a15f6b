using Kernels.Harness.Benchmarks;

namespace Kernels.Harness.Tests.Benchmarks;

public sealed class NativeCeilingProbeTests
{
    [Fact]
    public void EveryCeilingOfTheMachineCanBeSampledOnAnyNumberOfThreads()
    {
        using var probe = new NativeCeilingProbe(16 << 20);
        foreach (Ceiling ceiling in CeilingNames.All)
        {
            if (probe.VariantOf(ceiling, Cpu.BestIsa) is null)
                continue;
            foreach (int threads in new[] { 1, 2, 3 })
            {
                double[] rates = probe.Sample(ceiling, Cpu.BestIsa, threads, 2);
                Assert.Equal(2, rates.Length);
                Assert.All(rates, rate => Assert.InRange(rate, 1e-3, 1e6));
            }
        }
    }

    [Theory]
    [InlineData(0, 256L << 20)]
    [InlineData(32L << 20, 256L << 20)]
    [InlineData(96L << 20, 416L << 20)]
    [InlineData(1L << 30, 1L << 30)]
    public void TheBufferExceedsTheL3(long l3, long bytes) => Assert.Equal(bytes, NativeCeilingProbe.BufferBytesFor(l3));
}
