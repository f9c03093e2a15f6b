using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class CeilingsTests
{
    public static TheoryData<Isa> Levels => IsaTest.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public void Every_ceiling_runs_or_says_that_it_does_not(Isa isa)
    {
        using KernelContext context = IsaTest.Context(isa);
        using var buffer = new AlignedBuffer(8192);
        foreach (Ceiling ceiling in Enum.GetValues<Ceiling>())
        {
            if (Ceilings.Variant(context, ceiling) is null)
            {
                KernelException failure = Assert.Throws<KernelException>(() => Ceilings.Run(context, ceiling, buffer.Span, 1));
                Assert.Equal(KernelStatus.Unsupported, failure.Status);
                continue;
            }

            double once = Ceilings.Run(context, ceiling, buffer.Span, 1);
            Assert.True(once > 0);
            Assert.Equal(10 * once, Ceilings.Run(context, ceiling, buffer.Span, 10));
            if (ceiling is Ceiling.Read)
                Assert.Equal(buffer.Length, once);
        }
    }

    [Fact]
    public void Copying_copies_the_first_half_to_the_second()
    {
        using var context = new KernelContext();
        using var buffer = new AlignedBuffer(8192);
        Numbers.Bytes(4096, 1).CopyTo(buffer.Span);
        Assert.Equal(8192, Ceilings.Run(context, Ceiling.Copy, buffer.Span, 1));
        Assert.True(buffer.Span[..4096].SequenceEqual(buffer.Span[4096..]));
    }

    [Fact]
    public void Narrowing_adds_four_lines_to_one()
    {
        using var context = new KernelContext();
        using var buffer = new AlignedBuffer(4096);
        Numbers.Bytes(4096, 1).CopyTo(buffer.Span);
        Assert.Equal(12 * 5 * 64, Ceilings.Run(context, Ceiling.Narrow, buffer.Span, 1));
        ReadOnlySpan<int> words = buffer.AsSpan<int>();
        for (int line = 0; line < 12; line++)
        {
            for (int i = 0; i < 16; i++)
            {
                int from = (64 * line) + i;
                Assert.Equal(unchecked(words[from] + words[from + 16] + words[from + 32] + words[from + 48]), words[(12 * 64) + (16 * line) + i]);
            }
        }
    }

    [Fact]
    public void Misuse_is_refused()
    {
        using var context = new KernelContext();
        using var buffer = new AlignedBuffer(8192);
        Assert.Throws<ArgumentNullException>("context", () => Ceilings.Run(null!, Ceiling.Read, buffer.Span, 1));
        Assert.Throws<ArgumentNullException>("context", () => Ceilings.Variant(null!, Ceiling.Read));
        Assert.Throws<ArgumentOutOfRangeException>("ceiling", () => Ceilings.Run(context, 0, buffer.Span, 1));
        Assert.Throws<ArgumentOutOfRangeException>("ceiling", () => Ceilings.Variant(context, (Ceiling)99));
        Assert.Throws<ArgumentOutOfRangeException>("iterations", () => Ceilings.Run(context, Ceiling.Read, buffer.Span, 0));
        Assert.Throws<ArgumentException>("buffer", () => Ceilings.Run(context, Ceiling.Read, default, 1));
        Assert.Throws<ArgumentException>("buffer", () => Ceilings.Run(context, Ceiling.Copy, buffer.Span[..100], 1));
        Assert.Throws<ArgumentException>("buffer", () => Ceilings.Run(context, Ceiling.Read, buffer.Span.Slice(1, 4096), 1));
    }
}
