using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class ThreadingTests
{
    private const int M = 9, N = 100, K = 200;

    [Fact]
    public void Many_threads_share_weights_with_a_context_each()
    {
        using var first = new KernelContext(new KernelContextOptions { Threads = 1 });
        using PackedWeights weights = PackedWeights.FromFloat<float>(first, new(ElementType.S4, N, K, 32), Numbers.Floats(N * K, seed: 1));
        float[] x = Numbers.Floats(M * K, seed: 2);
        var expected = new float[M * N];
        Gemm.Run(first, weights, M, Activations.Of<float>(x), new GemmOutput<float>(expected));

        Exception? failure = null;
        Thread[] threads = Enumerable.Range(0, 8).Select(index => new Thread(() =>
        {
            try
            {
                using var context = new KernelContext(new KernelContextOptions { Threads = 1 + (index % 3) });
                var y = new float[M * N];
                for (int i = 0; i < 20; i++)
                {
                    Array.Clear(y);
                    Gemm.Run(context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(y));
                    Assert.Equal(expected, y);
                }
            }
            catch (Exception caught)
            {
                failure = caught;
            }
        })).ToArray();
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.Null(failure);
    }

    [Fact]
    public void A_context_in_use_is_refused_and_can_be_used_afterwards()
    {
        var loop = new NestedLoop();
        using var context = new KernelContext(new KernelContextOptions { Threads = 2, ParallelFor = loop });
        using PackedWeights weights = PackedWeights.FromFloat<float>(context, new(ElementType.S8, N, K), Numbers.Floats(N * K, seed: 1));
        float[] x = Numbers.Floats(M * K, seed: 2);
        var y = new float[M * N];
        loop.Action = () =>
        {
            Assert.Contains("one call at a time", Assert.Throws<InvalidOperationException>(Multiply).Message, StringComparison.Ordinal);
            Assert.Equal(context.Isa, Cpu.BestIsa);
            Assert.NotNull(Gemm.Variant(context, ElementType.S8, ElementType.F32));
        };
        Multiply();
        Assert.True(loop.WasRun);
        Multiply();

        void Multiply() => Gemm.Run(context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(new float[M * N]));
    }

    [Fact]
    public void Disposing_during_a_call_waits_for_the_call()
    {
        var loop = new NestedLoop();
        var context = new KernelContext(new KernelContextOptions { Threads = 2, ParallelFor = loop });
        PackedWeights weights = PackedWeights.FromFloat<float>(context, new(ElementType.S8, N, K), Numbers.Floats(N * K, seed: 1));
        float[] x = Numbers.Floats(M * K, seed: 2);
        var expected = new float[M * N];
        var actual = new float[M * N];
        Gemm.Run(context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(expected));
        loop.Action = () =>
        {
            context.Dispose();
            weights.Dispose();
        };
        Gemm.Run(context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(actual));
        Assert.Equal(expected, actual);
        Assert.Throws<ObjectDisposedException>(() => Quantizer.Variant(context));
    }

    private sealed class NestedLoop : IParallelFor
    {
        public Action? Action { get; set; }

        public bool WasRun { get; private set; }

        public void Run(long count, ParallelTask task)
        {
            Action?.Invoke();
            WasRun = true;
            for (long i = 0; i < count; i++)
                task.Invoke(i);
        }
    }
}
