namespace Kernels.Harness.Accuracy;

/// <summary>Which rows or columns of a large result are checked: the first, the last, and others at even distances.</summary>
internal static class SampleGrid
{
    /// <summary>Rows and columns that are checked at most, so that a grid has 4096 outputs.</summary>
    public const int MaxPerSide = 64;

    /// <summary>The indices to check among <paramref name="count"/>, ascending: all of them when they are few.</summary>
    public static long[] Indices(long count, int most = MaxPerSide)
    {
        if (count <= most)
            return [.. LongRange(count)];
        var indices = new long[most];
        for (int i = 0; i < most; i++)
            indices[i] = (long)((Int128)i * (count - 1) / (most - 1));
        return indices;
    }

    private static IEnumerable<long> LongRange(long count)
    {
        for (long i = 0; i < count; i++)
            yield return i;
    }
}
