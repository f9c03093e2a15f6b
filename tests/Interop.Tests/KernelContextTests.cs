using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class KernelContextTests
{
    public static TheoryData<Isa> Levels => IsaTest.Levels;

    [Fact]
    public void A_plain_context_uses_the_best_of_the_machine()
    {
        using var context = new KernelContext();
        Assert.Equal(Cpu.BestIsa, context.Isa);
        Assert.InRange(context.Threads, 1, 1024);
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void A_context_has_the_level_and_threads_asked_for(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa, threads: 3);
        Assert.Equal(isa, context.Isa);
        Assert.Equal(3, context.Threads);
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void A_level_that_the_machine_lacks_is_an_error_not_a_fallback(Isa isa)
    {
        if (Cpu.Supports(isa))
            return;
        KernelException failure = Assert.Throws<KernelException>(() => new KernelContext(new KernelContextOptions { Isa = isa }));
        Assert.Equal(KernelStatus.IsaUnavailable, failure.Status);
        Assert.Contains(Cpu.NameOf(isa), failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        Assert.Throws<ArgumentNullException>("options", () => new KernelContext(null!));
        Assert.Throws<ArgumentOutOfRangeException>("options", () => new KernelContext(new KernelContextOptions { Isa = (Isa)99 }));
        Assert.Throws<ArgumentOutOfRangeException>("options", () => new KernelContext(new KernelContextOptions { Threads = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>("options", () => new KernelContext(new KernelContextOptions { Threads = 1025 }));
    }

    [Fact]
    public void A_disposed_context_is_refused_and_may_be_disposed_again()
    {
        var context = new KernelContext(new KernelContextOptions { Threads = 2 });
        using PackedWeights weights = PackedWeights.FromFloat<float>(context, new(ElementType.S8, 2, 4), new float[8]);
        context.Dispose();
        context.Dispose();

        QuantizeOptions options = new(ElementType.S8, Granularity.Token);
        Assert.Throws<ObjectDisposedException>(() => Quantizer.Quantize<float>(context, options, 1, 1, new float[1]));
        Assert.Throws<ObjectDisposedException>(() => Quantizer.Variant(context));
        Assert.Throws<ObjectDisposedException>(() => PackedWeights.PackedBytesOf(context, weights.Shape));
        Assert.Throws<ObjectDisposedException>(() => PackedWeights.FromFloat<float>(context, weights.Shape, new float[8]));
        Assert.Throws<ObjectDisposedException>(() => PackedWeights.Load(context, new byte[64]));
        Assert.Throws<ObjectDisposedException>(() => weights.Unpack(context));
        Assert.Throws<ObjectDisposedException>(() => Gemm.IsSupported(context, ElementType.S8, ElementType.F32));
        Assert.Throws<ObjectDisposedException>(() => Gemm.Variant(context, ElementType.S8, ElementType.F32));
        Assert.Throws<ObjectDisposedException>(() => Gemm.WorkspaceBytes(context, weights, ElementType.F32, 1));
        Assert.Throws<ObjectDisposedException>(
            () => Gemm.Run(context, weights, 1, Activations.Of<float>(new float[4]), new GemmOutput<float>(new float[2])));
        Assert.Throws<ObjectDisposedException>(() => Ceilings.Variant(context, Ceiling.F32Fma));
        Assert.Throws<ObjectDisposedException>(() => Ceilings.Run(context, Ceiling.F32Fma, default, 1));
        Assert.Equal(2, context.Threads);
    }

    [Fact]
    public void Contexts_that_nobody_disposes_are_collected()
    {
        for (int i = 0; i < 20; i++)
            _ = new KernelContext(new KernelContextOptions { Threads = 2 }).Isa;
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    [Fact]
    public void An_exception_names_status_and_reason()
    {
        using var context = new KernelContext();
        QuantizeOptions options = new(ElementType.S8, Granularity.Token);
        KernelException failure = Assert.Throws<KernelException>(
            () => Quantizer.Quantize<float>(context, options, 1, 2, new[] { 1f, float.NaN }));
        Assert.Equal(KernelStatus.NonFinite, failure.Status);
        Assert.Contains("KRN_ERROR_NON_FINITE", failure.Message, StringComparison.Ordinal);
    }
}
