namespace Kernels.Harness.Devices;

/// <summary>A KV cache on a device, and the tokens of all its sequences in turns with a length each.</summary>
internal sealed class DeviceCache : IDisposable
{
    private readonly CudaContext _context;
    private readonly int[] _lengths;
    private readonly CudaBuffer<int> _sequences;
    private readonly CudaBuffer<int> _starts;

    /// <summary>Makes a cache whose sequences, one for each of the lengths, have pages for them, none behind the one before.</summary>
    public DeviceCache(CudaContext context, KvCacheOptions options, IReadOnlyList<long> lengths)
    {
        _context = context;
        _lengths = [.. lengths.Select(length => (int)length)];
        Cache = new CudaKvCache(context, options);
        _sequences = DeviceMemory.Copy<int>(context, [.. Enumerable.Range(0, _lengths.Length)]);
        _starts = new CudaBuffer<int>(context, _lengths.Length + 1);
        Cache.Tables.CopyFrom(Tables());
        context.Synchronize();
    }

    /// <summary>The cache.</summary>
    public CudaKvCache Cache { get; }

    /// <summary>Tokens of the longest sequence.</summary>
    public int Longest => _lengths.Max();

    /// <summary>Sets the lengths to what they are after <paramref name="tokens"/> tokens, or fewer where a sequence ends, and describes the tokens
    /// from <paramref name="first"/> on as a batch.</summary>
    public CudaKvBatch Tokens(int first, int tokens)
    {
        int[] counts = Array.ConvertAll(_lengths, length => Math.Clamp(length, first, tokens) - first);
        Cache.Lengths.CopyFrom(Array.ConvertAll(_lengths, length => Math.Min(length, tokens)));
        return Batch(counts);
    }

    /// <summary>The last tokens of every sequence, as many of each.</summary>
    public CudaKvBatch Queries(int count) => Batch(Array.ConvertAll(_lengths, _ => count));

    /// <inheritdoc/>
    public void Dispose()
    {
        Cache.Dispose();
        _sequences.Dispose();
        _starts.Dispose();
    }

    // Copies are in the order of the default stream; the host's array is free when a call returns.
    private CudaKvBatch Batch(int[] counts)
    {
        int[] starts = new int[counts.Length + 1];
        for (int i = 0; i < counts.Length; i++)
            starts[i + 1] = starts[i] + counts[i];
        _starts.CopyFrom(starts);
        _context.Synchronize();
        return new CudaKvBatch(_sequences, _starts, counts.Length, starts[^1], counts.Max()) { MaxLength = Longest };
    }

    // The pages from the last on, a page for every sequence in turns.
    private int[] Tables()
    {
        long perSequence = Cache.PagesPerSequence, pageTokens = Cache.Options.PageTokens;
        int[] tables = new int[_lengths.Length * perSequence];
        Array.Fill(tables, -1);
        int next = (int)Cache.Options.Pages;
        for (long page = 0; page < perSequence; page++)
        {
            for (int sequence = 0; sequence < _lengths.Length; sequence++)
            {
                if (page * pageTokens < _lengths[sequence])
                    tables[(sequence * perSequence) + page] = --next;
            }
        }

        return tables;
    }
}
