using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>The KV cache through its C# face: values, pages and every misuse.</summary>
public sealed class KvCacheTests
{
    private const int Heads = 2, HeadDim = 64, Width = Heads * HeadDim;

    private static readonly KvCacheOptions s_options = new(3, Heads, HeadDim, 100) { PageTokens = 32, Pages = 6 };

    public static TheoryData<ElementType> Types =>
        [ElementType.F32, ElementType.BF16, ElementType.S8, ElementType.S4, ElementType.U4, ElementType.F8E4M3];

    [Theory]
    [MemberData(nameof(Types))]
    public void What_was_appended_comes_back(ElementType type)
    {
        using var context = new KernelContext();
        using var cache = new KvCache(s_options with { KeyType = type, ValueType = type });
        float[] keys = Tokens(41, 1), values = Tokens(41, 2);
        cache.Append<float>(context, [2, 0], [40, 1], keys, values);
        Assert.Equal(40, cache.Length(2));
        Assert.Equal(1, cache.Length(0));
        var readKeys = new float[40 * Width];
        var readValues = new float[40 * Width];
        cache.Read<float>(context, 2, 0, 40, readKeys, readValues);
        // Half a step of a code: of the largest of 64 normal numbers, which is below 5.
        double tolerance = type switch
        {
            ElementType.F32 => 0,
            ElementType.BF16 => 5.0 / 256,
            ElementType.S8 => 5.0 / 127 / 2 * 1.01,
            ElementType.F8E4M3 => 5.0 / 16,
            ElementType.U4 => 10.0 / 15 / 2 * 1.01,
            _ => 5.0 / 7 / 2 * 1.01,
        };
        for (int i = 0; i < readKeys.Length; i++)
        {
            Assert.InRange(readKeys[i], keys[i] - tolerance, keys[i] + tolerance);
            Assert.InRange(readValues[i], values[i] - tolerance, values[i] + tolerance);
        }

        var halves = new Half[3 * Width];
        cache.Read<Half>(context, 2, 37, 3, halves, []);
        for (int i = 0; i < halves.Length; i++)
            Assert.Equal((Half)readKeys[(37 * Width) + i], halves[i]);
    }

    [Fact]
    public void Keys_are_rotated_by_position_on_the_way_in()
    {
        using var context = new KernelContext();
        using var cache = new KvCache(s_options with { KeyType = ElementType.F32, ValueType = ElementType.F32 });
        var table = new RopeTable(new RopeOptions(RopeLayout.Half, HeadDim), 0, 64);
        float[] keys = Tokens(10, 1), values = Tokens(10, 2), rotated = [.. keys], read = new float[10 * Width], readValues = new float[10 * Width];
        int[] shifted = [7, 6, 5, 4, 3, 2, 1, 0, 63, 62];

        cache.Append<float>(context, 0, 10, keys, values, rope: table);
        cache.Read<float>(context, 0, 0, 10, read, readValues);
        Rope.RotateInPlace<float>(context, table, Heads, [.. Enumerable.Range(0, 10)], rotated);
        Assert.Equal(rotated, read);
        Assert.Equal(values, readValues);

        rotated = [.. keys];
        cache.Append<float>(context, 1, 10, keys, values, rope: table, positions: shifted);
        cache.Read<float>(context, 1, 0, 10, read, readValues);
        Rope.RotateInPlace<float>(context, table, Heads, shifted, rotated);
        Assert.Equal(rotated, read);
    }

    [Fact]
    public void A_wrong_embedding_is_refused_before_anything_is_appended()
    {
        using var context = new KernelContext();
        using var cache = new KvCache(s_options);
        var table = new RopeTable(new RopeOptions(RopeLayout.Half, HeadDim), 0, 4);
        var narrow = new RopeTable(new RopeOptions(RopeLayout.Half, HeadDim / 2), 0, 4);
        float[] tokens = Tokens(5, 1);
        Assert.Throws<ArgumentException>("rope", () => cache.Append<float>(context, 0, 5, tokens, tokens, rope: narrow));
        Assert.Throws<ArgumentException>("positions", () => cache.Append<float>(context, 0, 5, tokens, tokens, positions: [0, 1, 2, 3, 0]));
        Assert.Throws<ArgumentException>("positions", () => cache.Append<float>(context, 0, 5, tokens, tokens, rope: table, positions: [0, 1]));
        Assert.Throws<ArgumentException>("positions", () => cache.Append<float>(context, 0, 5, tokens, tokens, rope: table, positions: [0, 1, 2, 3, 4]));
        Assert.Throws<KernelException>(() => cache.Append<float>(context, 0, 5, tokens, tokens, rope: table));
        Assert.Equal(0, cache.Length(0));
    }

    [Fact]
    public void Static_scales_and_channel_groups_and_changes_of_keys_are_taken()
    {
        using var context = new KernelContext();
        var options = s_options with
        {
            KeyType = ElementType.U4,
            KeyGranularity = KvGranularity.Channel,
            KeyGroup = 32,
            RotateKeys = true,
            CenterKeys = true,
            ValueType = ElementType.U4,
            ValueGranularity = KvGranularity.Static,
            ValueScales = new[] { 0.5f, 0.25f },
            ValueZeroPoints = new[] { 4, 8 },
        };
        using var cache = new KvCache(options);
        float[] keys = Tokens(33, 3), values = Tokens(33, 4);
        cache.Append<float>(context, 0, 33, keys, values);
        var readKeys = new float[33 * Width];
        var readValues = new float[33 * Width];
        cache.Read<float>(context, 0, 0, 33, readKeys, readValues);
        // The last token waits in f32; rotating there and back rounds it.
        for (int i = 32 * Width; i < 33 * Width; i++)
            Assert.Equal(keys[i], readKeys[i], 1e-5);
        for (int i = 0; i < readValues.Length; i++)
        {
            float scale = i % Width < HeadDim ? 0.5f : 0.25f;
            float zero = i % Width < HeadDim ? 4 : 8;
            Assert.Equal(MathF.Round(Math.Clamp(values[i] / scale, -zero, 15 - zero)) * scale, readValues[i]);
        }

        var mean = new float[Width];
        cache.KeyMean(0, mean);
        float sum = 0;
        for (int token = 0; token < 33; token++)
            sum += keys[token * Width];
        Assert.Equal(sum / 33, mean[0]);
        Assert.Equal(1, cache.Table(0)[1]);
    }

    [Fact]
    public void Sizes_are_exact()
    {
        var llama = new KvCacheOptions(1, 32, 128, 4096) { KeyType = ElementType.BF16, ValueType = ElementType.BF16 };
        Assert.Equal(2L << 30, 32 * Codes(llama));
        Assert.Equal(1L << 30, 32 * Codes(llama with { KeyType = ElementType.S8, ValueType = ElementType.S8 }));
        Assert.Equal(1L << 29, 32 * Codes(llama with { KeyType = ElementType.S4, ValueType = ElementType.S4 }));
        Assert.Equal(16L << 20, Codes(llama with { MaxTokens = 2048, KeyType = ElementType.S8, ValueType = ElementType.S8 }));
        using var cache = new KvCache(s_options);
        KvCacheSizes sizes = cache.Sizes;
        Assert.Equal(KvCache.SizesOf(s_options), sizes);
        Assert.Equal(
            sizes.Total,
            sizes.KeyCodes + sizes.ValueCodes + sizes.KeyScales + sizes.ValueScales + sizes.Tails + sizes.Means + sizes.Tables + sizes.Padding);

        static long Codes(KvCacheOptions options) => KvCache.SizesOf(options).KeyCodes + KvCache.SizesOf(options).ValueCodes;
    }

    [Fact]
    public void Forks_share_pages_until_one_is_appended_to()
    {
        using var context = new KernelContext();
        using var cache = new KvCache(s_options);
        cache.Append<float>(context, 0, 40, Tokens(40, 5), Tokens(40, 6));
        cache.Fork(0, 36, 1);
        Assert.Equal(cache.Table(0), cache.Table(1));
        Assert.Equal((2, 0), cache.References(1));
        Assert.Equal(4, cache.FreePages);
        var before = new float[40 * Width];
        cache.Read<float>(context, 0, 0, 40, before, []);
        cache.Append<float>(context, 1, 5, Tokens(5, 7), Tokens(5, 8));
        Assert.Equal([0, 2], cache.Table(1));
        var after = new float[40 * Width];
        cache.Read<float>(context, 0, 0, 40, after, []);
        Assert.Equal(before, after);

        cache.HoldPages([2]);
        cache.Reset(1);
        Assert.Equal((0, 1), cache.References(2));
        cache.SetTable(1, [0, 1], 40);
        Assert.Equal(40, cache.Length(1));
        cache.ReleasePages([2]);
        cache.Truncate(1, 0);
        var taken = new int[2];
        cache.TakePages(taken);
        Assert.Equal(6, cache.Pages);
        Assert.Equal(2, cache.FreePages);
    }

    [Fact]
    public void A_failed_append_changes_nothing()
    {
        using var context = new KernelContext();
        using var cache = new KvCache(s_options);
        cache.Append<float>(context, 0, 10, Tokens(10, 9), Tokens(10, 10));
        float[] bad = Tokens(40, 11);
        bad[^1] = float.PositiveInfinity;
        Assert.Equal(KernelStatus.NonFinite, Status(() => cache.Append<float>(context, 0, 40, Tokens(40, 12), bad)));
        Assert.Equal(KernelStatus.OutOfPages, Status(() => cache.Append<float>(context, [0, 1], [90, 100], Tokens(190, 13), Tokens(190, 14))));
        Assert.Equal(KernelStatus.Shape, Status(() => cache.Append<float>(context, 0, 91, Tokens(91, 13), Tokens(91, 14))));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.Append<float>(context, [0, 0], [1, 1], Tokens(2, 13), Tokens(2, 14))));
        Assert.Equal(10, cache.Length(0));
        Assert.Equal(5, cache.FreePages);
    }

    [Fact]
    public void Misuse_is_an_exception()
    {
        using var context = new KernelContext();
        using var cache = new KvCache(s_options);
        float[] tokens = Tokens(4, 15);
        Assert.Throws<ArgumentNullException>("options", () => new KvCache(null!));
        Assert.Throws<ArgumentOutOfRangeException>("options", () => new KvCache(s_options with { KeyType = (ElementType)99 }));
        Assert.Throws<ArgumentOutOfRangeException>("options", () => new KvCache(s_options with { ValueGranularity = (KvGranularity)9 }));
        Assert.Throws<ArgumentException>("options", () => new KvCache(s_options with { KeyGranularity = KvGranularity.Static, KeyScales = new[] { 1f } }));
        Assert.Throws<ArgumentException>("options", () => new KvCache(s_options with { ValueScales = new[] { 1f, 2f } }));
        Assert.Throws<ArgumentException>("options", () => new KvCache(s_options with { KeyZeroPoints = new[] { 1 } }));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => new KvCache(s_options with { HeadDim = 60 }).Dispose()));
        Assert.Equal(KernelStatus.Unsupported, Status(() => new KvCache(s_options with { HeadDim = 376, RotateKeys = true }).Dispose()));
        Assert.Throws<ArgumentNullException>("context", () => cache.Append<float>(null!, 0, 1, tokens, tokens));
        Assert.Throws<ArgumentOutOfRangeException>("sequence", () => cache.Append<float>(context, 3, 1, tokens, tokens));
        Assert.Throws<ArgumentOutOfRangeException>("sequences", () => cache.Append<float>(context, [-1], [1], tokens, tokens));
        Assert.Throws<ArgumentException>("tokens", () => cache.Append<float>(context, [0, 1], [1], tokens, tokens));
        Assert.Throws<ArgumentOutOfRangeException>("tokens", () => cache.Append<float>(context, [0], [-1], tokens, tokens));
        Assert.Throws<ArgumentException>("keys", () => cache.Append<float>(context, 0, 5, tokens, Tokens(5, 1)));
        Assert.Throws<ArgumentException>("values", () => cache.Append<float>(context, 0, 5, Tokens(5, 1), tokens));
        Assert.Throws<ArgumentOutOfRangeException>("keyLd", () => cache.Append<float>(context, 0, 1, tokens, tokens, keyLd: Width - 1));
        Assert.Throws<ArgumentException>("values", () => cache.Append<float>(context, 0, 4, tokens, tokens, valueLd: Width + 1));
        Assert.Throws<NotSupportedException>(() => cache.Append<int>(context, 0, 1, new int[Width], new int[Width]));

        cache.Append<float>(context, 0, 4, tokens, tokens);
        var target = new float[4 * Width];
        Assert.Throws<ArgumentOutOfRangeException>("first", () => cache.Read<float>(context, 0, 5, 0, target, []));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => cache.Read<float>(context, 0, 1, 4, target, []));
        Assert.Throws<ArgumentException>("keys", () => cache.Read<float>(context, 0, 0, 4, target.AsSpan(1), []));
        Assert.Throws<ArgumentException>("values", () => cache.Read<float>(context, 0, 0, 4, [], target.AsSpan(1)));
        Assert.Throws<ArgumentException>("keys", () => cache.Read<float>(context, 0, 0, 4, target, target));
        Assert.Throws<ArgumentOutOfRangeException>("sequence", () => cache.Length(3));
        Assert.Throws<ArgumentOutOfRangeException>("length", () => cache.Truncate(0, 5));
        Assert.Throws<ArgumentOutOfRangeException>("length", () => cache.Fork(0, 5, 1));
        Assert.Throws<ArgumentOutOfRangeException>("target", () => cache.Fork(0, 1, 9));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.Fork(0, 1, 0)));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.SetTable(1, [99], 1)));
        Assert.Equal(KernelStatus.OutOfPages, Status(() => cache.TakePages(new int[6])));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.HoldPages([5])));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.ReleasePages([0])));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.References(6)));
        Assert.Throws<ArgumentException>("mean", () => cache.SetKeyMean(1, new float[3]));
        Assert.Equal(KernelStatus.InvalidArgument, Status(() => cache.SetKeyMean(1, new float[Width])));

        cache.Dispose();
        cache.Dispose();
        Assert.Throws<ObjectDisposedException>(() => cache.Length(0));
        Assert.Throws<ObjectDisposedException>(() => cache.Append<float>(context, 0, 1, tokens, tokens));
    }

    [Fact]
    public void A_call_that_changes_the_cache_excludes_others()
    {
        using var cache = new KvCache(s_options);
        KvCache? inner = cache;
        var loop = new Loop(() => Assert.Throws<InvalidOperationException>(() => inner.Length(0)));
        using var context = new KernelContext(new KernelContextOptions { Threads = 2, ParallelFor = loop });
        cache.Append<float>(context, 0, 90, Tokens(90, 1), Tokens(90, 2));
        Assert.True(loop.Runs > 0);
    }

    [Fact]
    public void Appending_allocates_nothing()
    {
        using var context = new KernelContext(new KernelContextOptions { Threads = 1 });
        using var cache = new KvCache(s_options);
        float[] tokens = Tokens(20, 16);
        var target = new float[20 * Width];
        Allocations.AssertNone(() =>
        {
            cache.Truncate(0, 0);
            cache.Append<float>(context, 0, 20, tokens, tokens);
            cache.Read<float>(context, 0, 0, 20, target, []);
        });
    }

    private static KernelStatus Status(Action action) => Assert.Throws<KernelException>(action).Status;

    private static float[] Tokens(int count, int seed)
    {
        var random = new Random(seed);
        var values = new float[count * Width];
        foreach (ref float value in values.AsSpan())
            value = (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 3);
        return values;
    }

    private sealed class Loop(Action action) : IParallelFor
    {
        public int Runs { get; private set; }

        public void Run(long count, ParallelTask task)
        {
            action();
            Runs++;
            for (long i = 0; i < count; i++)
                task.Invoke(i);
        }
    }
}
