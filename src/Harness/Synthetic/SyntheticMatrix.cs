namespace Kernels.Harness.Synthetic;

/// <summary>
/// A matrix that is made from a seed. A row depends on the seed, its index, the number of columns and the profile: not
/// on the number of rows, the order in which rows are made, the number of threads or the machine. The bits are the same
/// on every machine, because only operations are used that IEEE 754 defines exactly (addition, multiplication,
/// division, square root), never fused and in a fixed order; tests hold hashes of them.
/// </summary>
public abstract class SyntheticMatrix
{
    private protected SyntheticMatrix(long rows, long columns, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(columns, Array.MaxLength);
        Rows = rows;
        Columns = columns;
        Seed = seed;
    }

    /// <summary>The number of rows.</summary>
    public long Rows { get; }

    /// <summary>The number of columns.</summary>
    public long Columns { get; }

    /// <summary>The seed.</summary>
    public ulong Seed { get; }

    /// <summary>Makes whole rows, on the calling thread. Several threads may do so at once.</summary>
    /// <param name="firstRow">The index of the first row; rows past <see cref="Rows"/> are refused.</param>
    /// <param name="destination">Filled entirely; its length is a multiple of <see cref="Columns"/>.</param>
    public void FillRows(long firstRow, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstRow);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstRow, Rows);
        if (destination.IsEmpty)
        {
            return;
        }

        if (Columns == 0 || destination.Length % Columns != 0 || destination.Length / Columns > Rows - firstRow)
        {
            throw new ArgumentException(
                $"{destination.Length} elements are not whole rows of {Columns} inside the {Rows} rows of the matrix.",
                nameof(destination));
        }

        int columns = (int)Columns;
        for (int start = 0; start < destination.Length; start += columns, firstRow++)
        {
            FillRow(firstRow, destination.Slice(start, columns));
        }
    }

    /// <summary>Makes the whole matrix, row-major, on all processors.</summary>
    /// <param name="destination">Rows * Columns elements.</param>
    public unsafe void Fill(Span<float> destination)
    {
        if (destination.Length != (Int128)Rows * Columns)
        {
            throw new ArgumentException(
                $"{destination.Length} elements are not a matrix of {Rows} x {Columns}.", nameof(destination));
        }

        if (destination.IsEmpty)
        {
            return;
        }

        int columns = (int)Columns;
        fixed (float* start = destination)
        {
            // A span cannot enter a lambda; the address can, and is pinned until the loop is done.
            float* rows = start;
            Parallel.For(0, Rows, row => FillRow(row, new Span<float>(rows + row * columns, columns)));
        }
    }

    /// <summary>Makes the whole matrix, row-major, on all processors.</summary>
    public float[] ToArray()
    {
        Int128 elements = (Int128)Rows * Columns;
        if (elements > Array.MaxLength)
        {
            throw new InvalidOperationException(
                $"{Rows} x {Columns} elements are more than one array can hold: make rows in parts.");
        }

        float[] values = GC.AllocateUninitializedArray<float>((int)elements);
        Fill(values);
        return values;
    }

    private protected abstract void FillRow(long row, Span<float> destination);
}
