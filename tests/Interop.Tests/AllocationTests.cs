using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Calls allocate nothing on the managed heap.</summary>
public sealed class AllocationTests : IDisposable
{
    private const int M = 6, N = 33, K = 96;

    private readonly KernelContext _context = new(new KernelContextOptions { Threads = 2 });

    public void Dispose() => _context.Dispose();

    [Fact]
    public void Quantizing_and_dequantizing_allocate_nothing()
    {
        QuantizeOptions options = new(ElementType.U8, Granularity.Token, Asymmetric: true);
        float[] source = Numbers.Floats(M * K, seed: 1);
        var codes = new byte[M * K];
        var scales = new float[M];
        var zeroPoints = new int[M];
        Allocations.AssertNone(() => Quantizer.Quantize<float>(_context, options, M, K, source, codes, scales, zeroPoints));
        Allocations.AssertNone(() => Quantizer.QuantizeWithError<float>(_context, options, M, K, source, codes, scales, zeroPoints));
        Allocations.AssertNone(() => Quantizer.Dequantize<float>(_context, options, M, K, codes, scales, zeroPoints, source));
        Allocations.AssertNone(() => Quantizer.ScaleCount(options, M, K));
    }

    [Fact]
    public void Rotating_allocates_nothing()
    {
        float[] x = Numbers.Floats(M * K, seed: 6);
        var options = new HadamardOptions(K) { SignsBefore = Hadamard.RandomSigns(1, K) };
        Allocations.AssertNone(() => Hadamard.Rotate<float>(_context, options, M, K, x.AsSpan()));
        Allocations.AssertNone(() => Hadamard.IsSupported(K));
    }

    [Fact]
    public void Rotating_by_position_allocates_nothing()
    {
        var table = new RopeTable(new(RopeLayout.Half, 32), 0, M);
        int[] positions = [.. Enumerable.Range(0, M)];
        float[] source = Numbers.Floats(M * K, seed: 1);
        var target = new BFloat16[M * K];
        Allocations.AssertNone(() => Rope.RotateInPlace<float>(_context, table, K / 32, positions, source));
        Allocations.AssertNone(() => Rope.Rotate<float, BFloat16>(_context, table, K / 32, positions, source, target));
    }

    [Fact]
    public void Attending_allocates_nothing()
    {
        using var cache = new KvCache(new KvCacheOptions(1, 2, 32, 64));
        float[] tokens = Numbers.Floats(40 * 64, seed: 1), query = Numbers.Floats(2 * 128, seed: 2), result = new float[2 * 128], lse = new float[2 * 4];
        cache.Append<float>(_context, 0, 40, tokens, tokens);
        int[] sequences = [0];
        long[] queries = [2];
        Allocations.AssertNone(() => Attention.Run<float, float>(
            _context, cache, new AttentionOptions { Heads = 4 }, sequences, queries, query, result, lse));
        Allocations.AssertNone(() => Attention.WorkspaceBytes(_context, cache, new AttentionOptions { Heads = 4 }, sequences, queries));
        Allocations.AssertNone(() => Attention.Merge<float>(_context, 2, 4, 32, result, lse, query));
    }

    [Fact]
    public void Multiplying_allocates_nothing()
    {
        using PackedWeights weights = PackedWeights.FromFloat<float>(_context, new(ElementType.S4, N, K, 32), Numbers.Floats(N * K, seed: 2));
        float[] x = Numbers.Floats(M * K, seed: 3);
        QuantizedTensor quantized = Quantizer.Quantize<float>(_context, new(ElementType.S8, Granularity.Token), M, K, x);
        var y = new float[M * N];
        var narrow = new BFloat16[M * N];
        var bias = new float[N];
        using var workspace = new AlignedBuffer(Gemm.WorkspaceBytes(_context, weights, ElementType.F32, M));
        Allocations.AssertNone(() => Gemm.Run(_context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(y) { Bias = bias }));
        Allocations.AssertNone(() => Gemm.Run(_context, weights, M, Activations.Of(quantized), new GemmOutput<BFloat16>(narrow)));
        Allocations.AssertNone(() => Gemm.Run(_context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(y), workspace.Span));
        Allocations.AssertNone(() => Gemm.WorkspaceBytes(_context, weights, ElementType.S8, M));
        float[] a = Numbers.Floats(2 * K, seed: 4), b = Numbers.Floats(N * 2, seed: 5);
        Allocations.AssertNone(() => Gemm.Run(
            _context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(y),
            new GemmOptions { Compute = ElementType.S8, OutlierThreshold = 1, Lora = LoraAdapter.Of<float>(a, b, 2, 1) }));
        Allocations.AssertNone(() => Gemm.IsSupported(_context, ElementType.S4, ElementType.S8));

        QuantizedTensor unpacked = weights.Unpack(_context);
        var blob = new byte[weights.BlobBytes];
        Allocations.AssertNone(() => weights.Unpack(_context, unpacked.Codes, unpacked.Scales));
        Allocations.AssertNone(() => weights.Save(blob));
    }

    [Fact]
    public void A_hosts_loop_that_allocates_nothing_adds_nothing()
    {
        using var context = new KernelContext(new KernelContextOptions { Threads = 2, ParallelFor = new SerialLoop() });
        using PackedWeights weights = PackedWeights.FromFloat<float>(context, new(ElementType.S8, 128, K), Numbers.Floats(128 * K, seed: 2));
        float[] x = Numbers.Floats(M * K, seed: 3);
        var y = new float[M * 128];
        Allocations.AssertNone(() => Gemm.Run(context, weights, M, Activations.Of<float>(x), new GemmOutput<float>(y)));
    }

    private sealed class SerialLoop : IParallelFor
    {
        public void Run(long count, ParallelTask task)
        {
            for (long i = 0; i < count; i++)
                task.Invoke(i);
        }
    }
}
