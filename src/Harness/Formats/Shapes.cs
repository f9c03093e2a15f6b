namespace Kernels.Harness.Formats;

/// <summary>Arithmetic on shapes that come out of a file.</summary>
internal static class Shapes
{
    /// <summary>
    /// The product of the dimensions, 1 if there are none. False if a dimension is negative, or if the product
    /// overflows even when a dimension is zero: no order of multiplication may give another answer.
    /// </summary>
    public static bool TryGetElementCount(ReadOnlySpan<long> shape, out long elements)
    {
        elements = 0;
        Int128 product = 1;
        bool isEmpty = false;
        foreach (long dimension in shape)
        {
            if (dimension < 0)
            {
                return false;
            }

            isEmpty |= dimension == 0;
            product *= Math.Max(dimension, 1);
            if (product > long.MaxValue)
            {
                return false;
            }
        }

        elements = isEmpty ? 0 : (long)product;
        return true;
    }
}
