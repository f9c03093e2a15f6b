using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Attention against the oracle, every output within its bound; that a query token gives the same bits alone; and that it refuses
/// queries that are not finite, with nothing written.</summary>
internal sealed class AttentionCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>Features: a window with two tokens beyond it, all tokens visible, a soft cap, ALiBi, sink logits; the type of query and result
    /// unless it is f32.</summary>
    public const string Window = "window", Full = "full", SoftCap = "softcap", Alibi = "alibi", Sinks = "sinks", F16 = "f16", Bf16 = "bf16";

    private readonly AttentionSpec _spec = (AttentionSpec)id.Spec;

    private ElementType Type => Has(F16) ? ElementType.F16 : Has(Bf16) ? ElementType.BF16 : ElementType.F32;

    private int[] Sequences => [.. Enumerable.Range(0, _spec.Batch)];

    private AttentionWay Way => new(
        (int)_spec.Heads, Has(Full), Has(Window) ? 20 : 0, Has(Window) ? 2 : 0, Has(SoftCap) ? 4 : 0,
        Has(Sinks) ? [.. Enumerable.Range(0, (int)_spec.Heads).Select(h => h % 3 == 2 ? float.NegativeInfinity : (h / 2f) - 1)] : null,
        Has(Alibi) ? [.. Enumerable.Range(0, (int)_spec.Heads).Select(h => 1f / (h + 2))] : null);

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int width = (int)(_spec.KvHeads * _spec.HeadDim), tokens = (int)_spec.Tokens;
        int rows = (int)(_spec.Queries * _spec.Heads), outputs = rows * (int)_spec.HeadDim;
        KernelContext context = contexts.Get(Level, Case.Threads);
        float[] keys = Make(tokens * width, 0, 3), values = Make(tokens * width, 1, 0);
        var query = new byte[_spec.Batch * outputs * Type.Bits() / 8];
        FloatConvert.FromSingle(Type, Make(_spec.Batch * outputs, 2, 0), query);
        var rounded = new float[_spec.Batch * outputs];
        FloatConvert.ToSingle(Type, query, rounded);
        long[] lengths = [.. Sequences.Select(_spec.LengthOf)];
        using var cache = new KvCache(_spec.Way.Cache.ToOptions((int)_spec.KvHeads, (int)_spec.HeadDim, lengths));
        cache.Append<float>(context, Sequences, lengths, keys, values);

        var output = new byte[query.Length];
        var logSumExp = new float[_spec.Batch * rows];
        Attend(context, cache, query, output, logSumExp);
        var actual = new float[rounded.Length];
        FloatConvert.ToSingle(Type, output, actual);
        var meter = new KernelErrorMeter("bound", Type == ElementType.F32);
        int firstToken = 0;
        foreach (int sequence in Sequences)
        {
            var own = new Range(firstToken * width, (firstToken + (int)lengths[sequence]) * width);
            var theirs = new Range(sequence * outputs, (sequence + 1) * outputs);
            Compare(context, cache, sequence, keys[own], values[own], rounded.AsSpan(theirs), actual.AsSpan(theirs), meter);
            firstToken += (int)lengths[sequence];
        }

        string? failure = CheckRefusal(context, cache, query) ?? meter.FirstMismatch;
        // AVX512-BF16 rounds sums of its own.
        bool isShared = Case.Variant is not ("avx512bf16" or "neon_bf16");
        return new CheckOutcome(
            meter.Result(actual.LongLength), failure, Hash(MemoryMarshal.AsBytes(keys.AsSpan()).ToArray(), MemoryMarshal.AsBytes(values.AsSpan()).ToArray(), query),
            isShared ? Hash(output, MemoryMarshal.AsBytes(logSumExp.AsSpan()).ToArray()) : null);
    }

    private void Compare(
        KernelContext context, KvCache cache, int sequence, float[] keys, float[] values, ReadOnlySpan<float> query, ReadOnlySpan<float> actual,
        KernelErrorMeter meter)
    {
        int kvHeads = (int)_spec.KvHeads, dim = (int)_spec.HeadDim, heads = (int)_spec.Heads, queries = (int)_spec.Queries;
        int tokens = (int)_spec.LengthOf(sequence);
        var kept = new float[keys.Length];
        var keptValues = new float[keys.Length];
        cache.Read<float>(context, sequence, 0, tokens, kept, keptValues);
        var oracle = new AttentionOracle(_spec.Way.Cache, Way, kvHeads, dim, keys, values, kept, keptValues);
        double rounding = Type switch { ElementType.F32 => GemmOracle.UnitRoundoff, ElementType.F16 => 1 / 2048.0, _ => 1 / 256.0 };
        for (int row = 0; row < queries * heads; row++)
        {
            AttentionRow expected = oracle.Row(query.Slice(row * dim, dim), row % heads, tokens - queries + (row / heads));
            for (int c = 0; c < dim; c++)
            {
                int at = row, channel = c;
                double bound = expected.Bounds[c] + (rounding * (Math.Abs(expected.Values[c]) + expected.Bounds[c])) + 1e-7;
                meter.AddBounded(
                    actual[(row * dim) + c], expected.Values[c], bound,
                    () => $"the output of sequence {sequence} at [{at / heads},{at % heads},{channel}]");
            }
        }
    }

    // Ordinary values with a channel that has a mean, and now and then a large one.
    private float[] Make(int elements, ulong stream, float mean)
    {
        Xoshiro256 random = RandomOf(stream);
        var values = new float[elements];
        for (int i = 0; i < elements; i++)
            values[i] = ((float)random.NextNormal() * (i % 61 == 17 ? 4 : 1)) + (i % 8 == 5 ? mean : 0);
        return values;
    }

    private void Attend(KernelContext context, KvCache cache, byte[] query, byte[] output, float[] logSumExp)
    {
        switch (Type)
        {
            case ElementType.F32:
                Attend<float>(context, cache, query, output, logSumExp);
                break;
            case ElementType.F16:
                Attend<Half>(context, cache, query, output, logSumExp);
                break;
            default:
                Attend<BFloat16>(context, cache, query, output, logSumExp);
                break;
        }
    }

    private void Attend<T>(KernelContext context, KvCache cache, byte[] query, byte[] output, float[] logSumExp)
        where T : unmanaged
    {
        AttentionWay way = Way;
        var options = new AttentionOptions
        {
            Heads = way.Heads,
            Full = way.Full,
            Window = way.Window,
            SinkTokens = way.SinkTokens,
            SoftCap = way.SoftCap,
            SinkLogits = way.SinkLogits,
            AlibiSlopes = way.AlibiSlopes,
        };
        Attention.Run<T, T>(
            context, cache, options, Sequences, [.. Sequences.Select(_ => _spec.Queries)], MemoryMarshal.Cast<byte, T>(query), MemoryMarshal.Cast<byte, T>(output.AsSpan()), logSumExp);
    }

    private string? CheckRefusal(KernelContext context, KvCache cache, byte[] query)
    {
        var bad = (byte[])query.Clone();
        // All ones are NaN in every float type.
        bad.AsSpan(bad.Length - (Type.Bits() / 8)).Fill(0xFF);
        var output = new byte[query.Length];
        try
        {
            Attend(context, cache, bad, output, new float[_spec.Batch * _spec.Queries * _spec.Heads]);
        }
        catch (KernelException exception) when (exception.Status == KernelStatus.NonFinite)
        {
            return output.AsSpan().ContainsAnyExcept((byte)0) ? "NaN in the query was refused, but results were written" : null;
        }

        return "NaN in the query was not refused";
    }
}
