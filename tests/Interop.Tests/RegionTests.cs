using Xunit;

namespace Kernels.Tests;

public unsafe class RegionTests
{
    [Fact]
    public void Ranges_overlap_where_they_share_a_byte()
    {
        Assert.False(At(0, 1, 10, 10).Overlaps(At(10, 1, 10, 10)));
        Assert.True(At(0, 1, 11, 11).Overlaps(At(10, 1, 10, 10)));
        Assert.True(At(10, 1, 10, 10).Overlaps(At(0, 1, 11, 11)));
        Assert.True(At(0, 1, 100, 100).Overlaps(At(10, 1, 1, 1)));
    }

    [Fact]
    public void Column_blocks_of_one_buffer_do_not_overlap()
    {
        Assert.False(At(0, 4, 8, 16).Overlaps(At(8, 4, 8, 16)));
        Assert.False(At(8, 4, 8, 16).Overlaps(At(0, 4, 8, 16)));
        Assert.True(At(0, 4, 9, 16).Overlaps(At(8, 4, 8, 16)));
        Assert.True(At(0, 4, 8, 16).Overlaps(At(12, 4, 8, 16)));
        Assert.True(At(0, 4, 8, 16).Overlaps(At(16, 4, 8, 16)));
    }

    [Fact]
    public void Interleaved_matrices_of_different_strides_count_as_overlapping() =>
        Assert.True(At(0, 4, 8, 16).Overlaps(At(8, 4, 8, 32)));

    [Fact]
    public void Nothing_overlaps_nothing()
    {
        Assert.False(default(Region).Overlaps(At(0, 1, 100, 100)));
        Assert.False(At(0, 0, 10, 10).Overlaps(At(0, 1, 100, 100)));
        Assert.False(At(0, 1, 100, 100).Overlaps(At(0, 10, 0, 10)));
    }

    [Fact]
    public void The_stride_of_a_single_row_does_not_matter() =>
        Assert.False(At(0, 1, 10, 0).Overlaps(At(10, 1, 10, long.MaxValue)));

    private static Region At(long offset, long rows, long width, long stride) => new((byte*)4096 + offset, rows, width, stride);
}
