using System.Diagnostics.CodeAnalysis;

namespace Kernels.Harness.Cases;

/// <summary>The immutable name of a case: <c>op/scheme/shape/tTHREADS/isa</c>, where isa is the variant that ran. The same in
/// benchmarks, results, baselines and filters. Every id has one spelling: what parses prints as it was.</summary>
/// <param name="Spec">Op, scheme and shape.</param>
/// <param name="Threads">Threads, at least 1.</param>
/// <param name="Variant">The variant's name, such as "avx512vnni".</param>
internal sealed record CaseId(CaseSpec Spec, int Threads, string Variant)
{
    private const int MaxThreads = 1024;

    /// <summary>The ops.</summary>
    public static IReadOnlyList<string> OpNames { get; } =
        [GemmSpec.OpName, QuantizeSpec.OpName, DequantizeSpec.OpName, HadamardSpec.OpName, FusedSpec.OpName, RopeSpec.OpName, KvAppendSpec.OpName,
            AttentionSpec.OpName];

    /// <summary>Reads an id; what is wrong with it is told by <paramref name="error"/>.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out CaseId? id, out string error)
    {
        id = null;
        string[] parts = text.Split('/');
        if (parts.Length != 5)
        {
            error = $"'{text}' is not a case id: it needs five parts, op/scheme/shape/tTHREADS/isa";
            return false;
        }

        if (ParseSpec(parts[0], parts[1], parts[2], out error) is not { } spec)
            return false;
        if (!parts[3].StartsWith('t') || !WeightScheme.TryParseNumber(parts[3].AsSpan(1), out long threads) || threads is < 1 or > MaxThreads)
        {
            error = $"'{parts[3]}' is not a number of threads such as t1";
            return false;
        }

        if (parts[4].Length == 0 || !parts[4].All(char.IsAsciiLetterOrDigit) || parts[4].Any(char.IsAsciiLetterUpper))
        {
            error = $"'{parts[4]}' is not the name of a variant";
            return false;
        }

        id = new CaseId(spec, (int)threads, parts[4]);
        error = "";
        return true;
    }

    /// <summary>Reads an id that is known to be right.</summary>
    public static CaseId Parse(string text) =>
        TryParse(text, out CaseId? id, out string error) ? id : throw new FormatException(error);

    /// <inheritdoc/>
    public override string ToString() => $"{Spec}/t{Threads}/{Variant}";

    private static CaseSpec? ParseSpec(string op, string scheme, string shape, out string error)
    {
        error = "";
        switch (op)
        {
            case GemmSpec.OpName:
                if (!GemmScheme.TryParse(scheme, out GemmScheme cell))
                    error = $"'{scheme}' is not a GEMM scheme such as w4g128-a8";
                else if (!TryParseShape(shape, ["m", "n", "k"], out long[] mnk))
                    error = $"'{shape}' is not a GEMM shape such as m1-n4096-k4096";
                else
                    return new GemmSpec(cell, mnk[0], mnk[1], mnk[2]);
                return null;

            case QuantizeSpec.OpName:
                if (!QuantizeScheme.TryParse(scheme, out QuantizeScheme way))
                    error = $"'{scheme}' is not a scheme of quantization such as s8-per-token";
                else if (!TryParseShape(shape, ["rows", "n"], out long[] size))
                    error = $"'{shape}' is not a shape such as rows512-n4096";
                else
                    return new QuantizeSpec(way, size[0], size[1]);
                return null;

            case DequantizeSpec.OpName:
                int dash = scheme.IndexOf('-', StringComparison.Ordinal);
                if (dash < 0 || !WeightScheme.TryParse(scheme.AsSpan(0, dash), out WeightScheme weights)
                    || weights.IsFlattened || weights.OutlierType is not null
                    || !ElementNames.TryParseFloat(scheme.AsSpan(dash + 1), out ElementType target))
                    error = $"'{scheme}' is not a scheme of dequantization such as w4g128-f32";
                else if (!TryParseShape(shape, ["rows", "n"], out long[] extent))
                    error = $"'{shape}' is not a shape such as rows4096-n4096";
                else
                    return new DequantizeSpec(weights, target, extent[0], extent[1]);
                return null;

            case FusedSpec.OpName:
                if (!FusedScheme.TryParse(scheme, out FusedScheme step))
                    error = $"'{scheme}' is not a fused step such as rmsnorm-quantize-s8";
                else if (!TryParseShape(shape, ["rows", "n"], out long[] lines))
                    error = $"'{shape}' is not a shape such as rows512-n4096";
                else
                    return new FusedSpec(step, lines[0], lines[1]);
                return null;

            case HadamardSpec.OpName:
                if (!TryParseShape(shape, ["rows", "n"], out long[] area))
                    error = $"'{shape}' is not a shape such as rows512-n4096";
                else if (HadamardSpec.TryParse(scheme, area[0], area[1]) is { } rotation)
                    return rotation;
                else
                    error = $"'{scheme}' is not a scheme of rotation such as f32 or bf16h128, for rows of {area[1]}";
                return null;

            case KvAppendSpec.OpName:
                if (!KvScheme.TryParse(scheme, out KvScheme kept))
                    error = $"'{scheme}' is not a format of a KV cache such as s8";
                else if (!TryParseShape(shape, ["h", "d", "c", "q"], out long[] hdcq) || hdcq[3] > hdcq[2])
                    error = $"'{shape}' is not a shape such as h8-d128-c16384-q512";
                else
                    return new KvAppendSpec(kept, hdcq[0], hdcq[1], hdcq[2], hdcq[3]);
                return null;

            case RopeSpec.OpName:
                if (!RopeScheme.TryParse(scheme, out RopeScheme angles))
                    error = $"'{scheme}' is not a scheme of a rotary embedding such as f32-interleaved";
                else if (!TryParseShape(shape, ["rows", "h", "d"], out long[] heads) || heads[2] < Math.Max(2, angles.RotaryDim))
                    error = $"'{shape}' is not a shape such as rows512-h32-d128";
                else
                    return new RopeSpec(angles, heads[0], heads[1], heads[2]);
                return null;

            case AttentionSpec.OpName:
                if (!AttentionScheme.TryParse(scheme, out AttentionScheme attention))
                    error = $"'{scheme}' is not a scheme of attention such as decode-kv8";
                else if (TryParseAttention(attention, shape) is { } attending)
                    return attending;
                else
                    error = $"'{shape}' is not a shape such as h32-g8-d128-c16384-q1 or h32-g8-d128-b8-c16384-q1";
                return null;

            default:
                error = $"'{op}' is not an op; there are {string.Join(", ", OpNames)}";
                return null;
        }
    }

    private static AttentionSpec? TryParseAttention(AttentionScheme way, string shape)
    {
        long batch = 1;
        if (!TryParseShape(shape, ["h", "g", "d", "c", "q"], out long[] sizes))
        {
            if (!TryParseShape(shape, ["h", "g", "d", "b", "c", "q"], out sizes) || sizes[3] is < 2 or > AttentionSpec.MaxBatch)
                return null;
            batch = sizes[3];
            sizes = [.. sizes[..3], .. sizes[4..]];
        }

        if (sizes[4] > sizes[3] || sizes[1] == 0 || sizes[0] % sizes[1] != 0 || (way.IsDecode && sizes[4] > AttentionScheme.MaxDecodeTokens))
            return null;
        return new AttentionSpec(way, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], (int)batch);
    }

    private static bool TryParseShape(string text, string[] names, out long[] sizes)
    {
        sizes = new long[names.Length];
        string[] parts = text.Split('-');
        if (parts.Length != names.Length)
            return false;
        for (int i = 0; i < names.Length; i++)
        {
            if (!parts[i].StartsWith(names[i], StringComparison.Ordinal)
                || !WeightScheme.TryParseNumber(parts[i].AsSpan(names[i].Length), out sizes[i]))
                return false;
        }

        return true;
    }
}
