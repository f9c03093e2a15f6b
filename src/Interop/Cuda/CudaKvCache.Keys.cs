namespace Kernels;

/// <content>What a cache keeps of keys beside their pages: means (SageAttention) and incomplete groups (KIVI).</content>
public sealed unsafe partial class CudaKvCache
{
    /// <summary>[Sequences][KvHeads][HeadDim]: the mean that is subtracted from the keys of every sequence; null without
    /// <see cref="KvCacheOptions.CenterKeys"/>.</summary>
    /// <remarks>An append to a sequence that had no tokens takes its mean from them, unless <see cref="MeanIsSet"/> says otherwise.</remarks>
    public CudaBuffer<float>? Means { get; private set; }

    /// <summary>[Sequences]: not 0 for sequences whose mean the caller has written, which appends leave alone; 0 at first. Null without
    /// <see cref="KvCacheOptions.CenterKeys"/>.</summary>
    public CudaBuffer<int>? MeanIsSet { get; private set; }

    /// <summary>[Sequences][KvHeads][KeyGroup / 16][HeadDim][16]: the keys of the last, incomplete group of every sequence, as <see cref="KvCache"/> has
    /// them; null without <see cref="KvGranularity.Channel"/>.</summary>
    public CudaBuffer<float>? Tails { get; private set; }

    /// <summary>Sets the mean that is subtracted from the keys of a sequence that has no tokens, in the order of the stream.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="mean">[KvHeads][HeadDim], finite; empty for the mean of the tokens of the next append.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The mean has another length than a token's keys.</exception>
    /// <exception cref="InvalidOperationException">The cache does not centre keys.</exception>
    public void SetKeyMean(int sequence, ReadOnlySpan<float> mean, CudaStream? stream = null)
    {
        CheckSequence(sequence, nameof(sequence));
        if (!mean.IsEmpty && mean.Length != Width)
            throw new ArgumentException($"The mean has {mean.Length} elements, a token's keys have {Width}.", nameof(mean));
        CudaBuffer<float> means = RequireMeans();
        if (!mean.IsEmpty)
            means.CopyFrom(mean, sequence * Width, stream);
        int isSet = mean.IsEmpty ? 0 : 1;
        MeanIsSet!.CopyFrom(new ReadOnlySpan<int>(in isSet), sequence, stream);
    }

    /// <summary>The mean that is subtracted from the keys of a sequence. Waits for the work before it on the stream.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="mean">Receives [KvHeads][HeadDim].</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The span is too short.</exception>
    /// <exception cref="InvalidOperationException">The cache does not centre keys.</exception>
    public void KeyMean(int sequence, Span<float> mean, CudaStream? stream = null)
    {
        CheckSequence(sequence, nameof(sequence));
        Guard.Holds(mean.Length, Width, nameof(mean));
        RequireMeans().CopyTo(mean[..(int)Width], sequence * Width, stream);
    }

    /// <summary>Copies what a sequence keeps beside its pages, its mean and its incomplete group, to one that forks from it, in the order of the
    /// stream. Does nothing in a cache that keeps nothing there.</summary>
    /// <param name="source">The sequence that has it. With <see cref="KvGranularity.Channel"/> the fork has a length that is a multiple of
    /// <see cref="KvCacheOptions.KeyGroup"/>, or lies within the last, incomplete group.</param>
    /// <param name="target">Another sequence.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <exception cref="ArgumentException">The sequences are the same.</exception>
    public void CopyKeyState(int source, int target, CudaStream? stream = null)
    {
        CheckSequence(source, nameof(source));
        CheckSequence(target, nameof(target));
        if (source == target)
            throw new ArgumentException("A sequence does not fork from itself.", nameof(target));
        CopySequence(Means, source, target, stream);
        CopySequence(MeanIsSet, source, target, stream);
        CopySequence(Tails, source, target, stream);
    }

    private void MakeKeyState()
    {
        if (Options.CenterKeys)
        {
            Means = new CudaBuffer<float>(Context, Options.Sequences * Width);
            Means.Fill(0);
            MeanIsSet = new CudaBuffer<int>(Context, Options.Sequences);
            MeanIsSet.Fill(0);
        }

        if (Options.KeyGranularity == KvGranularity.Channel)
        {
            Tails = new CudaBuffer<float>(Context, KvCache.SizesOf(Options).Tails / sizeof(float));
            Tails.Fill(0);
        }
    }

    private void CopySequence<T>(CudaBuffer<T>? state, int source, int target, CudaStream? stream)
        where T : unmanaged
    {
        if (state is null)
            return;
        long each = state.Length / Options.Sequences;
        state.CopyWithin(source * each, target * each, each, stream);
    }

    private CudaBuffer<float> RequireMeans() => Means ?? throw new InvalidOperationException("The cache does not centre keys.");

    private void CheckSequence(int sequence, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sequence, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(sequence, Options.Sequences, name);
    }

    // Which positions there are is on the device: those that the table lacks set a flag.
    private void CheckRope(CudaRopeTable? rope, CudaBuffer<int>? positions, int rows)
    {
        if (rope is null)
        {
            if (positions is not null)
                throw new ArgumentException("Positions are those of a rotary embedding, and there is none.", nameof(positions));
            return;
        }

        if (rope.Context != Context)
            throw new ArgumentException("The table belongs to another context.", nameof(rope));
        if (rope.Options.HeadDim != Options.HeadDim)
            throw new ArgumentException($"The embedding is of heads of {rope.Options.HeadDim}, the cache of heads of {Options.HeadDim}.", nameof(rope));
        if (positions is not null)
            Guard.Holds(positions.Length, rows, nameof(positions));
    }
}
