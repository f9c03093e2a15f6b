using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>KV cache and attention on a device, against the CPU, on the emulator.</summary>
public sealed class CudaAttentionTests : IDisposable
{
    private const int Heads = 4, KvHeads = 2, HeadDim = 32, Width = Heads * HeadDim, KvWidth = KvHeads * HeadDim, Length = 21, Queries = 2;

    private readonly KernelContext _host = new(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
    private readonly CudaContext _device = Emulator.Open();
    private readonly float[] _keys = Numbers.Floats(Length * KvWidth, seed: 1);
    private readonly float[] _values = Numbers.Floats(Length * KvWidth, seed: 2);
    private readonly float[] _query = Numbers.Floats(Queries * Width, seed: 3);

    public void Dispose()
    {
        _device.Dispose();
        _host.Dispose();
    }

    [Theory]
    [InlineData(ElementType.S8, false)]
    [InlineData(ElementType.U4, false)]
    [InlineData(ElementType.S8, true)]
    public void Tokens_and_attention_have_the_bits_of_the_cpu(ElementType type, bool isStatic)
    {
        KvGranularity granularity = isStatic ? KvGranularity.Static : KvGranularity.Token;
        float[] scales = isStatic ? [0.02f, 0.03f] : [];
        var options = new KvCacheOptions(2, KvHeads, HeadDim, 64)
        {
            PageTokens = 16,
            KeyType = type,
            ValueType = type,
            KeyGranularity = granularity,
            ValueGranularity = granularity,
            KeyScales = scales,
            ValueScales = scales,
        };
        float[] keys = new float[Length * KvWidth], values = new float[Length * KvWidth], expected = new float[Queries * Width];
        using (var cache = new KvCache(options))
        {
            cache.Append<float>(_host, 1, Length, _keys, _values);
            cache.Read(_host, 1, 0, Length, keys.AsSpan(), values.AsSpan());
            Attention.Run<float, float>(_host, cache, new AttentionOptions { Heads = Heads, Window = 9 }, [1], [Queries], _query, expected);
        }

        using CudaKvCache there = new(_device, options);
        there.Tables.CopyFrom([3, 1], start: there.PagesPerSequence);
        there.Lengths.CopyFrom([Length], start: 1);
        using CudaBuffer<int> sequences = _device.Copy<int>([1]), starts = _device.Copy<int>([0, Length]), flags = _device.Copy<int>([0]);
        using CudaBuffer<int> queryStarts = _device.Copy<int>([0, Queries]);
        using CudaBuffer<float> k = _device.Copy<float>(_keys), v = _device.Copy<float>(_values), query = _device.Copy<float>(_query);
        using CudaBuffer<float> output = new(_device, Queries * Width), lse = new(_device, Queries * Heads);
        CudaKvBatch tokens = new(sequences, starts, 1, Length, Length), queries = new(sequences, queryStarts, 1, Queries, Queries);
        CudaAttentionOptions what = new() { Heads = Heads, Window = 9 };
        using CudaBuffer<byte> workspace = new(_device, Attention.WorkspaceBytes(there, what, queries));
        there.Append(tokens, k, v, flags: flags);
        there.Read(tokens, k, v, flags: flags);
        Attention.Run(_device, there, what, queries, query, output, lse, workspace: workspace, flags: flags);
        Assert.Equal(keys, k.Read());
        Assert.Equal(values, v.Read());
        Assert.Equal(expected, output.Read());
        Assert.All(lse.Read(), value => Assert.True(float.IsFinite(value)));
        Assert.Equal(0, flags.Read()[0]);

        there.Lengths.CopyFrom([Length - 1], start: 1);
        there.Append(tokens, k, v, flags: flags);
        Assert.NotEqual(0, flags.Read()[0]);
    }

    [Fact]
    public void Misuse_is_an_exception_that_names_the_parameter()
    {
        var options = new KvCacheOptions(1, KvHeads, HeadDim, 16) { PageTokens = 16 };
        using CudaContext other = Emulator.Open();
        using CudaKvCache cache = new(_device, options), foreignCache = new(other, options);
        using CudaBuffer<int> sequences = _device.Copy<int>([0]), starts = _device.Copy<int>([0, 1]), none = new(_device, 0), foreign = new(other, 2);
        using CudaBuffer<float> k = new(_device, KvWidth), v = new(_device, KvWidth), few = new(_device, KvWidth - 1), query = new(_device, Width);
        using CudaBuffer<float> y = new(_device, Width), shorter = new(_device, Width - 1), lse = new(_device, Heads - 1);
        using CudaStream stream = new(other);
        CudaKvBatch batch = new(sequences, starts, 1, 1, 1);
        CudaAttentionOptions what = new() { Heads = Heads };
        Assert.Equal(cache.PageBytes, CudaKvCache.BytesOf(options).PageBytes);
        Assert.Equal(cache.Pool.Bytes, CudaKvCache.BytesOf(options).PoolBytes);
        Assert.Equal([-1], cache.Tables.Read());

        Assert.Throws<ArgumentNullException>("context", () => new CudaKvCache(null!, options));
        Assert.Throws<ArgumentNullException>("options", () => new CudaKvCache(_device, null!));
        Assert.Throws<ArgumentException>("options", () => new CudaKvCache(_device, options with { KeyScales = new float[KvHeads] }));
        Assert.Equal(
            KernelStatus.Unsupported,
            Assert.Throws<KernelException>(() => new CudaKvCache(_device, options with { HeadDim = 376, RotateKeys = true })).Status);
        Assert.Throws<ArgumentException>("batch", () => cache.Append(default, k, v));
        Assert.Throws<ArgumentException>("batch.Sequences", () => cache.Append(new CudaKvBatch(none, starts, 1, 1, 1), k, v));
        Assert.Throws<ArgumentException>("batch.Starts", () => cache.Append(new CudaKvBatch(sequences, sequences, 1, 1, 1), k, v));
        Assert.Throws<ArgumentException>("batch.Starts", () => cache.Append(new CudaKvBatch(sequences, foreign, 1, 1, 1), k, v));
        Assert.Throws<ArgumentOutOfRangeException>("batch.Count", () => cache.Append(new CudaKvBatch(sequences, starts, -1, 1, 1), k, v));
        Assert.Throws<ArgumentOutOfRangeException>("batch.Rows", () => cache.Append(new CudaKvBatch(sequences, starts, 1, -1, 1), k, v));
        Assert.Throws<ArgumentNullException>("keys", () => cache.Append(batch, null!, v));
        Assert.Throws<ArgumentException>("keys", () => cache.Append(batch, few, v));
        Assert.Throws<ArgumentException>("values", () => cache.Append(batch, k, few));
        Assert.Throws<ArgumentOutOfRangeException>("keyLd", () => cache.Append(batch, k, v, KvWidth - 1));
        Assert.Throws<ArgumentException>("flags", () => cache.Append(batch, k, v, flags: none));
        Assert.Throws<ArgumentException>("stream", () => cache.Append(batch, k, v, stream: stream));
        Assert.Throws<ArgumentException>("values", () => cache.Read(batch, k, k));
        Assert.Throws<ArgumentException>("keys", () => cache.Read(batch, few, null));

        Assert.Throws<ArgumentNullException>("cache", () => Attention.WorkspaceBytes(null!, what, batch));
        Assert.Throws<ArgumentNullException>("context", () => Attention.Run(null!, cache, what, batch, query, y));
        Assert.Throws<ArgumentNullException>("cache", () => Attention.Run(_device, null!, what, batch, query, y));
        Assert.Throws<ArgumentException>("cache", () => Attention.Run(_device, foreignCache, what, batch, query, y));
        Assert.Throws<ArgumentOutOfRangeException>("options.Heads", () => Attention.Run(_device, cache, default, batch, query, y));
        Assert.Throws<ArgumentException>(
            "options.SinkLogits", () => Attention.Run(_device, cache, what with { SinkLogits = lse }, batch, query, y));
        Assert.Throws<ArgumentException>("batch", () => Attention.Run(_device, cache, what, default, query, y));
        Assert.Throws<ArgumentException>("query", () => Attention.Run(_device, cache, what, batch, shorter, y));
        Assert.Throws<ArgumentException>("output", () => Attention.Run(_device, cache, what, batch, query, shorter));
        Assert.Throws<ArgumentException>("output", () => Attention.Run(_device, cache, what, batch, query, query));
        Assert.Throws<ArgumentException>("logSumExp", () => Attention.Run(_device, cache, what, batch, query, y, lse));
        Assert.Throws<ArgumentException>("logSumExp", () => Attention.Run(_device, cache, what, batch, query, y, y));
        Assert.Throws<ArgumentException>("workspace", () => Attention.Run(_device, cache, what, batch, query, y, workspace: cache.Pool));
        CudaAttentionOptions sinks = what with { SinkLogits = y };
        Assert.Throws<ArgumentException>("output", () => Attention.Run(_device, cache, sinks, batch, query, y));
        Assert.Throws<ArgumentException>("stream", () => Attention.Run(_device, cache, what, batch, query, y, stream: stream));
    }
}
