using System.Runtime.InteropServices;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>Tokens to a KV cache: on a device the bits of the CPU's reference.</summary>
internal sealed class KvAppendOp : CudaOp
{
    private const ulong Seed = 19;
    private const int CaseHeads = 8, CaseDim = 128, CaseContext = 16384;

    private const string RotaryEmbedding = "rope", Center = "center", Rotate = "rotate";

    // Every format, source and kind of scales that devices have, and whatever is done to keys.
    private static readonly (string Scheme, string Feature)[] s_checks =
    [
        ("s8", ""), ("s8-bf16", ""), ("s8-f16", ""), ("s8-static", ""), ("s4", ""), ("u4", ""), ("u4-static-bf16", ""), ("f8", ""), ("f8-static-f16", ""),
        ("bf16-bf16", ""), ("f32", ""), ("f32-f16", ""), ("u4-kivi16", ""), ("s8-kivi32-bf16", Center), ("s8", RotaryEmbedding), ("s4-f16", Center),
        ("f8", Rotate), ("u4-kivi16", "rope-center-rotate"), ("bf16-bf16", "rope-center-rotate"),
    ];

    private static readonly (int Heads, int Dim, int Context, int Tokens)[] s_checkShapes = [(2, 32, 70, 53), (1, 80, 19, 1)];
    private static readonly string[] s_caseSchemes = ["s8-bf16", "u4-bf16", "f8-bf16", "bf16-bf16"];
    private static readonly int[] s_caseTokens = [512, 8192];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from check in s_checks
        from shape in s_checkShapes
        let spec = new KvAppendSpec(KvScheme.Parse(check.Scheme), shape.Heads, shape.Dim, shape.Context, shape.Tokens)
        select new CudaCheck(spec.ToString(), 2L * shape.Context * shape.Heads * shape.Dim, context => spec.Way.Source switch
        {
            ElementType.F32 => Check(context, spec, check.Feature, value => value),
            ElementType.F16 => Check(context, spec, check.Feature, value => (Half)value),
            _ => Check(context, spec, check.Feature, value => (BFloat16)value),
        })
        { Feature = check.Feature };

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        from tokens in s_caseTokens
        let spec = new KvAppendSpec(KvScheme.Parse(scheme), CaseHeads, CaseDim, CaseContext, tokens)
        select new CudaCase(
            KvAppendSpec.OpName, scheme,
            new Dictionary<string, long> { ["h"] = CaseHeads, ["d"] = CaseDim, ["c"] = CaseContext, ["q"] = tokens }, 0, BytesOf(spec),
            (context, rotations) => new Calls(context, spec, rotations));

    // Keys and values in bf16, and what they become.
    private static long BytesOf(KvAppendSpec spec)
    {
        KvCacheSizes sizes = KvCache.SizesOf(spec.Way.ToOptions(CaseHeads, CaseDim, CaseContext));
        long kept = sizes.KeyCodes + sizes.ValueCodes + sizes.KeyScales + sizes.ValueScales;
        return (2 * spec.Tokens * CaseHeads * CaseDim * sizeof(short)) + (kept * spec.Tokens / CaseContext);
    }

    private static string? Check<T>(CudaContext context, KvAppendSpec spec, string feature, Func<float, T> convert)
        where T : unmanaged
    {
        int heads = (int)spec.KvHeads, dim = (int)spec.HeadDim, tokens = (int)spec.Context, before = tokens - (int)spec.Tokens, width = heads * dim;
        T[] keys = Values(tokens * width, 1, convert), values = Values(tokens * width, 2, convert);
        float[] expectedKeys = new float[tokens * width], expectedValues = new float[tokens * width];
        KvCacheOptions options = spec.Way.ToOptions(heads, dim, tokens) with
        {
            CenterKeys = feature.Contains(Center, StringComparison.Ordinal),
            RotateKeys = feature.Contains(Rotate, StringComparison.Ordinal),
        };
        RopeTable? table = feature.Contains(RotaryEmbedding, StringComparison.Ordinal)
            ? new RopeTable(new RopeOptions(RopeLayout.Half, dim), 0, tokens)
            : null;
        (int First, int End)[] parts = [(0, before), (before, tokens)];
        using (var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 }))
        using (var cache = new KvCache(options))
        {
            foreach ((int first, int end) in parts)
                cache.Append<T>(host, 0, end - first, keys.AsSpan(first * width), values.AsSpan(first * width), rope: table);
            cache.Read<float>(host, 0, 0, tokens, expectedKeys, expectedValues);
        }

        using var there = new DeviceCache(context, options, [tokens]);
        using CudaRopeTable? tableThere = table is null ? null : new CudaRopeTable(context, table);
        using CudaBuffer<int> flags = DeviceMemory.Zeros<int>(context, 1);
        foreach ((int first, int end) in parts)
        {
            using CudaBuffer<T> k = DeviceMemory.Copy<T>(context, keys.AsSpan(first * width, (end - first) * width));
            using CudaBuffer<T> v = DeviceMemory.Copy<T>(context, values.AsSpan(first * width, (end - first) * width));
            there.Cache.Append(there.Tokens(first, end), k, v, rope: tableThere, flags: flags);
            context.Synchronize();
        }

        using var readKeys = new CudaBuffer<float>(context, tokens * width);
        using var readValues = new CudaBuffer<float>(context, tokens * width);
        there.Cache.Read(there.Queries(tokens), readKeys, readValues, flags: flags);
        float[] madeKeys = new float[tokens * width], madeValues = new float[tokens * width];
        int[] flag = new int[1];
        readKeys.CopyTo(madeKeys);
        readValues.CopyTo(madeValues);
        flags.CopyTo(flag);
        if (flag[0] != 0)
            return $"the device sets the flags {flag[0]}";
        return Compare("key", madeKeys, expectedKeys, width) ?? Compare("value", madeValues, expectedValues, width);
    }

    private static string? Compare(string name, float[] made, float[] expected, int width)
    {
        int differs = MemoryMarshal.Cast<float, int>(made).CommonPrefixLength(MemoryMarshal.Cast<float, int>(expected));
        return differs == made.Length
            ? null
            : $"element {differs % width} of {name} {differs / width} is {made[differs]:R}, the CPU's {expected[differs]:R}";
    }

    // A channel with a mean, as keys have, zeros, and a token of zeros.
    private static T[] Values<T>(int count, ulong stream, Func<float, T> convert)
    {
        var random = new Xoshiro256(Seed, stream);
        T[] values = new T[count];
        for (int i = 0; i < count; i++)
        {
            float value = (float)random.NextNormal();
            values[i] = convert(i / 32 % 9 == 7 ? 0 : i % 16 == 5 ? value + 12 : i % 11 == 10 ? 0 : value);
        }

        return values;
    }

    // The last tokens of a full cache, over and over: lengths and tables stay as they are.
    private sealed class Calls : ICudaCalls
    {
        private readonly List<(DeviceCache Cache, CudaKvBatch Batch, CudaBuffer<BFloat16> Keys, CudaBuffer<BFloat16> Values)> _operands = [];

        public Calls(CudaContext context, KvAppendSpec spec, int rotations)
        {
            int heads = (int)spec.KvHeads, dim = (int)spec.HeadDim, end = (int)spec.Context;
            long elements = spec.Tokens * heads * dim;
            for (int i = 0; i < rotations; i++)
            {
                var cache = new DeviceCache(context, spec.Way.ToOptions(heads, dim, end), [end]);
                _operands.Add((
                    cache, cache.Tokens(end - (int)spec.Tokens, end),
                    DeviceMemory.Normal(context, elements, Seed, value => (BFloat16)value),
                    DeviceMemory.Normal(context, elements, Seed + 1, value => (BFloat16)value)));
            }
        }

        public void Call(int rotation, CudaStream stream) =>
            _operands[rotation].Cache.Cache.Append(
                _operands[rotation].Batch, _operands[rotation].Keys, _operands[rotation].Values, stream: stream);

        public void Dispose()
        {
            foreach ((DeviceCache cache, _, CudaBuffer<BFloat16> keys, CudaBuffer<BFloat16> values) in _operands)
            {
                cache.Dispose();
                keys.Dispose();
                values.Dispose();
            }
        }
    }
}
