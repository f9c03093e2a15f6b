using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>A KV cache against the contract, bit for bit: what comes back of tokens that were appended in three calls, and that it refuses
/// what is not finite without a change.</summary>
internal sealed class KvAppendCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    private readonly KvAppendSpec _spec = (KvAppendSpec)id.Spec;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int heads = (int)_spec.KvHeads, dim = (int)_spec.HeadDim, tokens = (int)_spec.Context, width = heads * dim;
        byte[] keys = MakeSource(tokens * width, 0), values = MakeSource(tokens * width, 1);
        KernelContext context = contexts.Get(Level, Case.Threads);
        using var cache = new KvCache(_spec.Way.ToOptions(heads, dim, tokens + 1));
        int before = tokens - (int)_spec.Tokens;
        Append(context, cache, keys, values, 0, before);
        Append(context, cache, keys, values, before, (int)_spec.Tokens / 2);
        Append(context, cache, keys, values, before + ((int)_spec.Tokens / 2), (int)_spec.Tokens - ((int)_spec.Tokens / 2));
        string? failure = CheckRefusal(context, cache, width);

        var readKeys = new float[tokens * width];
        var readValues = new float[tokens * width];
        cache.Read<float>(context, 0, 0, tokens, readKeys, readValues);
        var meter = new KernelErrorMeter("exact");
        Compare(meter, readKeys, KvOracle.Keys(_spec.Way, heads, dim, ToFloats(keys)), "key", width);
        Compare(meter, readValues, KvOracle.Values(_spec.Way, heads, dim, ToFloats(values)), "value", width);
        return new CheckOutcome(
            meter.Result(2L * tokens * width), failure ?? meter.FirstMismatch, Hash(keys, values),
            Hash(MemoryMarshal.AsBytes(readKeys.AsSpan()).ToArray(), MemoryMarshal.AsBytes(readValues.AsSpan()).ToArray()));
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
        float huge = type == ElementType.F16 ? 65504 : 3e38f;
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
        ReadOnlySpan<byte> k = keys.AsSpan(first * width * bytes, count * width * bytes), v = values.AsSpan(first * width * bytes, count * width * bytes);
        switch (_spec.Way.Source)
        {
            case ElementType.F32:
                cache.Append(context, 0, count, MemoryMarshal.Cast<byte, float>(k), MemoryMarshal.Cast<byte, float>(v));
                break;
            case ElementType.F16:
                cache.Append(context, 0, count, MemoryMarshal.Cast<byte, Half>(k), MemoryMarshal.Cast<byte, Half>(v));
                break;
            default:
                cache.Append(context, 0, count, MemoryMarshal.Cast<byte, BFloat16>(k), MemoryMarshal.Cast<byte, BFloat16>(v));
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
