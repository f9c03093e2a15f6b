using Kernels.Native;

namespace Kernels;

/// <summary>The cosines and sines of a rotary position embedding for a range of positions. Made once and read by
/// every call; the bits are the same on every machine.</summary>
public sealed unsafe class RopeTable
{
    private readonly float[] _cosSin;

    /// <summary>Computes a table.</summary>
    /// <param name="options">The embedding.</param>
    /// <param name="firstPosition">The first position.</param>
    /// <param name="count">How many positions.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range, positions are not within 0 to
    /// 2^24 - 1, or the table is too large for one array.</exception>
    public RopeTable(RopeOptions options, long firstPosition, long count)
    {
        krn_rope_options native = RopeOptions.ToNative(options);
        ArgumentOutOfRangeException.ThrowIfNegative(firstPosition);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstPosition, MaxPositions);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, MaxPositions - firstPosition);
        if (count * options.RotatedElements > Array.MaxLength)
            throw new ArgumentOutOfRangeException(nameof(count), count, "A table of so many positions is too large for one array.");
        Options = options;
        FirstPosition = firstPosition;
        Count = count;
        _cosSin = new float[count * options.RotatedElements];
        long nothing = 0;
        fixed (float* pinned = _cosSin)
            KernelException.ThrowIfFailed(NativeMethods.krn_rope_table(&native, firstPosition, count, Pin.OrEmpty(pinned, &nothing)));
    }

    /// <summary>One more than the largest position that a table can have.</summary>
    public static long MaxPositions => NativeMethods.KRN_ROPE_MAX_POSITIONS;

    /// <summary>The embedding.</summary>
    public RopeOptions Options { get; }

    /// <summary>The first position.</summary>
    public long FirstPosition { get; }

    /// <summary>How many positions there are.</summary>
    public long Count { get; }

    /// <summary>A row for each position: the cosine of every pair's angle, then the sines.</summary>
    public ReadOnlySpan<float> CosSin => _cosSin;

    /// <summary>Whether the table has a row for a position.</summary>
    /// <param name="position">The position.</param>
    /// <returns>True if it has.</returns>
    public bool Covers(long position) => position >= FirstPosition && position < FirstPosition + Count;
}
