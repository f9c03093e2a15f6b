using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <content>Sequences, their page tables, and the pool.</content>
public sealed unsafe partial class KvCache
{
    /// <summary>Pages in the pool.</summary>
    public long Pages => CountPages().Pages;

    /// <summary>Pages that no sequence has and the host does not hold.</summary>
    public long FreePages => CountPages().Free;

    /// <summary>Shortens a sequence and lets go of the pages behind its end.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="length">Tokens to keep, no more than it has.</param>
    public void Truncate(int sequence, long length)
    {
        CheckSequence(sequence, nameof(sequence));
        using KvCacheUse cache = Change();
        CheckLength(cache.Pointer, sequence, length);
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_truncate(cache.Pointer, sequence, length));
    }

    /// <summary>Empties a sequence: no tokens, no pages, no mean set.</summary>
    /// <param name="sequence">The sequence.</param>
    public void Reset(int sequence)
    {
        CheckSequence(sequence, nameof(sequence));
        using KvCacheUse cache = Change();
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_reset(cache.Pointer, sequence));
    }

    /// <summary>Makes an empty sequence the first tokens of another, in shared pages. They are independent afterwards.</summary>
    /// <param name="source">The sequence to share.</param>
    /// <param name="length">Tokens to share, no more than it has.</param>
    /// <param name="target">A sequence of no tokens and no pages.</param>
    /// <exception cref="KernelException">The target is not empty, or is the source (<see cref="KernelStatus.InvalidArgument"/>).</exception>
    public void Fork(int source, long length, int target)
    {
        CheckSequence(source, nameof(source));
        CheckSequence(target, nameof(target));
        using KvCacheUse cache = Change();
        CheckLength(cache.Pointer, source, length);
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_fork(cache.Pointer, source, length, target));
    }

    /// <summary>The page table of a sequence.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <returns>Its pages, in order.</returns>
    public int[] Table(int sequence)
    {
        CheckSequence(sequence, nameof(sequence));
        using KvCacheUse cache = Share();
        long count = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_table(cache.Pointer, sequence, 0, null, &count));
        var pages = new int[count];
        fixed (int* pinned = pages)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_table(cache.Pointer, sequence, count, pinned, &count));
        }

        return pages;
    }

    /// <summary>Gives a sequence a page table that a host's scheduler made. The sequence lets go of its former pages.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="pages">Its pages, in order; those behind the tokens are for coming ones.</param>
    /// <param name="length">Tokens that the pages hold.</param>
    /// <exception cref="KernelException">A page is outside the pool, occurs twice, is free, belongs to another sequence although it is for coming
    /// tokens, or holds fewer tokens than are asked of it; nothing has changed.</exception>
    public void SetTable(int sequence, ReadOnlySpan<int> pages, long length)
    {
        CheckSequence(sequence, nameof(sequence));
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        using KvCacheUse cache = Change();
        fixed (int* pinned = pages)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_set_table(cache.Pointer, sequence, pages.Length, pinned, length));
        }
    }

    /// <summary>Takes free pages, which the host holds until it releases them.</summary>
    /// <param name="pages">Receives the pages; its length says how many.</param>
    /// <exception cref="KernelException">Too few pages are free (<see cref="KernelStatus.OutOfPages"/>).</exception>
    public void TakePages(Span<int> pages)
    {
        using KvCacheUse cache = Change();
        fixed (int* pinned = pages)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_take_pages(cache.Pointer, pages.Length, pinned));
        }
    }

    /// <summary>Holds pages, once more each, so that they outlive the sequences that have them.</summary>
    /// <param name="pages">Pages that are not free.</param>
    /// <exception cref="KernelException">A page is outside the pool, free, or occurs twice; nothing has changed.</exception>
    public void HoldPages(ReadOnlySpan<int> pages)
    {
        using KvCacheUse cache = Change();
        fixed (int* pinned = pages)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_hold_pages(cache.Pointer, pages.Length, pinned));
        }
    }

    /// <summary>Undoes one hold of every page.</summary>
    /// <param name="pages">Pages that the host holds.</param>
    /// <exception cref="KernelException">A page is outside the pool, not held, or occurs twice; nothing has changed.</exception>
    public void ReleasePages(ReadOnlySpan<int> pages)
    {
        using KvCacheUse cache = Change();
        fixed (int* pinned = pages)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_release_pages(cache.Pointer, pages.Length, pinned));
        }
    }

    /// <summary>How many sequences have a page, and how often the host holds it; both 0 for a free page.</summary>
    /// <param name="page">The page.</param>
    /// <returns>The counts.</returns>
    public (int Sequences, int Host) References(long page)
    {
        using KvCacheUse cache = Share();
        int sequences = 0, host = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_page_references(cache.Pointer, page, &sequences, &host));
        return (sequences, host);
    }

    /// <summary>Sets the mean that is subtracted from the keys of an empty sequence.</summary>
    /// <param name="sequence">A sequence of no tokens.</param>
    /// <param name="mean">[KvHeads][HeadDim], finite; empty for the mean of the tokens of the next append.</param>
    /// <exception cref="KernelException">The cache does not centre keys, the sequence is not empty, or the mean not finite.</exception>
    public void SetKeyMean(int sequence, ReadOnlySpan<float> mean)
    {
        CheckSequence(sequence, nameof(sequence));
        if (!mean.IsEmpty)
            Guard.Holds(mean.Length, Width, nameof(mean));
        using KvCacheUse cache = Change();
        fixed (float* pinned = mean)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_set_key_mean(cache.Pointer, sequence, pinned));
        }
    }

    /// <summary>The mean that is subtracted from the keys of a sequence.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="mean">Receives [KvHeads][HeadDim].</param>
    /// <exception cref="KernelException">The cache does not centre keys.</exception>
    public void KeyMean(int sequence, Span<float> mean)
    {
        CheckSequence(sequence, nameof(sequence));
        Guard.Holds(mean.Length, Width, nameof(mean));
        using KvCacheUse cache = Share();
        fixed (float* pinned = mean)
        {
            KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_key_mean(cache.Pointer, sequence, pinned));
        }
    }

    private static void CheckLength(krn_kv_cache* cache, int sequence, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, LengthOf(cache, sequence));
    }

    private (long Pages, long Free) CountPages()
    {
        using KvCacheUse cache = Share();
        long pages = 0, free = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_kv_cache_pages(cache.Pointer, &pages, &free));
        return (pages, free);
    }
}
