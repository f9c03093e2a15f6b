using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>Attention: on a device the bits of the CPU's reference; of bf16 and FP8, where tensor cores add, within the bound of cuda_attention.h.</summary>
internal sealed class AttentionOp : CudaOp
{
    private const ulong Seed = 23;

    // Every kind of cache, split over chunks of tokens and not; what is masked, biased and capped with one of them.
    private static readonly (string Scheme, string Feature, AttentionSpecShape Shape)[] s_checks =
    [
        ("decode-kv8", "", new(4, 2, 32, 600, 1, 1)), ("decode-kv8", "bf16", new(6, 2, 32, 75, 2, 3)), ("decode-kv4", "", new(4, 1, 48, 75, 2, 2)),
        ("decode-kvu4", "f16", new(4, 2, 32, 75, 1, 2)), ("decode-kvbf16", "", new(4, 2, 32, 75, 2, 2)), ("decode-kvfp8", "", new(4, 2, 32, 75, 1, 2)),
        ("decode-kvf32", "", new(2, 1, 32, 75, 2, 1)), ("decode-kv8", "window", new(4, 2, 32, 75, 3, 1)), ("decode-kv8", "softcap", new(4, 2, 32, 75, 1, 1)),
        ("decode-kv8", "alibi", new(4, 2, 32, 75, 2, 1)), ("decode-kv8", "sinks", new(4, 2, 32, 75, 2, 1)), ("prefill-kv8", "full", new(2, 1, 32, 40, 20, 1)),
        ("prefill-kv8", "", new(4, 2, 32, 90, 37, 2)), ("prefill-kvu4", "", new(2, 1, 48, 70, 33, 1)), ("prefill-kvbf16", "bf16", new(2, 1, 32, 70, 33, 1)),
        ("decode-kv8", "center-rotate", new(4, 2, 32, 75, 2, 2)), ("decode-kvu4", "kivi16-center", new(4, 2, 32, 75, 1, 2)),
        ("prefill-kv8", "kivi32-rotate", new(2, 1, 32, 70, 33, 1)),
    ];

    private static readonly string[] s_decode = ["decode-kv8", "decode-kv4", "decode-kvbf16", "decode-kvfp8"];
    private static readonly string[] s_prefill = ["prefill-kv8", "prefill-kvbf16"];

    private static readonly AttentionSpecShape[] s_decodeShapes = [new(32, 8, 128, 16384, 1, 1), new(32, 8, 128, 4096, 1, 32)];
    private static readonly AttentionSpecShape[] s_prefillShapes = [new(32, 8, 128, 4096, 512, 1)];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from check in s_checks
        let spec = check.Shape.Of(check.Scheme)
        select new CudaCheck(spec.ToString(), spec.Batch * spec.Queries * spec.Heads * spec.HeadDim, context => check.Feature switch
        {
            "f16" => Check(context, spec, check.Feature, value => (Half)value),
            "bf16" => Check(context, spec, check.Feature, value => (BFloat16)value),
            _ => Check(context, spec, check.Feature, value => value),
        })
        { Feature = check.Feature };

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from spec in (from scheme in s_decode from shape in s_decodeShapes select shape.Of(scheme))
            .Concat(from scheme in s_prefill from shape in s_prefillShapes select shape.Of(scheme))
        select new CudaCase(
            AttentionSpec.OpName, spec.Scheme, SizesOf(spec), spec.Operations, BytesOf(spec), (context, rotations) => new Calls(context, spec, rotations))
        { IsInteger = spec.Way.Cache.Type is ElementType.S8 or ElementType.S4 or ElementType.U4 };

    private static Dictionary<string, long> SizesOf(AttentionSpec spec)
    {
        var sizes = new Dictionary<string, long> { ["h"] = spec.Heads, ["g"] = spec.KvHeads, ["d"] = spec.HeadDim };
        if (spec.Batch > 1)
            sizes["b"] = spec.Batch;
        sizes["c"] = spec.Context;
        sizes["q"] = spec.Queries;
        return sizes;
    }

    // The tokens of the cache; queries and results in bf16.
    private static long BytesOf(AttentionSpec spec)
    {
        KvCacheOptions options = spec.Way.Cache.ToOptions((int)spec.KvHeads, (int)spec.HeadDim, LengthsOf(spec));
        KvCacheSizes sizes = KvCache.SizesOf(options);
        long kept = sizes.KeyCodes + sizes.ValueCodes + sizes.KeyScales + sizes.ValueScales;
        return (kept * spec.Tokens / (options.Pages * options.PageTokens)) + (2 * spec.Batch * spec.Queries * spec.Heads * spec.HeadDim * sizeof(short));
    }

    private static long[] LengthsOf(AttentionSpec spec) => [.. Enumerable.Range(0, spec.Batch).Select(spec.LengthOf)];

    private static AttentionWay WayOf(AttentionSpec spec, string feature) => new(
        (int)spec.Heads, feature == "full", feature == "window" ? 20 : 0, feature == "window" ? 2 : 0, feature == "softcap" ? 4 : 0,
        feature == "sinks" ? [.. Enumerable.Range(0, (int)spec.Heads).Select(h => h % 3 == 2 ? float.NegativeInfinity : (h / 2f) - 1)] : null,
        feature == "alibi" ? [.. Enumerable.Range(0, (int)spec.Heads).Select(h => 1f / (h + 2))] : null);

    // Keys are centred or rotated, or have scales for groups of tokens.
    private static KvCacheOptions OptionsOf(AttentionSpec spec, string feature)
    {
        KvCacheOptions options = spec.Way.Cache.ToOptions((int)spec.KvHeads, (int)spec.HeadDim, LengthsOf(spec));
        int group = feature.StartsWith("kivi16", StringComparison.Ordinal) ? 16 : feature.StartsWith("kivi32", StringComparison.Ordinal) ? 32 : 0;
        return options with
        {
            KeyGranularity = group == 0 ? options.KeyGranularity : KvGranularity.Channel,
            KeyGroup = group,
            CenterKeys = feature.Contains("center", StringComparison.Ordinal),
            RotateKeys = feature.Contains("rotate", StringComparison.Ordinal),
        };
    }

    private static string? Check<T>(CudaContext context, AttentionSpec spec, string feature, Func<float, T> convert)
        where T : unmanaged
    {
        int width = (int)(spec.KvHeads * spec.HeadDim), rows = spec.Batch * (int)spec.Queries, outputs = rows * (int)(spec.Heads * spec.HeadDim);
        long[] lengths = LengthsOf(spec);
        float[] keys = Values((int)spec.Tokens * width, 1), values = Values((int)spec.Tokens * width, 2);
        T[] query = Array.ConvertAll(Values(outputs, 3), value => convert(value));
        AttentionWay way = WayOf(spec, feature);
        T[] expected = new T[outputs], made = new T[outputs];
        float[] expectedLse = new float[rows * spec.Heads], madeLse = new float[rows * spec.Heads];
        int[] sequences = [.. Enumerable.Range(0, spec.Batch)];
        bool hasCpuBits = spec.Way.Cache.Type is not (ElementType.BF16 or ElementType.F8E4M3);
        var oracles = new AttentionOracle[spec.Batch];
        using (var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 }))
        using (var cache = new KvCache(OptionsOf(spec, feature)))
        {
            cache.Append<float>(host, sequences, lengths, keys, values);
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
            Attention.Run<T, T>(host, cache, options, sequences, [.. sequences.Select(_ => spec.Queries)], query, expected, expectedLse);
            for (int sequence = 0, first = 0; sequence < spec.Batch && !hasCpuBits; first += (int)lengths[sequence++] * width)
            {
                var own = new Range(first, first + ((int)lengths[sequence] * width));
                float[] kept = new float[own.End.Value - first], keptValues = new float[kept.Length];
                cache.Read<float>(host, sequence, 0, lengths[sequence], kept, keptValues);
                oracles[sequence] = new AttentionOracle(
                    spec.Way.Cache, way, (int)spec.KvHeads, (int)spec.HeadDim, keys[own], values[own], kept, keptValues, onTensorCores: true);
            }
        }

        using var there = new DeviceCache(context, OptionsOf(spec, feature), lengths);
        using CudaBuffer<float> k = DeviceMemory.Copy<float>(context, keys), v = DeviceMemory.Copy<float>(context, values);
        using CudaBuffer<float> sinks = DeviceMemory.Copy<float>(context, way.SinkLogits), slopes = DeviceMemory.Copy<float>(context, way.AlibiSlopes);
        using CudaBuffer<T> x = DeviceMemory.Copy<T>(context, query), y = DeviceMemory.Zeros<T>(context, outputs);
        using CudaBuffer<float> lse = DeviceMemory.Zeros<float>(context, madeLse.Length);
        using CudaBuffer<int> flags = DeviceMemory.Zeros<int>(context, 1);
        there.Cache.Append(there.Tokens(0, there.Longest), k, v, flags: flags);
        context.Synchronize();
        CudaKvBatch batch = there.Queries((int)spec.Queries);
        var what = new CudaAttentionOptions
        {
            Heads = way.Heads,
            Full = way.Full,
            Window = way.Window,
            SinkTokens = way.SinkTokens,
            SoftCap = way.SoftCap,
            SinkLogits = way.SinkLogits is null ? null : sinks,
            AlibiSlopes = way.AlibiSlopes is null ? null : slopes,
        };
        using var workspace = new CudaBuffer<byte>(context, Attention.WorkspaceBytes(there.Cache, what, batch));
        Attention.Run(context, there.Cache, what, batch, x, y, lse, workspace: workspace, flags: flags);
        int[] flag = new int[1];
        y.CopyTo(made);
        lse.CopyTo(madeLse);
        flags.CopyTo(flag);
        if (flag[0] != 0)
            return $"the device sets the flags {flag[0]}";
        if (!hasCpuBits)
            return CompareWithOracles(spec, oracles, query, made, madeLse);
        int differs = MemoryMarshal.AsBytes(made.AsSpan()).CommonPrefixLength(MemoryMarshal.AsBytes(expected.AsSpan())) / Unsafe.SizeOf<T>();
        if (differs != outputs)
            return $"output {differs} is {made[differs]}, the CPU's {expected[differs]}";
        return CompareLse(madeLse, expectedLse, lengths.Max() + (way.SinkLogits is null ? 0 : 1));
    }

    private static string? CompareWithOracles<T>(AttentionSpec spec, AttentionOracle[] oracles, T[] query, T[] made, float[] madeLse)
        where T : unmanaged
    {
        var meter = new KernelErrorMeter("bound", typeof(T) == typeof(float));
        int dim = (int)spec.HeadDim, heads = (int)spec.Heads, queries = (int)spec.Queries;
        double rounding = typeof(T) == typeof(float) ? GemmOracle.UnitRoundoff : typeof(T) == typeof(Half) ? 1 / 2048.0 : 1 / 256.0;
        float[] x = Array.ConvertAll(query, ToSingle), y = Array.ConvertAll(made, ToSingle);
        for (int row = 0; row < spec.Batch * queries * heads; row++)
        {
            int sequence = row / (queries * heads), token = row / heads % queries, at = row;
            AttentionRow exact = oracles[sequence].Row(x.AsSpan(row * dim, dim), row % heads, (int)spec.LengthOf(sequence) - queries + token);
            for (int c = 0; c < dim; c++)
            {
                int channel = c;
                double bound = exact.Bounds[c] + (rounding * (Math.Abs(exact.Values[c]) + exact.Bounds[c])) + 1e-7;
                meter.AddBounded(y[(row * dim) + c], exact.Values[c], bound, () => $"the output of row {at} at {channel}");
            }

            meter.AddBounded(madeLse[row], exact.LogSumExp, exact.LogSumExpBound, () => $"the log-sum-exp of row {at}");
        }

        return meter.FirstMismatch;
    }

    private static float ToSingle<T>(T value)
        where T : unmanaged => value switch
        {
            float x => x,
            Half x => (float)x,
            BFloat16 x => (float)x,
            _ => throw new ArgumentOutOfRangeException(nameof(value)),
        };

    // The logarithm is an approximation of the device, within the bound of cuda_attention.h.
    private static string? CompareLse(float[] made, float[] expected, long terms)
    {
        for (int i = 0; i < made.Length; i++)
        {
            double bound = Math.ScaleB(1, -22) + (Math.ScaleB(1, -23) * (Math.Log(terms) + Math.Abs((double)expected[i])));
            if (made[i] != expected[i] && !(Math.Abs((double)made[i] - expected[i]) <= bound))
                return $"the log-sum-exp of row {i} is {made[i]:R}, the CPU's {expected[i]:R}, which is farther than {bound:E3}";
        }

        return null;
    }

    private static float[] Values(int count, ulong stream)
    {
        var random = new Xoshiro256(Seed, stream);
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = ((float)random.NextNormal() * (i % 61 == 17 ? 4 : 1)) + (i % 8 == 5 ? 2 : 0);
        return values;
    }

    /// <summary>Sizes of attention.</summary>
    private readonly record struct AttentionSpecShape(int Heads, int KvHeads, int HeadDim, long Context, int Queries, int Batch)
    {
        public AttentionSpec Of(string scheme) => new(AttentionScheme.Parse(scheme), Heads, KvHeads, HeadDim, Context, Queries, Batch);
    }

    private sealed class Calls : ICudaCalls
    {
        // Tokens that are appended at once when a cache is filled.
        private const int Period = 256;

        private readonly CudaContext _context;
        private readonly CudaAttentionOptions _options;
        private readonly List<Operands> _operands = [];

        public Calls(CudaContext context, AttentionSpec spec, int rotations)
        {
            _context = context;
            _options = new CudaAttentionOptions { Heads = (int)spec.Heads };
            long width = spec.KvHeads * spec.HeadDim, outputs = spec.Batch * spec.Queries * spec.Heads * spec.HeadDim;
            using CudaBuffer<BFloat16> keys = DeviceMemory.Normal(context, spec.Batch * Period * width, Seed, value => (BFloat16)value);
            using CudaBuffer<BFloat16> values = DeviceMemory.Normal(context, spec.Batch * Period * width, Seed + 1, value => (BFloat16)value);
            for (int i = 0; i < rotations; i++)
            {
                var cache = new DeviceCache(context, OptionsOf(spec, ""), LengthsOf(spec));
                for (int token = 0; token < cache.Longest; token += Period)
                {
                    cache.Cache.Append(cache.Tokens(token, Math.Min(token + Period, cache.Longest)), keys, values);
                    context.Synchronize();
                }

                CudaKvBatch batch = cache.Queries((int)spec.Queries);
                _operands.Add(new Operands(
                    cache, batch, DeviceMemory.Normal(context, outputs, Seed + 2, value => (BFloat16)value), new CudaBuffer<BFloat16>(context, outputs),
                    new CudaBuffer<byte>(context, Attention.WorkspaceBytes(cache.Cache, _options, batch))));
            }
        }

        public void Call(int rotation, CudaStream stream)
        {
            Operands at = _operands[rotation];
            Attention.Run(_context, at.Cache.Cache, _options, at.Batch, at.Query, at.Output, workspace: at.Workspace, stream: stream);
        }

        public void Dispose()
        {
            foreach (Operands operands in _operands)
                operands.Dispose();
        }
    }

    private sealed record Operands(
        DeviceCache Cache, CudaKvBatch Batch, CudaBuffer<BFloat16> Query, CudaBuffer<BFloat16> Output, CudaBuffer<byte> Workspace) : IDisposable
    {
        public void Dispose()
        {
            Cache.Dispose();
            Query.Dispose();
            Output.Dispose();
            Workspace.Dispose();
        }
    }
}
