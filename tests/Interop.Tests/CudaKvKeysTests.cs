using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Keys of a KV cache on a device to which something is done (RoPE, mean, rotation, KIVI), against the CPU, on the emulator.</summary>
public sealed class CudaKvKeysTests : IDisposable
{
    private const int Heads = 4, KvHeads = 2, HeadDim = 32, Width = Heads * HeadDim, KvWidth = KvHeads * HeadDim;
    private const int Before = 13, Length = 21, Queries = 2, Sequence = 1, NonFinite = 1, Positions = 4;

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
    [InlineData(ElementType.S8, 0, false, false, true)]
    [InlineData(ElementType.S8, 0, true, false, false)]
    [InlineData(ElementType.S4, 0, false, true, false)]
    [InlineData(ElementType.U4, 16, false, false, false)]
    [InlineData(ElementType.S8, 32, true, true, true)]
    [InlineData(ElementType.F32, 0, true, true, true)]
    public void Changed_keys_have_the_bits_of_the_cpu(ElementType type, int group, bool center, bool rotate, bool embed)
    {
        KvCacheOptions options = Options(type, group) with { CenterKeys = center, RotateKeys = rotate };
        RopeTable? table = embed ? new RopeTable(new RopeOptions(RopeLayout.Half, HeadDim), 0, Length) : null;
        using KvCache here = new(options);
        here.Append<float>(_host, Sequence, Before, _keys, _values, rope: table);
        here.Append<float>(_host, Sequence, Length - Before, _keys.AsSpan(Before * KvWidth), _values.AsSpan(Before * KvWidth), rope: table);

        using CudaKvCache there = Cache(options);
        using CudaRopeTable? tableThere = table is null ? null : new CudaRopeTable(_device, table);
        Append(there, 0, Before, tableThere);
        Append(there, Before, Length, tableThere);
        Compare(here, there, Sequence);
        Assert.Equal(center, there.Means is not null);
        Assert.Equal(center, there.MeanIsSet is not null);
        Assert.Equal(group != 0, there.Tails is not null);
        Assert.Equal(here.Sizes.Means, there.Means?.Bytes ?? 0);
        Assert.Equal(here.Sizes.Tails, there.Tails?.Bytes ?? 0);
        if (!center)
            return;
        float[] mean = new float[KvWidth], meanThere = new float[KvWidth];
        here.KeyMean(Sequence, mean);
        there.KeyMean(Sequence, meanThere);
        Assert.Equal(mean, meanThere);
    }

    [Fact]
    public void Positions_are_those_of_the_caller()
    {
        const int First = 100;
        RopeOptions embedding = new(RopeLayout.Interleaved, HeadDim) { RotaryDim = 16 };
        RopeTable table = new(embedding, First, 50);
        int[] positions = [.. Enumerable.Range(0, Length).Select(i => First + (i * 7 % 50))];
        using KvCache here = new(Options(ElementType.S8, 0));
        here.Append<float>(_host, Sequence, Length, _keys, _values, rope: table, positions: positions);

        using CudaKvCache there = Cache(here.Options);
        using CudaRopeTable tableThere = new(_device, table);
        using CudaBuffer<int> positionsThere = _device.Copy<int>(positions);
        Append(there, 0, Length, tableThere, positionsThere);
        Compare(here, there, Sequence);
        Assert.Same(_device, tableThere.Context);
        Assert.Equal(embedding, tableThere.Options);
        Assert.Equal(First, tableThere.FirstPosition);
        Assert.Equal(50, tableThere.Count);
        Assert.True(tableThere.Covers(First + 49));
        Assert.False(tableThere.Covers(First + 50));

        positionsThere.CopyFrom([First + 50]);
        Append(there, 0, Length, tableThere, positionsThere, flag: Positions);
    }

    [Fact]
    public void A_mean_may_be_set_and_let_go()
    {
        float[] mean = Numbers.Floats(KvWidth, seed: 4), read = new float[KvWidth];
        KvCacheOptions options = Options(ElementType.S8, 0) with { CenterKeys = true };
        using KvCache here = new(options);
        using CudaKvCache there = Cache(options);
        here.SetKeyMean(Sequence, mean);
        there.SetKeyMean(Sequence, mean);
        here.Append<float>(_host, Sequence, Length, _keys, _values);
        Append(there, 0, Length);
        Compare(here, there, Sequence);
        there.KeyMean(Sequence, read);
        Assert.Equal(mean, read);
        Assert.Equal([0, 1, 0], there.MeanIsSet!.Read());

        here.Reset(Sequence);
        there.SetKeyMean(Sequence, []);
        here.Append<float>(_host, Sequence, Length, _keys, _values);
        Append(there, 0, Length);
        Compare(here, there, Sequence);
        there.KeyMean(Sequence, read);
        Assert.NotEqual(mean, read);

        mean[5] = float.NaN;
        there.SetKeyMean(Sequence, mean);
        Append(there, 0, Length, flag: NonFinite);
    }

    [Fact]
    public void A_sequence_that_forks_goes_its_own_way()
    {
        const int Fork = 2;
        KvCacheOptions options = Options(ElementType.S8, 16) with { CenterKeys = true };
        using KvCache here = new(options);
        here.Append<float>(_host, Sequence, Before, _keys, _values);
        here.Fork(Sequence, Before, Fork);
        here.Append<float>(_host, Sequence, 1, _values, _keys);
        here.Append<float>(_host, Fork, Length - Before, _keys.AsSpan(Before * KvWidth), _values.AsSpan(Before * KvWidth));

        using CudaKvCache there = Cache(options);
        Append(there, 0, Before);
        there.CopyPage(3, 4);
        there.CopyKeyState(Sequence, Fork);
        there.Tables.CopyFrom([4, 5], start: Fork * there.PagesPerSequence);
        Append(there, Before, Length, sequence: Fork);
        Compare(here, there, Fork);
    }

    [Fact]
    public void Misuse_is_an_exception_that_names_the_parameter()
    {
        using CudaContext other = Emulator.Open();
        RopeTable table = new(new RopeOptions(RopeLayout.Half, HeadDim), 0, 4);
        using CudaRopeTable rope = new(_device, table), foreignRope = new(other, table);
        using CudaRopeTable narrow = new(_device, new RopeTable(new RopeOptions(RopeLayout.Half, HeadDim / 2), 0, 4));
        using CudaKvCache plain = Cache(Options(ElementType.S8, 0)), cache = Cache(Options(ElementType.S8, 16) with { CenterKeys = true });
        using CudaBuffer<float> k = new(_device, KvWidth), query = new(_device, Width), y = new(_device, Width);
        using CudaBuffer<int> sequences = _device.Copy<int>([0]), starts = _device.Copy<int>([0, 1]), none = new(_device, 0), foreign = new(other, 1);
        CudaKvBatch batch = new(sequences, starts, 1, 1, 1);
        CudaAttentionOptions what = new() { Heads = KvHeads };
        float[] mean = new float[KvWidth];

        Assert.Throws<ArgumentNullException>("context", () => new CudaRopeTable(null!, table));
        Assert.Throws<ArgumentNullException>("table", () => new CudaRopeTable(_device, null!));
        Assert.Throws<ArgumentException>("rope", () => plain.Append(batch, k, k, rope: narrow));
        Assert.Throws<ArgumentException>("rope", () => plain.Append(batch, k, k, rope: foreignRope));
        Assert.Throws<ArgumentException>("positions", () => plain.Append(batch, k, k, positions: sequences));
        Assert.Throws<ArgumentException>("positions", () => plain.Append(batch, k, k, rope: rope, positions: none));
        Assert.Throws<ArgumentException>("positions", () => plain.Append(batch, k, k, rope: rope, positions: foreign));
        Assert.Throws<ArgumentException>("keys", () => cache.Append(batch, cache.Means!, k));
        Assert.Throws<ArgumentException>("values", () => cache.Append(batch, k, cache.Tails!));
        Assert.Throws<ArgumentException>("keys", () => cache.Read(batch, cache.Tails, null));
        Assert.Throws<ArgumentException>("values", () => cache.Read(batch, null, cache.Means));
        Assert.Throws<ArgumentException>("output", () => Attention.Run(_device, cache, what, batch, query, cache.Tails!));
        Assert.Throws<ArgumentException>("logSumExp", () => Attention.Run(_device, cache, what, batch, query, y, cache.Means));

        Assert.Throws<InvalidOperationException>(() => plain.SetKeyMean(0, mean));
        Assert.Throws<InvalidOperationException>(() => plain.KeyMean(0, mean));
        Assert.Throws<ArgumentException>("mean", () => cache.SetKeyMean(0, mean.AsSpan(1)));
        Assert.Throws<ArgumentException>("mean", () => cache.KeyMean(0, mean.AsSpan(1)));
        Assert.Throws<ArgumentOutOfRangeException>("sequence", () => cache.SetKeyMean(3, mean));
        Assert.Throws<ArgumentOutOfRangeException>("sequence", () => cache.KeyMean(-1, mean));
        Assert.Throws<ArgumentOutOfRangeException>("source", () => cache.CopyKeyState(-1, 0));
        Assert.Throws<ArgumentOutOfRangeException>("target", () => cache.CopyKeyState(0, 3));
        Assert.Throws<ArgumentException>("target", () => cache.CopyKeyState(1, 1));
        Assert.Throws<ArgumentOutOfRangeException>("source", () => cache.CopyPage(-1, 0));
        Assert.Throws<ArgumentOutOfRangeException>("target", () => cache.CopyPage(0, cache.Pool.Length / cache.PageBytes));
        Assert.Throws<ArgumentException>("target", () => cache.CopyPage(1, 1));
        plain.CopyKeyState(0, 1);

        rope.Dispose();
        Assert.Throws<ObjectDisposedException>(() => plain.Append(batch, k, k, rope: rope));
    }

    private static KvCacheOptions Options(ElementType type, int group) => new(3, KvHeads, HeadDim, 64)
    {
        PageTokens = group == 32 ? 32 : 16,
        KeyType = type,
        ValueType = type,
        KeyGranularity = group == 0 ? KvGranularity.Token : KvGranularity.Channel,
        KeyGroup = group,
    };

    private CudaKvCache Cache(KvCacheOptions options)
    {
        var cache = new CudaKvCache(_device, options);
        cache.Tables.CopyFrom([3, 1], start: Sequence * cache.PagesPerSequence);
        return cache;
    }

    private void Append(
        CudaKvCache cache, int first, int end, CudaRopeTable? rope = null, CudaBuffer<int>? positions = null, int sequence = Sequence, int flag = 0)
    {
        int count = end - first;
        using CudaBuffer<int> sequences = _device.Copy<int>([sequence]), starts = _device.Copy<int>([0, count]), flags = _device.Copy<int>([0]);
        using CudaBuffer<float> k = _device.Copy<float>(_keys.AsSpan(first * KvWidth, count * KvWidth));
        using CudaBuffer<float> v = _device.Copy<float>(_values.AsSpan(first * KvWidth, count * KvWidth));
        cache.Lengths.CopyFrom([end], start: sequence);
        cache.Append(new CudaKvBatch(sequences, starts, 1, count, count), k, v, rope: rope, positions: positions, flags: flags);
        Assert.Equal(flag, flags.Read()[0]);
    }

    // All tokens as they are read, and attention over them.
    private void Compare(KvCache here, CudaKvCache there, int sequence)
    {
        float[] keys = new float[Length * KvWidth], values = new float[Length * KvWidth], expected = new float[Queries * Width];
        here.Read(_host, sequence, 0, Length, keys.AsSpan(), values.AsSpan());
        Attention.Run<float, float>(_host, here, new AttentionOptions { Heads = Heads }, [sequence], [Queries], _query, expected);

        using CudaBuffer<int> sequences = _device.Copy<int>([sequence]), starts = _device.Copy<int>([0, Length]), flags = _device.Copy<int>([0]);
        using CudaBuffer<int> queryStarts = _device.Copy<int>([0, Queries]);
        using CudaBuffer<float> k = new(_device, keys.Length), v = new(_device, values.Length), query = _device.Copy<float>(_query);
        using CudaBuffer<float> output = new(_device, Queries * Width);
        CudaKvBatch queries = new(sequences, queryStarts, 1, Queries, Queries);
        CudaAttentionOptions what = new() { Heads = Heads };
        using CudaBuffer<byte> workspace = new(_device, Attention.WorkspaceBytes(there, what, queries));
        there.Read(new CudaKvBatch(sequences, starts, 1, Length, Length), k, v, flags: flags);
        Attention.Run(_device, there, what, queries, query, output, workspace: workspace, flags: flags);
        Assert.Equal(keys, k.Read());
        Assert.Equal(values, v.Read());
        Assert.Equal(expected, output.Read());
        Assert.Equal(0, flags.Read()[0]);
    }
}
