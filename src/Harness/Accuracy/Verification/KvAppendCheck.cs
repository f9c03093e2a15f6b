using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>A KV cache against the contract, bit for bit: what comes back of tokens that were appended in three calls, and that it refuses
/// what is not finite without a change. Keys that are rotated by a Hadamard matrix are held against float64 where they are quantized, with a
/// bound: the order of its additions belongs to the variant.</summary>
internal sealed class KvAppendCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>What is done to keys on their way in: a rotary embedding, their mean subtracted, a Hadamard rotation.</summary>
    public const string RotaryEmbedding = "rope", Center = "center", Rotate = "rotate";

    private const float UsualHuge = 3e38f, HugeToAdd = 1e4f, HugeF16 = 65504;

    private readonly KvAppendSpec _spec = (KvAppendSpec)id.Spec;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int heads = (int)_spec.KvHeads, dim = (int)_spec.HeadDim, tokens = (int)_spec.Context, width = heads * dim;
        byte[] keys = MakeSource(tokens * width, 0), values = MakeSource(tokens * width, 1);
        KernelContext context = contexts.Get(Level, Case.Threads);
        using var cache = new KvCache(
            _spec.Way.ToOptions(heads, dim, tokens + 1) with { CenterKeys = Has(Center), RotateKeys = Has(Rotate) });
        int before = tokens - (int)_spec.Tokens;
        Append(context, cache, keys, values, 0, before);
        Append(context, cache, keys, values, before, (int)_spec.Tokens / 2);
        Append(context, cache, keys, values, before + ((int)_spec.Tokens / 2), (int)_spec.Tokens - ((int)_spec.Tokens / 2));
        string? failure = CheckRefusal(context, cache, width);

        var readKeys = new float[tokens * width];
        var readValues = new float[tokens * width];
        cache.Read<float>(context, 0, 0, tokens, readKeys, readValues);
        var meter = new KernelErrorMeter(Has(Rotate) ? "bound" : "exact");
        float[] changed = ToFloats(keys);
        if (Has(RotaryEmbedding))
            Embed(changed, width);
        var mean = new float[width];
        if (Has(Center))
        {
            cache.KeyMean(0, mean);
            failure ??= KvOracle.CheckMean(mean, changed.AsSpan(0, width * FirstAppend()));
        }

        if (Has(Rotate))
            KvOracle.CompareRotated(_spec.Way.Type, dim, changed, mean, readKeys, meter);
        else
            Compare(meter, readKeys, Has(Center) ? CenteredKeys(changed, mean) : KvOracle.Keys(_spec.Way, heads, dim, changed), "key", width);
        Compare(meter, readValues, KvOracle.Values(_spec.Way, heads, dim, ToFloats(values)), "value", width);
        return new CheckOutcome(
            meter.Result(2L * tokens * width), failure ?? meter.FirstMismatch, Hash(keys, values),
            Hash(MemoryMarshal.AsBytes(readKeys.AsSpan()).ToArray(), MemoryMarshal.AsBytes(readValues.AsSpan()).ToArray()));
    }

    // The mean is that of the first tokens that come.
    private int FirstAppend()
    {
        int before = (int)(_spec.Context - _spec.Tokens), half = (int)_spec.Tokens / 2;
        return before > 0 ? before : half > 0 ? half : (int)_spec.Tokens;
    }

    private RopeTable TableOf() => new(new RopeOptions(RopeLayout.Half, _spec.HeadDim), 0, _spec.Context + 1);

    private void Embed(float[] keys, int width)
    {
        RopeTable table = TableOf();
        int dim = (int)_spec.HeadDim;
        for (int at = 0; at < keys.Length; at += dim)
            RopeOracle.Rotate(table.Options, table.CosSin.Slice(at / width * dim, dim), keys.AsSpan(at, dim));
    }

    private float[] CenteredKeys(float[] keys, float[] mean)
    {
        var centered = new float[keys.Length];
        for (int i = 0; i < keys.Length; i++)
            centered[i] = keys[i] - mean[i % mean.Length];
        float[] kept = KvOracle.Keys(_spec.Way, (int)_spec.KvHeads, (int)_spec.HeadDim, centered);
        for (int i = 0; i < keys.Length; i++)
            kept[i] += mean[i % mean.Length];
        return kept;
    }

    private static void Compare(KernelErrorMeter meter, float[] read, float[] prescribed, string name, int width)
    {
        for (int i = 0; i < read.Length; i++)
        {
            int at = i;
            meter.AddExact(read[i], prescribed[i], prescribed[i], 0, () => $"the {name} at [{at / width},{at % width}]");
        }
    }

    // Ordinary values, a channel of outliers as keys have them, zeros, a token of zeros and one of huge values.
    private byte[] MakeSource(int elements, ulong stream)
    {
        Xoshiro256 random = RandomOf(stream);
        var values = new float[elements];
        int dim = (int)_spec.HeadDim;
        ElementType type = _spec.Way.Source;
        // Sums of the largest numbers are infinite.
        float huge = Has(Rotate) || Has(Center) || Has(RotaryEmbedding) ? HugeToAdd : type == ElementType.F16 ? HugeF16 : UsualHuge;
        for (int i = 0; i < elements; i++)
        {
            float value = (float)random.NextNormal();
            values[i] = (i / dim % 19) switch
            {
                7 => 0,
                13 => huge * Math.Clamp(value / 4, -1, 1),
                _ => i % dim == 5 ? (value * 2) + 15 : i % 11 == 10 ? 0 : value,
            };
        }

        var bytes = new byte[elements * (type.Bits() / 8)];
        FloatConvert.FromSingle(type, values, bytes);
        return bytes;
    }

    private float[] ToFloats(byte[] source)
    {
        var floats = new float[source.Length / (_spec.Way.Source.Bits() / 8)];
        FloatConvert.ToSingle(_spec.Way.Source, source, floats);
        return floats;
    }

    private void Append(KernelContext context, KvCache cache, byte[] keys, byte[] values, int first, int count)
    {
        int width = (int)(_spec.KvHeads * _spec.HeadDim), bytes = _spec.Way.Source.Bits() / 8;
        RopeTable? rope = Has(RotaryEmbedding) ? TableOf() : null;
        ReadOnlySpan<byte> k = keys.AsSpan(first * width * bytes, count * width * bytes), v = values.AsSpan(first * width * bytes, count * width * bytes);
        switch (_spec.Way.Source)
        {
            case ElementType.F32:
                cache.Append(context, 0, count, MemoryMarshal.Cast<byte, float>(k), MemoryMarshal.Cast<byte, float>(v), rope: rope);
                break;
            case ElementType.F16:
                cache.Append(context, 0, count, MemoryMarshal.Cast<byte, Half>(k), MemoryMarshal.Cast<byte, Half>(v), rope: rope);
                break;
            default:
                cache.Append(context, 0, count, MemoryMarshal.Cast<byte, BFloat16>(k), MemoryMarshal.Cast<byte, BFloat16>(v), rope: rope);
                break;
        }
    }

    private static string? CheckRefusal(KernelContext context, KvCache cache, int width)
    {
        var token = new float[width];
        var bad = new float[width];
        bad[width - 1] = float.NaN;
        long length = cache.Length(0);
        try
        {
            cache.Append<float>(context, 0, 1, token, bad);
        }
        catch (KernelException exception) when (exception.Status == KernelStatus.NonFinite)
        {
            return cache.Length(0) == length ? null : "NaN in a value was refused, but the sequence has grown";
        }

        return "NaN in a value was not refused";
    }
}
