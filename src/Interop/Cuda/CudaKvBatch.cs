using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>Rows of a tensor of tokens on a device, and the sequences whose last tokens they are.</summary>
/// <param name="sequences">The sequence of every entry. When tokens are appended, none occurs twice.</param>
/// <param name="starts">One element more than there are entries, ascending from 0 to the rows: entry i has the rows starts[i]..starts[i + 1] - 1.</param>
/// <param name="count">Entries, 0 to 65535.</param>
/// <param name="rows">Rows of all entries.</param>
/// <param name="maxRows">No entry has more rows.</param>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaKvBatch(CudaBuffer<int> sequences, CudaBuffer<int> starts, int count, int rows, int maxRows)
{
    /// <summary>The sequence of every entry.</summary>
    public CudaBuffer<int> Sequences { get; } = sequences;

    /// <summary>Where the rows of every entry start, and where the last one's end.</summary>
    public CudaBuffer<int> Starts { get; } = starts;

    /// <summary>Entries.</summary>
    public int Count { get; } = count;

    /// <summary>Rows of all entries.</summary>
    public int Rows { get; } = rows;

    /// <summary>No entry has more rows.</summary>
    public int MaxRows { get; } = maxRows;

    /// <summary>No sequence of the batch has more tokens; 0 for <see cref="KvCacheOptions.MaxTokens"/>.</summary>
    public long MaxLength { get; init; }
}
