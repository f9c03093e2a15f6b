using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class ParallelForTests
{
    private const int M = 40, N = 200, K = 128;

    private static readonly float[] s_x = Numbers.Floats(M * K, seed: 1);
    private static readonly float[] s_w = Numbers.Floats(N * K, seed: 2);

    [Fact]
    public void The_thread_pool_of_dotnet_gives_the_same_result() => Assert.Equal(Expected(), Multiply(new TaskParallelFor()));

    [Fact]
    public void Options_of_the_caller_are_used()
    {
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() => Multiply(new TaskParallelFor(new ParallelOptions { CancellationToken = cancelled.Token })));
        Assert.Throws<ArgumentNullException>("options", () => new TaskParallelFor(null!));
    }

    [Fact]
    public void Any_order_gives_the_same_result() =>
        Assert.Equal(Expected(), Multiply(new Loop((count, task) =>
        {
            for (long i = count - 1; i >= 0; i--)
                task.Invoke(i);
        })));

    [Fact]
    public void An_exception_of_the_host_reaches_the_caller()
    {
        var failure = new InvalidDataException("the host failed");
        Assert.Same(failure, Assert.Throws<InvalidDataException>(() => Multiply(new Loop((_, _) => throw failure))));
        Assert.Same(failure, Assert.Throws<InvalidDataException>(() => Multiply(new Loop((_, task) =>
        {
            task.Invoke(0);
            throw failure;
        }))));
    }

    [Fact]
    public void A_host_that_fails_while_weights_are_packed_gives_no_weights()
    {
        using var context = new KernelContext(
            new KernelContextOptions { Threads = 4, ParallelFor = new Loop((_, _) => throw new InvalidDataException()) });
        Assert.Throws<InvalidDataException>(() => PackedWeights.FromFloat<float>(context, new(ElementType.S8, N, K), s_w));
    }

    [Fact]
    public void A_context_can_be_used_after_its_host_failed()
    {
        bool fail = true;
        var loop = new Loop((count, task) =>
        {
            if (fail)
                throw new InvalidDataException();
            for (long i = 0; i < count; i++)
                task.Invoke(i);
        });
        using var context = new KernelContext(new KernelContextOptions { Threads = 4, ParallelFor = loop });
        using PackedWeights weights = Pack();
        var y = new float[M * N];
        Assert.Throws<InvalidDataException>(() => Gemm.Run(context, weights, M, Activations.Of<float>(s_x), new GemmOutput<float>(y)));
        fail = false;
        Gemm.Run(context, weights, M, Activations.Of<float>(s_x), new GemmOutput<float>(y));
        Assert.Equal(Expected(), y);
    }

    [Fact]
    public void A_loop_that_leaves_pieces_out_is_noticed()
    {
        InvalidOperationException failure = Assert.Throws<InvalidOperationException>(() => Multiply(new Loop((_, task) => task.Invoke(0))));
        Assert.Contains("had not been run", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_piece_runs_once_and_only_if_it_exists() =>
        Assert.Equal(Expected(), Multiply(new Loop((count, task) =>
        {
            for (long i = 0; i < count; i++)
            {
                task.Invoke(i);
                Assert.Throws<InvalidOperationException>(() => task.Invoke(i));
            }

            Assert.Throws<InvalidOperationException>(() => task.Invoke(-1));
            Assert.Throws<InvalidOperationException>(() => task.Invoke(count));
            Assert.Throws<InvalidOperationException>(() => task.Invoke(long.MaxValue));
        })));

    [Fact]
    public void A_task_is_refused_after_its_loop()
    {
        ParallelTask kept = default;
        Assert.Throws<InvalidOperationException>(() => kept.Invoke(0));
        Multiply(new Loop((count, task) =>
        {
            kept = task;
            for (long i = 0; i < count; i++)
                task.Invoke(i);
        }));
        Assert.Throws<InvalidOperationException>(() => kept.Invoke(0));
    }

    [Fact]
    public async Task A_host_that_returns_early_is_waited_for()
    {
        List<Task> running = [];
        var loop = new Loop((count, task) =>
        {
            for (long i = 0; i < count; i++)
            {
                long index = i;
                running.Add(Task.Run(() =>
                {
                    try
                    {
                        task.Invoke(index);
                    }
                    catch (InvalidOperationException)
                    {
                        // The calling thread was faster.
                    }
                }));
            }
        });
        for (int i = 0; i < 20; i++)
        {
            using var context = new KernelContext(new KernelContextOptions { Threads = 4, ParallelFor = loop });
            using PackedWeights weights = Pack();
            var y = new float[M * N];
            try
            {
                Gemm.Run(context, weights, M, Activations.Of<float>(s_x), new GemmOutput<float>(y));
            }
            catch (InvalidOperationException)
            {
                // Some pieces had not been run, and were, by the calling thread.
            }

            Assert.Equal(Expected(), y);
        }

        await Task.WhenAll(running);
    }

    private static float[] Expected()
    {
        using var context = new KernelContext(new KernelContextOptions { Threads = 1 });
        return Multiply(context);
    }

    private static float[] Multiply(IParallelFor loop)
    {
        using var context = new KernelContext(new KernelContextOptions { Threads = 4, ParallelFor = loop });
        return Multiply(context);
    }

    private static float[] Multiply(KernelContext context)
    {
        using PackedWeights weights = Pack();
        var y = new float[M * N];
        Gemm.Run(context, weights, M, Activations.Of<float>(s_x), new GemmOutput<float>(y));
        return y;
    }

    private static PackedWeights Pack()
    {
        using var context = new KernelContext(new KernelContextOptions { Threads = 1 });
        return PackedWeights.FromFloat<float>(context, new(ElementType.S4, N, K, 32), s_w);
    }

    private sealed class Loop(Action<long, ParallelTask> body) : IParallelFor
    {
        public void Run(long count, ParallelTask task) => body(count, task);
    }
}
