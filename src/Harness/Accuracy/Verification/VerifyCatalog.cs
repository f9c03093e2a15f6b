using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>The checks that <c>verify</c> knows: every cell and way to quantize, over shapes at which kernels break.</summary>
internal static partial class VerifyCatalog
{
    // Empty, single, below and above a vector, a tile and a block of every kernel, even and odd.
    private static readonly (long M, long N, long K)[] s_gemmShapes =
        [(1, 1, 1), (2, 3, 16), (1, 17, 33), (5, 31, 97), (7, 33, 129), (13, 50, 257), (1, 96, 515), (33, 65, 192), (4, 16, 0), (0, 8, 32), (3, 0, 32)];

    // The shape that golden vectors are kept of: ragged in every direction, and small.
    private static readonly (long M, long N, long K) s_goldenShape = (7, 33, 129);

    // Above 2^17: with codes at the ends of their ranges any 32-bit sum of these overflows.
    private static readonly (long M, long N, long K) s_longShape = (2, 3, 140_001);

    private static readonly string[][] s_gemmFeatures =
    [
        [], [GemmCheck.Bias, GemmCheck.Residual, GemmCheck.Wide], [GemmCheck.Wide], [GemmCheck.Bias, GemmCheck.F16],
        [GemmCheck.Residual, GemmCheck.InPlace], [GemmCheck.Bias, GemmCheck.Residual, GemmCheck.Wide, GemmCheck.Bf16],
        [GemmCheck.Extreme, GemmCheck.Bias],
    ];

    // Ways to take activations beyond the plain cells.
    private static readonly string[] s_otherActivations =
    [
        "a4", "dyn8", "dyn4", "dynu8", "dyn8-bf16", "dyn4-f16", "a8-outlier1pct", "f32-lora5", "bf16-lora16", "dyn8-f16-lora3", "a8-outlier1pct-lora8",
    ];

    private static readonly string[] s_fixedOutliers = ["w8x1pct", "w8g32x1pctf16", "w4zg40x1pctbf16o", "w4zfg32sf16x1pctf16", "w4g64sdqx1pct"];

    private static readonly string[] s_fixedActivations = ["dyn8", "dynu8-bf16", "dyn4-f16", "dyn8-lora5", "a8", "f32"];

    private static readonly string[] s_flattened = ["nf4b64flat", "nf4b64sdqflat", "nf4b16sbf16flat", "w8g32flat", "w4zg48flat", "w4zfg64flat"];

    // Flattened groups cross rows at a common divisor of K and the group size of at least 16, or there is one row.
    private static readonly (long M, long N, long K)[] s_flatShapes =
        [(1, 1, 7), (2, 3, 16), (5, 31, 48), (7, 33, 144), (33, 65, 192), (1, 96, 208), (4, 16, 0), (0, 8, 32)];

    private static readonly (long M, long N, long K) s_goldenFlatShape = (7, 33, 144);

    private static readonly (long Rows, long Cols)[] s_matrixShapes = [(1, 1), (3, 17), (6, 64), (13, 100), (2, 257), (7, 1000), (0, 5), (3, 0)];

    private static readonly (long Rows, long Cols) s_goldenMatrix = (13, 100);

    // Blocks of a power of two and of every kind of base, one and several passes, and two and three bases.
    private static readonly (long Block, long Blocks)[] s_rotations =
        [(1, 5), (2, 3), (8, 3), (12, 2), (28, 3), (52, 1), (64, 2), (80, 2), (92, 1), (128, 3), (172, 2), (512, 1), (768, 1), (1024, 2), (2880, 1), (4096, 1), (8640, 1)];

    private static readonly string[][] s_rotationFeatures =
        [[], [HadamardCheck.Signs], [HadamardCheck.Inverse], [HadamardCheck.Inverse, HadamardCheck.Signs, HadamardCheck.Wide], [HadamardCheck.Wide]];

    private const long GoldenRotationRows = 4;

    // A token; less than a block, blocks and pages with a rest; heads that are no whole registers, and long ones.
    private static readonly (long Heads, long Dim, long Context, long Tokens)[] s_appendShapes =
        [(1, 8, 1, 1), (2, 64, 40, 17), (3, 72, 75, 75), (2, 80, 150, 3), (1, 256, 33, 32), (1, 120, 200, 199)];

    // Heads that have a Hadamard matrix; from an empty sequence, and with a few tokens behind many.
    private static readonly (long Heads, long Dim, long Context, long Tokens)[] s_changedAppendShapes = [(2, 64, 40, 40), (3, 80, 150, 7), (1, 128, 75, 58)];

    private static readonly string[][] s_appendFeatures =
    [
        [KvAppendCheck.RotaryEmbedding], [KvAppendCheck.Center], [KvAppendCheck.Rotate], [KvAppendCheck.RotaryEmbedding, KvAppendCheck.Center],
        [KvAppendCheck.Center, KvAppendCheck.Rotate], [KvAppendCheck.RotaryEmbedding, KvAppendCheck.Center, KvAppendCheck.Rotate],
    ];

    private static readonly (long Heads, long Dim, long Context, long Tokens) s_goldenAppend = (3, 72, 75, 75);

    // Decode and prefill; MHA, GQA and MQA; less than a block, whole blocks, and more than a chunk of decode; heads that are no whole registers.
    private static readonly (long Heads, long KvHeads, long Dim, long Context, long Queries)[] s_attentionShapes =
        [(2, 2, 64, 1, 1), (6, 2, 80, 70, 3), (8, 1, 128, 600, 1), (4, 2, 24, 64, 8), (6, 3, 96, 130, 20), (7, 1, 8, 75, 75)];

    // Ragged batches: of decode, with more than a chunk and with less than a block; of decode with several tokens; of prefill.
    private static readonly (long Heads, long KvHeads, long Dim, long Context, long Queries)[] s_raggedAttentionShapes =
        [(8, 2, 64, 1100, 1), (4, 4, 40, 300, 4), (6, 2, 80, 100, 11)];

    private const int RaggedBatch = 8;

    private static readonly (long Heads, long KvHeads, long Dim, long Context, long Queries) s_goldenAttention = (6, 2, 80, 70, 3);

    private static readonly string[][] s_attentionFeatures =
    [
        [], [AttentionCheck.Window], [AttentionCheck.SoftCap, AttentionCheck.Full], [AttentionCheck.Alibi, AttentionCheck.F16],
        [AttentionCheck.Sinks, AttentionCheck.Window, AttentionCheck.Bf16], [AttentionCheck.Full], [AttentionCheck.SoftCap, AttentionCheck.Alibi, AttentionCheck.Sinks],
    ];

    private static readonly string[][] s_quantizeFeatures = [[], [QuantizeCheck.Wide], [QuantizeCheck.Clip], [QuantizeCheck.Clip, QuantizeCheck.Wide]];

    // Below, at and above a vector of pairs, the head dimensions of models, empty.
    private static readonly (long Rows, long Heads, long HeadDim)[] s_headShapes =
        [(1, 1, 2), (3, 4, 8), (5, 2, 22), (7, 3, 64), (2, 5, 80), (4, 2, 96), (40, 32, 128), (0, 2, 8), (2, 0, 8)];

    private static readonly (long Rows, long Heads, long HeadDim) s_goldenHeads = (7, 3, 64);

    private static readonly string[][] s_ropeFeatures =
    [
        [], [RopeCheck.Wide], [RopeCheck.InPlace], [RopeCheck.Linear, RopeCheck.Wide, RopeCheck.ToBf16], [RopeCheck.Llama3, RopeCheck.Wide, RopeCheck.InPlace],
        [RopeCheck.Llama3, RopeCheck.ToF32], [RopeCheck.Linear],
    ];

    /// <summary>All checks on some levels; of two levels with the same variant only the first takes part.</summary>
    public static IEnumerable<VerifyCheck> Checks(ContextPool contexts, IReadOnlyList<Isa> levels) =>
        Gemms(contexts, levels).Concat(WeightFormats(contexts, levels)).Concat(OtherGemms(contexts, levels))
            .Concat(Quantizers(contexts, levels)).Concat(Dequantizers(contexts, levels)).Concat(Codebooks(contexts, levels))
            .Concat(Rotations(contexts, levels))
            .Concat(KvAppends(contexts, levels))
            .Concat(Ropes(contexts, levels))
            .Concat(Cells(contexts, levels, s_fixedOutliers, s_fixedActivations, s_gemmShapes))
            .Concat(Cells(contexts, levels, s_flattened, ["f32", "bf16", "a8", "u8"], s_flatShapes))
            .Concat(FusedSteps(contexts, levels)).Concat(Attentions(contexts, levels));

    /// <summary>Whether a check has a golden vector.</summary>
    public static bool IsGolden(VerifyCheck check) => check.Case.Spec switch
    {
        GemmSpec spec => (spec.M, spec.N, spec.K) == s_goldenShape || (spec.M, spec.N, spec.K) == s_goldenFlatShape,
        QuantizeSpec spec => (spec.Rows, spec.Cols) == s_goldenMatrix,
        DequantizeSpec spec => (spec.Rows, spec.Cols) == s_goldenMatrix,
        HadamardSpec spec => spec.Rows == GoldenRotationRows,
        KvAppendSpec spec => (spec.KvHeads, spec.HeadDim, spec.Context, spec.Tokens) == s_goldenAppend,
        RopeSpec spec => (spec.Rows, spec.Heads, spec.HeadDim) == s_goldenHeads,
        FusedSpec spec => (spec.Rows, spec.Cols) == s_goldenMatrix,
        AttentionSpec spec => (spec.Heads, spec.KvHeads, spec.HeadDim, spec.Context, spec.Queries) == s_goldenAttention,
        _ => false,
    };

    private static IEnumerable<VerifyCheck> Gemms(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (WeightScheme weights in WeightSchemes([0, 16, 32, 40, 64, 128]))
        {
            foreach (ElementType activations in new[] { ElementType.S8, ElementType.U8, ElementType.F32, ElementType.BF16, ElementType.F16 })
            {
                var cell = new GemmScheme(weights, activations);
                // Every cell meets every shape; features and threads take turns, in step with neither.
                foreach ((long m, long n, long k) in s_gemmShapes)
                {
                    turn++;
                    string[] features = s_gemmFeatures[turn % s_gemmFeatures.Length];
                    foreach (VerifyCheck check in ForVariants(contexts, levels, new GemmSpec(cell, m, n, k), turn % 2 == 0 ? 1 : 2, features, Make))
                        yield return check;
                }

                if (weights.GroupSize != 0)
                    continue;
                foreach (VerifyCheck check in ForVariants(
                    contexts, levels, new GemmSpec(cell, s_longShape.M, s_longShape.N, s_longShape.K), 1, [GemmCheck.Extreme], Make))
                    yield return check;
            }
        }

        static VerifyCheck Make(CaseId id, Isa level, string[] features) => new GemmCheck(id, level, features);
    }

    // Formats that differ from the plain ones in scales, zero points, codes or the order of inputs.
    private static IEnumerable<VerifyCheck> WeightFormats(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (string name in new[]
            {
                "w8sf16", "w4g32sbf16", "w4zg64sf16", "w4zfg32", "w4zfg128sf16", "w4zfsbf16", "w4g40o", "w4zg128sf16o", "w4zfg32o", "w4g64sdq",
                "nf4b64", "nf4b16sbf16", "nf4b64sdq", "nf4", "nf4b128o",
            })
        {
            var weights = WeightScheme.Parse(name);
            foreach (ElementType activations in new[] { ElementType.S8, ElementType.U8, ElementType.F32, ElementType.BF16, ElementType.F16 })
            {
                foreach ((long m, long n, long k) in s_gemmShapes)
                {
                    turn++;
                    var spec = new GemmSpec(new GemmScheme(weights, activations), m, n, k);
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, spec, turn % 2 == 0 ? 1 : 2, s_gemmFeatures[turn % s_gemmFeatures.Length], (id, level, f) => new GemmCheck(id, level, f)))
                        yield return check;
                }
            }
        }
    }

    // Activations that the call quantizes, outliers and adapters. They count turns of their own: golden vectors depend on them.
    private static IEnumerable<VerifyCheck> OtherGemms(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        string[] others = ["w8sf16", "w4zfg32o", "w4g64sdq", "nf4b64", "nf4b128o"];
        foreach (WeightScheme weights in WeightSchemes([0, 32, 40]).Concat(others.Select(WeightScheme.Parse)))
        {
            foreach (string activations in s_otherActivations)
            {
                var cell = GemmScheme.Parse($"{weights}-{activations}");
                foreach ((long m, long n, long k) in s_gemmShapes)
                {
                    turn++;
                    string[] features = s_gemmFeatures[turn % s_gemmFeatures.Length];
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, new GemmSpec(cell, m, n, k), turn % 2 == 0 ? 1 : 2, features, (id, level, f) => new GemmCheck(id, level, f)))
                        yield return check;
                }
            }
        }
    }

    // Every pair of a weight format and a way to take activations, at every shape.
    private static IEnumerable<VerifyCheck> Cells(
        ContextPool contexts, IReadOnlyList<Isa> levels, string[] weights, string[] activations, (long M, long N, long K)[] shapes)
    {
        int turn = 0;
        foreach (string cell in from w in weights from a in activations select $"{w}-{a}")
        {
            foreach ((long m, long n, long k) in shapes)
            {
                turn++;
                string[] features = s_gemmFeatures[turn % s_gemmFeatures.Length];
                foreach (VerifyCheck check in ForVariants(
                    contexts, levels, new GemmSpec(GemmScheme.Parse(cell), m, n, k), turn % 2 == 0 ? 1 : 2, features,
                    (id, level, f) => new GemmCheck(id, level, f)))
                    yield return check;
            }
        }
    }

    private static IEnumerable<VerifyCheck> Quantizers(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (ElementType type in new[] { ElementType.S8, ElementType.U8, ElementType.S4, ElementType.U4 })
        {
            foreach (bool isAsymmetric in new[] { false, true })
            {
                foreach ((Granularity granularity, long groupSize) in new[]
                    { (Granularity.Tensor, 0L), (Granularity.Channel, 0), (Granularity.Token, 0), (Granularity.Group, 16), (Granularity.Group, 40), (Granularity.Group, 128) })
                {
                    foreach ((long rows, long cols) in s_matrixShapes)
                    {
                        turn++;
                        ElementType source = (turn % 3) switch { 0 => ElementType.F32, 1 => ElementType.F16, _ => ElementType.BF16 };
                        var way = new QuantizeScheme(type, granularity, groupSize, isAsymmetric, source);
                        string[] features = s_quantizeFeatures[turn / 3 % s_quantizeFeatures.Length];
                        foreach (VerifyCheck check in ForVariants(
                            contexts, levels, new QuantizeSpec(way, rows, cols), turn % 2 == 0 ? 1 : 2, features,
                            (id, level, f) => new QuantizeCheck(id, level, f)))
                            yield return check;
                    }
                }
            }
        }
    }

    private static IEnumerable<VerifyCheck> Dequantizers(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (WeightScheme weights in WeightSchemes([0, 16, 40, 128]))
        {
            foreach (ElementType target in new[] { ElementType.F32, ElementType.F16, ElementType.BF16 })
            {
                foreach ((long rows, long cols) in s_matrixShapes)
                {
                    turn++;
                    string[] features = turn % 3 == 0 ? [DequantizeCheck.Wide] : [];
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, new DequantizeSpec(weights, target, rows, cols), turn % 2 == 0 ? 1 : 2, features,
                        (id, level, f) => new DequantizeCheck(id, level, f)))
                        yield return check;
                }
            }
        }
    }

    private static IEnumerable<VerifyCheck> Codebooks(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach ((Granularity granularity, long groupSize) in new[]
            { (Granularity.Tensor, 0L), (Granularity.Channel, 0), (Granularity.Group, 16), (Granularity.Group, 40), (Granularity.Group, 64) })
        {
            foreach ((long rows, long cols) in s_matrixShapes)
            {
                turn++;
                ElementType type = (turn % 3) switch { 0 => ElementType.F32, 1 => ElementType.F16, _ => ElementType.BF16 };
                var way = new QuantizeScheme(ElementType.C4, granularity, groupSize, false, type);
                foreach (VerifyCheck check in ForVariants(
                    contexts, levels, new QuantizeSpec(way, rows, cols), turn % 2 == 0 ? 1 : 2, s_quantizeFeatures[turn % s_quantizeFeatures.Length],
                    (id, level, f) => new QuantizeCheck(id, level, f)))
                    yield return check;
                if (granularity == Granularity.Tensor)
                    continue;
                foreach (VerifyCheck check in ForVariants(
                    contexts, levels, new DequantizeSpec(new WeightScheme(ElementType.C4, groupSize), type, rows, cols), turn % 2 == 0 ? 1 : 2,
                    turn % 3 == 0 ? [DequantizeCheck.Wide] : [], (id, level, f) => new DequantizeCheck(id, level, f)))
                    yield return check;
            }
        }
    }

    private static IEnumerable<WeightScheme> WeightSchemes(long[] groupSizes) =>
        from format in new[] { ElementType.S8, ElementType.S4, ElementType.U4 }
        from groupSize in groupSizes
        select new WeightScheme(format, groupSize);

    private static IEnumerable<VerifyCheck> ForVariants(
        ContextPool contexts, IReadOnlyList<Isa> levels, CaseSpec spec, int threads, string[] features, Func<CaseId, Isa, string[], VerifyCheck> make)
    {
        var seen = new HashSet<string>();
        foreach (Isa level in levels)
        {
            if (contexts.VariantOf(spec, level) is { } variant && seen.Add(variant))
                yield return make(spec.ToId(threads, variant), level, features);
        }
    }
}
