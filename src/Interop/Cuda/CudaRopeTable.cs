namespace Kernels;

/// <summary>The cosines and sines of a <see cref="RopeTable"/> in the memory of a device. Made once and read by every call of any stream.</summary>
/// <remarks>Work that uses it must have ended before it is disposed.</remarks>
public sealed class CudaRopeTable : IDisposable
{
    /// <summary>Brings a table to a device. Waits for the default stream.</summary>
    /// <param name="context">The context.</param>
    /// <param name="table">The table; free for use when the call returns.</param>
    /// <exception cref="KernelException">There is not enough memory (<see cref="KernelStatus.OutOfMemory"/>), or the driver reports an
    /// error.</exception>
    public CudaRopeTable(CudaContext context, RopeTable table)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(table);
        Options = table.Options;
        FirstPosition = table.FirstPosition;
        Count = table.Count;
        CosSin = new CudaBuffer<float>(context, table.CosSin.Length);
        try
        {
            CosSin.CopyFrom(table.CosSin);
            context.Synchronize();
        }
        catch
        {
            CosSin.Dispose();
            throw;
        }
    }

    /// <summary>The context.</summary>
    public CudaContext Context => CosSin.Context;

    /// <summary>The embedding.</summary>
    public RopeOptions Options { get; }

    /// <summary>The first position.</summary>
    public long FirstPosition { get; }

    /// <summary>How many positions there are.</summary>
    public long Count { get; }

    /// <summary>[<see cref="Count"/>][rotated elements]: the cosine of every pair's angle, then the sines.</summary>
    internal CudaBuffer<float> CosSin { get; }

    /// <summary>Whether the table has a row for a position.</summary>
    /// <param name="position">The position.</param>
    /// <returns>True if it has.</returns>
    public bool Covers(long position) => position >= FirstPosition && position < FirstPosition + Count;

    /// <summary>Frees the memory; may wait for the device.</summary>
    public void Dispose() => CosSin.Dispose();
}
