using Xunit;

namespace Kernels.Tests;

public unsafe class AlignedBufferTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(5 << 20)]
    public void Memory_is_aligned_and_zeroed(int bytes)
    {
        using var buffer = new AlignedBuffer(bytes);
        Assert.Equal(bytes, buffer.Length);
        Assert.Equal(bytes, buffer.Span.Length);
        Assert.False(buffer.Span.ContainsAnyExcept((byte)0));
        fixed (byte* start = buffer.Span)
            Assert.Equal(0u, (nuint)start % 64);
    }

    [Fact]
    public void Elements_are_those_that_fit()
    {
        using var buffer = new AlignedBuffer(103);
        Assert.Equal(25, buffer.AsSpan<float>().Length);
        buffer.AsSpan<float>()[7] = 3;
        Assert.Equal(3, buffer.Slice<float>(7, 1)[0]);
        Assert.Equal(0, buffer.Slice<float>(25, 0).Length);
    }

    [Fact]
    public void No_bytes_are_fine()
    {
        using var buffer = new AlignedBuffer(0);
        Assert.True(buffer.Span.IsEmpty);
    }

    [Fact]
    public void Impossible_sizes_and_slices_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>("bytes", () => new AlignedBuffer(-1));
        KernelException failure = Assert.Throws<KernelException>(() => new AlignedBuffer(long.MaxValue));
        Assert.Equal(KernelStatus.OutOfMemory, failure.Status);

        using var buffer = new AlignedBuffer(100);
        Assert.Throws<ArgumentOutOfRangeException>("start", () => buffer.Slice<byte>(-1, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>("length", () => buffer.Slice<byte>(0, -1).Length);
        Assert.Throws<ArgumentOutOfRangeException>("length", () => buffer.Slice<byte>(100, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>("start", () => buffer.Slice<byte>(long.MaxValue, 1).Length);
    }

    [Fact]
    public void A_disposed_buffer_is_refused()
    {
        var buffer = new AlignedBuffer(100);
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Span.Length);
        Assert.Throws<ObjectDisposedException>(() => buffer.Slice<int>(0, 1).Length);
    }
}
