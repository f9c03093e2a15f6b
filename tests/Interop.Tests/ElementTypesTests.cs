using Kernels.Native;
using Xunit;

namespace Kernels.Tests;

public class ElementTypesTests
{
    [Fact]
    public void Row_bytes_are_those_of_the_library()
    {
        foreach (ElementType type in Enum.GetValues<ElementType>())
        {
            foreach (long cols in new long[] { 0, 1, 2, 3, 127, 128, 1L << 40 })
                Assert.Equal(NativeMethods.krn_type_row_bytes((int)type, cols), type.RowBytes(cols));
        }
    }

    [Fact]
    public void Impossible_rows_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => ElementType.S8.RowBytes(-1));
        Assert.Throws<ArgumentOutOfRangeException>("cols", () => ElementType.F32.RowBytes(long.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>("type", () => ((ElementType)0).RowBytes(1));
        Assert.Equal(long.MaxValue, ElementType.U8.RowBytes(long.MaxValue));
    }

    [Fact]
    public void Types_of_dotnet_have_element_types()
    {
        Assert.Equal(ElementType.F32, ElementTypes.Of<float>());
        Assert.Equal(ElementType.F16, ElementTypes.Of<Half>());
        Assert.Equal(ElementType.BF16, ElementTypes.Of<BFloat16>());
        Assert.Throws<NotSupportedException>(() => ElementTypes.Of<double>());
    }

    [Theory]
    [InlineData(0f, 0x0000)]
    [InlineData(-0f, 0x8000)]
    [InlineData(1f, 0x3F80)]
    [InlineData(1.00390625f, 0x3F80)] // halfway between 0x3F80 and 0x3F81: to even
    [InlineData(1.01171875f, 0x3F82)] // halfway between 0x3F81 and 0x3F82: to even
    [InlineData(float.PositiveInfinity, 0x7F80)]
    [InlineData(float.MaxValue, 0x7F80)]
    [InlineData(1e-45f, 0x0000)]
    public void BFloat16_rounds_to_nearest_even(float value, int bits) => Assert.Equal(bits, BFloat16.FromSingle(value).Bits);

    [Fact]
    public void BFloat16_keeps_every_number_and_NaN()
    {
        for (int bits = 0; bits <= ushort.MaxValue; bits++)
        {
            BFloat16 value = BFloat16.FromBits((ushort)bits);
            if (float.IsNaN((float)value))
                Assert.True(float.IsNaN((float)(BFloat16)(float)value));
            else
                Assert.Equal(value.Bits, ((BFloat16)(float)value).Bits);
        }

        Assert.True(float.IsNaN(BFloat16.FromSingle(BitConverter.UInt32BitsToSingle(0x7F800001)).ToSingle()));
    }

    [Fact]
    public void BFloat16_compares_as_float_does()
    {
        BFloat16 nan = BFloat16.FromSingle(float.NaN);
        BFloat16 one = BFloat16.FromSingle(1);
        Assert.True(nan != BFloat16.FromBits(nan.Bits));
        Assert.True(nan.Equals(BFloat16.FromBits(nan.Bits)));
        Assert.True(BFloat16.FromSingle(0) == BFloat16.FromSingle(-0f));
        Assert.True(one.Equals((object)BFloat16.FromSingle(1)));
        Assert.False(one.Equals("1"));
        Assert.Equal("1", one.ToString());
        Assert.Equal(one.GetHashCode(), BFloat16.FromSingle(1).GetHashCode());
    }
}
