using Xunit;

namespace Kernels.Tests;

/// <summary>Attention through its C# face: values against a plain softmax, merging, and every misuse.</summary>
public sealed class AttentionTests : IDisposable
{
    private const int Heads = 4, KvHeads = 2, HeadDim = 64, Width = Heads * HeadDim, KvWidth = KvHeads * HeadDim, Length = 30, Queries = 3;

    private readonly KernelContext _context = new();
    private readonly KvCache _cache = new(new KvCacheOptions(2, KvHeads, HeadDim, 64) { KeyType = ElementType.F32, ValueType = ElementType.F32 });
    private readonly float[] _keys = Numbers(Length * KvWidth, 1);
    private readonly float[] _values = Numbers(Length * KvWidth, 2);
    private readonly float[] _query = Numbers(Queries * Width, 3);

    public AttentionTests() => _cache.Append<float>(_context, 1, Length, _keys, _values);

    public void Dispose()
    {
        _cache.Dispose();
        _context.Dispose();
    }

    [Fact]
    public void The_result_is_that_of_a_softmax()
    {
        var output = new float[Queries * Width];
        var logSumExp = new float[Queries * Heads];
        Attention.Run<float, float>(_context, _cache, new AttentionOptions { Heads = Heads }, [1], [Queries], _query, output, logSumExp);
        for (int row = 0; row < Queries * Heads; row++)
        {
            (double[] expected, double lse) = Softmax(row / Heads, row % Heads, Length - Queries + (row / Heads) + 1);
            // 4 numbers of at most 5 bound values; (tokens + 100) roundings, and those of 64 products in the exponent.
            for (int i = 0; i < HeadDim; i++)
                Assert.InRange(output[(row * HeadDim) + i], expected[i] - 1e-4, expected[i] + 1e-4);
            Assert.InRange(logSumExp[row], lse - 1e-4, lse + 1e-4);
        }
    }

    [Fact]
    public void Half_precision_is_the_rounded_result()
    {
        var options = new AttentionOptions { Heads = Heads, Window = 7, SinkTokens = 2, SoftCap = 3, SinkLogits = [0, 1, 2, 3], AlibiSlopes = [1, .5f, .25f, 0] };
        Half[] query = [.. _query.Select(x => (Half)x)];
        float[] widened = [.. query.Select(x => (float)x)];
        var single = new float[Queries * Width];
        var half = new Half[Queries * (Width + 3)];
        Attention.Run<float, float>(_context, _cache, options, [1], [Queries], widened, single);
        Attention.Run<Half, Half>(_context, _cache, options, [1], [Queries], query, half, outputLd: Width + 3);
        for (int i = 0; i < single.Length; i++)
            Assert.Equal((Half)single[i], half[(i / Width * (Width + 3)) + (i % Width)]);
    }

    [Fact]
    public void A_workspace_of_the_callers_gives_the_same()
    {
        var options = new AttentionOptions { Heads = Heads, Full = true };
        float[] own = new float[Queries * Width], callers = new float[Queries * Width];
        using var workspace = new AlignedBuffer(Attention.WorkspaceBytes(_context, _cache, options, [1], [Queries]));
        Attention.Run<float, float>(_context, _cache, options, [1], [Queries], _query, own);
        Attention.Run<float, float>(_context, _cache, options, [1], [Queries], _query, callers, default, 0, 0, workspace.Span);
        Assert.Equal(own, callers);
    }

    [Fact]
    public void Merged_parts_are_weighted_by_their_log_sum_exp()
    {
        float[] parts = [1, 2, 5, 6], merged = new float[2], lse = new float[1];
        Attention.Merge<float>(_context, 1, 1, 2, parts, [2f, 1f], merged, lse);
        double w = Math.Exp(-1);
        Assert.Equal((1 + (5 * w)) / (1 + w), merged[0], 1e-5);
        Assert.Equal((2 + (6 * w)) / (1 + w), merged[1], 1e-5);
        Assert.Equal(2 + Math.Log(1 + w), lse[0], 1e-5);
        Attention.Merge<float>(_context, 1, 1, 2, parts, [float.NegativeInfinity, float.NegativeInfinity], merged, lse);
        Assert.Equal([0, 0], merged);
        Assert.Equal(float.NegativeInfinity, lse[0]);
    }

    [Fact]
    public void Names_of_variants_are_those_of_levels()
    {
        Assert.NotNull(Attention.Variant(_context, ElementType.S8, ElementType.S4));
        Assert.Null(Attention.Variant(_context, ElementType.F16, ElementType.S8));
        using var reference = new KernelContext(new KernelContextOptions { Isa = Isa.Reference });
        Assert.Equal("ref", Attention.Variant(reference, ElementType.BF16, ElementType.F8E4M3));
    }

    [Fact]
    public void Misuse_names_the_parameter()
    {
        var output = new float[Queries * Width];
        Throws<ArgumentNullException>("context", () => Run(null!, _cache, Heads, [1], [Queries], _query, output));
        Throws<ArgumentNullException>("cache", () => Run(_context, null!, Heads, [1], [Queries], _query, output));
        Throws<ArgumentOutOfRangeException>("options.Heads", () => Run(_context, _cache, 0, [1], [Queries], _query, output));
        Throws<ArgumentOutOfRangeException>("sequences", () => Run(_context, _cache, Heads, [2], [Queries], _query, output));
        Throws<ArgumentOutOfRangeException>("sequences", () => Run(_context, _cache, Heads, [-1], [Queries], _query, output));
        Throws<ArgumentOutOfRangeException>("queryTokens", () => Run(_context, _cache, Heads, [1], [-1], _query, output));
        Throws<ArgumentException>("queryTokens", () => Run(_context, _cache, Heads, [1], [1, 1], _query, output));
        Throws<ArgumentException>("query", () => Run(_context, _cache, Heads, [1], [Queries], _query.AsSpan(1).ToArray(), output));
        Throws<ArgumentException>("output", () => Run(_context, _cache, Heads, [1], [Queries], _query, output.AsSpan(1).ToArray()));
        Throws<ArgumentException>("output", () => Run(_context, _cache, Heads, [1], [Queries], _query, _query));
        Throws<ArgumentException>("logSumExp", () => Attention.Run<float, float>(
            _context, _cache, new AttentionOptions { Heads = Heads }, [1], [Queries], _query, output, new float[1]));
        Throws<ArgumentOutOfRangeException>("queryLd", () => Attention.Run<float, float>(
            _context, _cache, new AttentionOptions { Heads = Heads }, [1], [Queries], _query, output, queryLd: Width - 1));
        Throws<ArgumentException>("options.SinkLogits", () => Attention.Run<float, float>(
            _context, _cache, new AttentionOptions { Heads = Heads, SinkLogits = [1] }, [1], [Queries], _query, output));
        Throws<ArgumentException>("workspace", () => Attention.Run<float, float>(
            _context, _cache, new AttentionOptions { Heads = Heads }, [1], [Queries], _query, output, default, 0, 0, new byte[64]));
        Throws<ArgumentException>("logSumExp", () => Attention.Merge<float>(_context, 1, 2, 2, new float[8], new float[3], new float[4]));
        Throws<ArgumentException>("parts", () => Attention.Merge<float>(_context, 1, 2, 2, new float[7], new float[4], new float[4]));
    }

    [Fact]
    public void Bad_input_is_a_status_and_nothing_is_written()
    {
        var output = new float[Queries * Width];
        float[] query = [.. _query];
        query[^1] = float.NaN;
        Assert.Equal(KernelStatus.NonFinite, Assert.Throws<KernelException>(() => Run(_context, _cache, Heads, [1], [Queries], query, output)).Status);
        Assert.Equal(KernelStatus.Shape, Assert.Throws<KernelException>(() => Run(_context, _cache, Heads, [0], [Queries], _query, output)).Status);
        Assert.Equal(KernelStatus.Shape, Assert.Throws<KernelException>(() => Run(_context, _cache, 3, [1], [Queries], _query, output)).Status);
        Assert.All(output, x => Assert.Equal(0, x));
    }

    private static void Run(KernelContext context, KvCache cache, int heads, int[] sequences, long[] queryTokens, float[] query, float[] output) =>
        Attention.Run<float, float>(context, cache, new AttentionOptions { Heads = heads }, sequences, queryTokens, query, output);

    private static void Throws<TException>(string parameter, Action call)
        where TException : ArgumentException =>
        Assert.Equal(parameter, Assert.Throws<TException>(call).ParamName);

    private static float[] Numbers(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 4) - 2))];
    }

    private (double[] Output, double LogSumExp) Softmax(int token, int head, int visible)
    {
        int kvHead = head / (Heads / KvHeads);
        var scores = new double[visible];
        for (int t = 0; t < visible; t++)
        {
            for (int i = 0; i < HeadDim; i++)
                scores[t] += (double)_query[(token * Width) + (head * HeadDim) + i] * _keys[(t * KvWidth) + (kvHead * HeadDim) + i] / Math.Sqrt(HeadDim);
        }

        double highest = scores.Max(), sum = scores.Sum(s => Math.Exp(s - highest));
        var output = new double[HeadDim];
        for (int t = 0; t < visible; t++)
        {
            for (int i = 0; i < HeadDim; i++)
                output[i] += Math.Exp(scores[t] - highest) / sum * _values[(t * KvWidth) + (kvHead * HeadDim) + i];
        }

        return (output, highest + Math.Log(sum));
    }
}
