using System.Runtime.InteropServices;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

/// <summary>Rotary position embedding: values by the definition, and every misuse an exception that names the
/// argument.</summary>
public sealed class RopeTests : IDisposable
{
    private const int Heads = 2, HeadDim = 6, Width = Heads * HeadDim;

    private static readonly RopeOptions s_options = new(RopeLayout.Half, HeadDim);
    private static readonly int[] s_positions = [3, 1, 2];

    private readonly KernelContext _context = new();
    private readonly RopeTable _table = new(s_options, 1, 4);
    private readonly float[] _source = Numbers.Floats(3 * Width, seed: 6);
    private readonly float[] _target = new float[3 * Width];

    public void Dispose() => _context.Dispose();

    public static TheoryData<Isa, RopeLayout, long> Cases()
    {
        var cases = new TheoryData<Isa, RopeLayout, long>();
        foreach (Isa isa in IsaTest.Levels)
        {
            foreach (RopeLayout layout in Enum.GetValues<RopeLayout>())
            {
                cases.Add(isa, layout, 0);
                cases.Add(isa, layout, 4);
            }
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_pair_is_rotated_by_its_position_times_its_frequency(Isa isa, RopeLayout layout, long rotaryDim)
    {
        using KernelContext context = IsaTest.Context(isa);
        var table = new RopeTable(s_options with { Layout = layout, RotaryDim = rotaryDim, ThetaBase = 100 }, 0, 9);
        Rope.Rotate<float, float>(context, table, Heads, s_positions, _source, _target);
        int rotated = rotaryDim == 0 ? HeadDim : (int)rotaryDim;
        for (int start = 0; start < _source.Length; start += HeadDim)
        {
            int position = s_positions[start / Width];
            for (int i = 0; i < rotated / 2; i++)
            {
                double angle = position * Math.Pow(100, -2.0 * i / rotated);
                int first = start + (layout == RopeLayout.Half ? i : 2 * i);
                int second = start + (layout == RopeLayout.Half ? i + rotated / 2 : 2 * i + 1);
                double a = _source[first], b = _source[second];
                // Two factors rounded, two products, a sum: three roundings of each product's magnitude at most.
                double bound = 4 * Math.Pow(2, -24) * (Math.Abs(a) + Math.Abs(b));
                Assert.Equal(a * Math.Cos(angle) - b * Math.Sin(angle), _target[first], bound);
                Assert.Equal(a * Math.Sin(angle) + b * Math.Cos(angle), _target[second], bound);
            }

            for (int i = rotated; i < HeadDim; i++)
                Assert.Equal(_source[start + i], _target[start + i]);
        }
    }

    [Fact]
    public void In_place_and_other_types_give_the_same()
    {
        Rope.Rotate<float, float>(_context, _table, Heads, s_positions, _source, _target);
        float[] tensor = [.. _source];
        Rope.RotateInPlace<float>(_context, _table, Heads, s_positions, tensor);
        Assert.Equal(_target, tensor);
        var half = new Half[3 * Width];
        Rope.Rotate<float, Half>(_context, _table, Heads, s_positions, _source, half);
        Assert.Equal(Numbers.ToHalf(_target), half);
        var brain = new BFloat16[3 * Width];
        Rope.Rotate<float, BFloat16>(_context, _table, Heads, s_positions, _source, brain);
        Assert.Equal(Numbers.ToBFloat16(_target), brain);
    }

    [Fact]
    public void Scores_depend_on_the_distance_alone()
    {
        var table = new RopeTable(s_options, 0, 1000);
        float[] query = Numbers.Floats(HeadDim, seed: 1), key = Numbers.Floats(HeadDim, seed: 2);
        float near = Score(5, 2), far = Score(905, 902);
        double bound = 16 * Math.Pow(2, -24) * HeadDim * query.Max(MathF.Abs) * key.Max(MathF.Abs);
        Assert.Equal(near, far, bound);

        float Score(int queryPosition, int keyPosition)
        {
            float[] q = [.. query], k = [.. key];
            Rope.RotateInPlace<float>(_context, table, 1, [queryPosition], q);
            Rope.RotateInPlace<float>(_context, table, 1, [keyPosition], k);
            return q.Zip(k, (a, b) => a * b).Sum();
        }
    }

    [Fact]
    public void Llama3_keeps_high_frequencies_and_divides_low_ones()
    {
        RopeOptions plain = new(RopeLayout.Half, 128) { ThetaBase = 500000 };
        RopeOptions scaled = plain with { Scaling = RopeScaling.Llama3, Factor = 8, LowFreqFactor = 1, HighFreqFactor = 4, OriginalContext = 8192 };
        RopeOptions divided = plain with { Scaling = RopeScaling.Linear, Factor = 8 };
        ReadOnlySpan<float> a = new RopeTable(plain, 777, 1).CosSin, b = new RopeTable(scaled, 777, 1).CosSin, c = new RopeTable(divided, 777, 1).CosSin;
        Assert.Equal(a[0], b[0]);
        Assert.Equal(c[63], b[63]);
        Assert.NotEqual(a[63], b[63]);
    }

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        RopeOptions llama = s_options with { Scaling = RopeScaling.Llama3, Factor = 8, LowFreqFactor = 1, HighFreqFactor = 4, OriginalContext = 8192 };
        RopeOptions[] wrong =
        [
            default,
            s_options with { Layout = (RopeLayout)2 },
            s_options with { Scaling = (RopeScaling)3 },
            s_options with { HeadDim = 7 },
            s_options with { HeadDim = 65538 },
            s_options with { RotaryDim = 3 },
            s_options with { RotaryDim = 8 },
            s_options with { RotaryDim = -2 },
            s_options with { ThetaBase = 0.5 },
            s_options with { ThetaBase = double.NaN },
            s_options with { Scaling = RopeScaling.Linear },
            llama with { Factor = double.NaN },
            llama with { LowFreqFactor = 0 },
            llama with { HighFreqFactor = 1 },
            llama with { HighFreqFactor = double.PositiveInfinity },
            llama with { OriginalContext = 0 },
        ];
        Assert.All(wrong, options => Assert.Throws<ArgumentOutOfRangeException>(nameof(options), () => new RopeTable(options, 0, 1)));
    }

    [Fact]
    public void Positions_out_of_range_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>("firstPosition", () => new RopeTable(s_options, -1, 1));
        Assert.Throws<ArgumentOutOfRangeException>("firstPosition", () => new RopeTable(s_options, RopeTable.MaxPositions + 1, 0));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => new RopeTable(s_options, 0, -1));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => new RopeTable(s_options, 1, RopeTable.MaxPositions));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => new RopeTable(new(RopeLayout.Half, 65536), 0, 1 << 20));
        Assert.Equal(0, new RopeTable(s_options, RopeTable.MaxPositions, 0).CosSin.Length);
        foreach (int position in new[] { 0, 5, -1, int.MinValue, int.MaxValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>(
                "positions", () => Rope.Rotate<float, float>(_context, _table, Heads, [1, position, 2], _source, _target));
        }

        Assert.All(_target, value => Assert.Equal(0, value));
    }

    [Fact]
    public void Spans_that_do_not_fit_are_refused()
    {
        Assert.Throws<ArgumentException>("source", () => Rope.Rotate<float, float>(_context, _table, Heads, s_positions, _source.AsSpan(1), _target));
        Assert.Throws<ArgumentException>("target", () => Rope.Rotate<float, float>(_context, _table, Heads, s_positions, _source, _target.AsSpan(1)));
        Assert.Throws<ArgumentException>("tensor", () => Rope.RotateInPlace<float>(_context, _table, Heads, s_positions, _target.AsSpan(1)));
        Assert.Throws<ArgumentOutOfRangeException>(
            "sourceLd", () => Rope.Rotate<float, float>(_context, _table, Heads, s_positions, _source, _target, sourceLd: Width - 1));
        Assert.Throws<ArgumentOutOfRangeException>(
            "targetLd", () => Rope.Rotate<float, float>(_context, _table, Heads, s_positions, _source, _target, targetLd: -1));
        Assert.Throws<ArgumentOutOfRangeException>("ld", () => Rope.RotateInPlace<float>(_context, _table, Heads, s_positions, _target, ld: 1));
        foreach (long heads in new[] { -1, long.MinValue, long.MaxValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>(
                "heads", () => Rope.Rotate<float, float>(_context, _table, heads, s_positions, _source, _target));
        }

        Assert.Throws<NotSupportedException>(() => Rope.RotateInPlace<int>(_context, _table, Heads, s_positions, new int[3 * Width]));
    }

    [Fact]
    public void Null_is_refused()
    {
        Assert.Throws<ArgumentNullException>("context", () => Rope.Variant(null!));
        Assert.Throws<ArgumentNullException>("context", () => Rope.RotateInPlace<float>(null!, _table, Heads, s_positions, _target));
        Assert.Throws<ArgumentNullException>("table", () => Rope.RotateInPlace<float>(_context, null!, Heads, s_positions, _target));
    }

    [Fact]
    public void Overlapping_memory_is_refused()
    {
        var memory = new float[6 * Width];
        Assert.Throws<ArgumentException>(
            "target", () => Rope.Rotate<float, float>(_context, _table, Heads, s_positions, memory, memory.AsSpan(1)));
        Assert.Throws<ArgumentException>(
            "target", () => Rope.Rotate<float, Half>(_context, _table, Heads, s_positions, memory, MemoryMarshal.Cast<float, Half>(memory.AsSpan())));
        Assert.Throws<ArgumentException>("tensor", () =>
        {
            Span<int> positions = MemoryMarshal.Cast<float, int>(memory.AsSpan(0, 3));
            s_positions.CopyTo(positions);
            Rope.RotateInPlace<float>(_context, _table, Heads, positions, memory);
        });
    }

    [Fact]
    public void Columns_of_one_buffer_do_not_overlap()
    {
        var memory = new float[3 * 2 * Width];
        for (int row = 0; row < 3; row++)
            _source.AsSpan(row * Width, Width).CopyTo(memory.AsSpan(row * 2 * Width));
        Rope.Rotate<float, float>(_context, _table, Heads, s_positions, memory, memory.AsSpan(Width), 2 * Width, 2 * Width);
        Rope.Rotate<float, float>(_context, _table, Heads, s_positions, _source, _target);
        for (int row = 0; row < 3; row++)
            Assert.Equal(_target.AsSpan(row * Width, Width), memory.AsSpan((row * 2 + 1) * Width, Width));
    }

    [Fact]
    public void Nothing_is_rotated_without_tokens_or_heads()
    {
        Rope.Rotate<float, float>(_context, _table, Heads, [], [], []);
        Rope.Rotate<float, BFloat16>(_context, _table, 0, s_positions, [], []);
        Rope.RotateInPlace<BFloat16>(_context, _table, Heads, [], []);
    }
}
