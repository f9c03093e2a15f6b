using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Accuracy.Verification;

// What runs around the GEMMs of a model.
internal static partial class VerifyCatalog
{
    private static IEnumerable<VerifyCheck> FusedSteps(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        string[] steps =
        [
            "rmsnorm", "residual-rmsnorm", "layernorm", "silu-mul", "gelu-mul", "gelu-tanh-mul", "smooth", "hadamard", "rmsnorm-hadamard", "silu-mul-hadamard",
        ];
        foreach (string step in steps)
        {
            foreach (string codes in new[] { "s8", "u8", "s4", "s4g32", "s8g128" })
            {
                foreach ((long rows, long cols) in s_matrixShapes)
                {
                    turn++;
                    string source = (turn % 3) switch { 0 => "", 1 => "-f16", _ => "-bf16" };
                    FusedScheme scheme = FusedScheme.Parse($"{step}-quantize-{codes}{source}");
                    if (scheme.Rotates && cols == 0)
                        continue;
                    string[] features = scheme.IsNorm && turn % 2 == 0 ? [FusedCheck.Bias] : [];
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, new FusedSpec(scheme, rows, cols), turn % 4 < 2 ? 1 : 2, features, (id, level, f) => new FusedCheck(id, level, f)))
                        yield return check;
                }
            }
        }
    }

    private static IEnumerable<VerifyCheck> Rotations(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (ElementType type in new[] { ElementType.F32, ElementType.F16, ElementType.BF16 })
        {
            foreach ((long block, long blocks) in s_rotations)
            {
                foreach (long rows in new[] { 0, 1, GoldenRotationRows })
                {
                    turn++;
                    var spec = new HadamardSpec(type, block, turn % 2 == 0, rows, block * blocks);
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, spec, turn % 3 == 0 ? 2 : 1, s_rotationFeatures[turn % s_rotationFeatures.Length],
                        (id, level, f) => new HadamardCheck(id, level, f)))
                        yield return check;
                }
            }
        }
    }

    private static IEnumerable<VerifyCheck> KvAppends(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (string way in new[]
            { "f32", "bf16", "s8", "s4", "u4", "f8", "s8-static", "s4-static", "u4-static", "f8-static", "s8-kivi32", "s4-kivi64", "u4-kivi16", "u4-kivi128" })
        {
            foreach ((long heads, long dim, long context, long tokens) in s_appendShapes)
            {
                turn++;
                ElementType source = (turn % 3) switch { 0 => ElementType.F32, 1 => ElementType.F16, _ => ElementType.BF16 };
                var spec = new KvAppendSpec(KvScheme.Parse(way) with { Source = source }, heads, dim, context, tokens);
                foreach (VerifyCheck check in ForVariants(
                    contexts, levels, spec, turn % 2 == 0 ? 1 : 2, [], (id, level, f) => new KvAppendCheck(id, level, f)))
                    yield return check;
            }
        }

        // A group's keys are changed before they are gathered; the last of these formats has groups, which are exact but for a rotation.
        foreach (string way in new[] { "f32", "bf16", "s8", "s4", "u4", "f8", "s8-kivi32" })
        {
            foreach (string[] features in s_appendFeatures)
            {
                if (KvScheme.Parse(way).KeyGroup != 0 && features.Contains(KvAppendCheck.Rotate))
                    continue;
                foreach ((long heads, long dim, long context, long tokens) in s_changedAppendShapes)
                {
                    turn++;
                    ElementType source = (turn % 3) switch { 0 => ElementType.F32, 1 => ElementType.F16, _ => ElementType.BF16 };
                    var spec = new KvAppendSpec(KvScheme.Parse(way) with { Source = source }, heads, dim, context, tokens);
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, spec, turn % 2 == 0 ? 1 : 2, features, (id, level, f) => new KvAppendCheck(id, level, f)))
                        yield return check;
                }
            }
        }
    }

    private static IEnumerable<VerifyCheck> Ropes(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (ElementType type in new[] { ElementType.F32, ElementType.F16, ElementType.BF16 })
        {
            foreach (RopeLayout layout in Enum.GetValues<RopeLayout>())
            {
                foreach (bool isPartial in new[] { false, true })
                {
                    foreach ((long rows, long heads, long headDim) in s_headShapes)
                    {
                        if (isPartial && headDim < 4)
                            continue;
                        turn++;
                        // About half of the pairs, an odd number.
                        var way = new RopeScheme(type, layout, isPartial ? headDim / 4 * 2 + (headDim > 16 ? 2 : 0) : 0);
                        foreach (VerifyCheck check in ForVariants(
                            contexts, levels, new RopeSpec(way, rows, heads, headDim), turn % 2 == 0 ? 1 : 2, s_ropeFeatures[turn % s_ropeFeatures.Length],
                            (id, level, f) => new RopeCheck(id, level, f)))
                            yield return check;
                    }
                }
            }
        }
    }

    private static IEnumerable<VerifyCheck> Attentions(ContextPool contexts, IReadOnlyList<Isa> levels)
    {
        int turn = 0;
        foreach (string cache in new[] { "8", "4", "u4", "fp8", "bf16", "f32", "i8", "i4", "iu4" })
        {
            foreach ((long heads, long kvHeads, long dim, long context, long queries) in s_attentionShapes)
            {
                // Every format meets every shape; features and threads take turns, in step with neither.
                turn++;
                AttentionSpec spec = SpecOf(cache, (heads, kvHeads, dim, context, queries), 1);
                foreach (VerifyCheck check in ForVariants(
                    contexts, levels, spec, turn % 2 == 0 ? 1 : 2, s_attentionFeatures[turn % s_attentionFeatures.Length],
                    (id, level, f) => new AttentionCheck(id, level, f)))
                    yield return check;
            }
        }

        foreach (string cache in new[] { "8", "4", "bf16", "iu4" })
        {
            foreach ((long, long, long, long, long) shape in s_raggedAttentionShapes)
            {
                turn++;
                foreach (int threads in new[] { 1, 2 })
                {
                    foreach (VerifyCheck check in ForVariants(
                        contexts, levels, SpecOf(cache, shape, RaggedBatch), threads, s_attentionFeatures[turn % s_attentionFeatures.Length],
                        (id, level, f) => new AttentionCheck(id, level, f)))
                        yield return check;
                }
            }
        }

        static AttentionSpec SpecOf(string cache, (long Heads, long KvHeads, long Dim, long Context, long Queries) shape, int batch)
        {
            string phase = shape.Queries <= AttentionScheme.MaxDecodeTokens ? "decode" : "prefill";
            return new AttentionSpec(
                AttentionScheme.Parse($"{phase}-kv{cache}"), shape.Heads, shape.KvHeads, shape.Dim, shape.Context, shape.Queries, batch);
        }
    }
}
