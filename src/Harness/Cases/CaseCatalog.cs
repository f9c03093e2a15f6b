namespace Kernels.Harness.Cases;

/// <summary>A case of the catalog, and whether it belongs to the short run.</summary>
/// <param name="Spec">What it computes.</param>
/// <param name="QuickThreads">In the short run: 0 no, 1 on one thread, 2 on every number of threads asked for.</param>
internal readonly record struct CatalogEntry(CaseSpec Spec, int QuickThreads);

/// <summary>The cases that <c>bench</c> knows without a model: the linear layers of Llama-3-8B, the quantizers and rotations.</summary>
internal static class CaseCatalog
{
    /// <summary>The linear layers of Llama-3-8B as [N, K]: q and o, k and v, gate and up, down.</summary>
    public static IReadOnlyList<(long N, long K)> LlamaLayers { get; } = [(4096, 4096), (1024, 4096), (14336, 4096), (4096, 14336)];

    /// <summary>Rows of activations: one token, a few, and three sizes of a prompt.</summary>
    public static IReadOnlyList<long> BatchSizes { get; } = [1, 8, 32, 128, 512];

    /// <summary>Every cell of the GEMM.</summary>
    public static IReadOnlyList<GemmScheme> Cells { get; } =
    [
        .. new[]
        {
            "w8-a8", "w8-u8", "w8g128-a8", "w4-a8", "w4g32-a8", "w4g64-a8", "w4g128-a8", "w4zg32-a8", "w4zg128-a8", "w4g128-u8",
            "w8-f32", "w8-bf16", "w8-f16", "w4-f32", "w4g32-f32", "w4g128-f32", "w4g128-bf16", "w4g128-f16", "w4zg128-f32", "w4zg128-bf16",
            "nf4b64-f32", "nf4b64-bf16", "nf4b64sdq-f32", "nf4b64sdq-bf16", "w4g128sf16-a8", "w4zfg128sf16-a8", "w4zfg128sf16-bf16", "w4g128o-a8",
            "w8-a4", "w4-a4", "w4g128-a4", "w8-dyn8", "w8-dyn8-bf16", "w4g128-dyn8", "w4g128-dyn8-bf16", "w4g128-dyn4", "w8-dynu8",
            "w8-a8-outlier1pct", "w4g128-a8-outlier1pct", "w8x1pct-dyn8", "w8x1pctf16-dyn8", "nf4b64sdqflat-f32", "w8-dyn8-lora16", "w4g128-f32-lora16", "w4g128-bf16-lora16",
            "nf4b64-f32-lora16", "nf4b64-bf16-lora16",
        }.Select(GemmScheme.Parse),
    ];

    /// <summary>Shapes that no tile, panel or cache is made for, as [M, N, K]: a prompt one token short with an odd N, a batch between two
    /// tiles on a layer of Llama-2-7B, and a layer of Llama-2-70B.</summary>
    public static IReadOnlyList<(long M, long N, long K)> RaggedShapes { get; } = [(127, 4095, 4032), (33, 11008, 4096), (512, 28672, 8192)];

    // The cells that the long run shows on those.
    private static readonly GemmScheme[] s_raggedCells =
        [.. new[] { "w8-a8", "w8g128-a8", "w4-a8", "w4g32-a8", "w4g128-a8", "w8-bf16", "w4g128-bf16", "w4g128-f32", "nf4b64-f32" }.Select(GemmScheme.Parse)];

    // The cells that the short run shows at every batch size, on every shape and on all threads.
    private static readonly GemmScheme[] s_mainCells = [.. new[] { "w8-a8", "w4g128-a8", "w4g128-f32" }.Select(GemmScheme.Parse)];

    // A token and a prompt: where memory and where arithmetic binds.
    private static readonly long[] s_mainBatches = [1, 128];

    /// <summary>The GEMM cases of a layer of a model.</summary>
    public static IEnumerable<CatalogEntry> ForLayer(long n, long k) =>
        from cell in Cells
        from m in BatchSizes
        select new CatalogEntry(new GemmSpec(cell, m, n, k), s_mainCells.Contains(cell) && s_mainBatches.Contains(m) ? 1 : 0);

    /// <summary>Every case, GEMM first, in the order in which a run shows them.</summary>
    public static IEnumerable<CatalogEntry> Entries()
    {
        foreach (GemmScheme cell in Cells)
        {
            bool isMain = s_mainCells.Contains(cell);
            foreach ((long n, long k) in LlamaLayers)
            {
                bool isSquare = n == k;
                foreach (long m in BatchSizes)
                {
                    bool isMainBatch = s_mainBatches.Contains(m);
                    int quick = isMain && isSquare ? (isMainBatch ? 2 : 1) : isMainBatch && (isSquare || isMain) ? 1 : 0;
                    yield return new CatalogEntry(new GemmSpec(cell, m, n, k), quick);
                }
            }

            foreach ((long m, long n, long k) in s_raggedCells.Contains(cell) ? RaggedShapes : [])
                yield return new CatalogEntry(new GemmSpec(cell, m, n, k), 0);
        }

        foreach (string way in new[] { "s8-per-token", "u8-per-token", "s8-per-token-bf16", "s8-per-token-f16" })
        {
            // A prompt, whose activations a last-level cache holds; smaller and wider ones; and 128 MiB of f32, which come from memory.
            foreach ((long rows, long cols) in new[] { (512L, 4096L), (1, 4096), (32, 4096), (512, 14336), (8192, 4096) })
            {
                bool isMain = rows == 512 && cols == 4096, isLarge = rows == 8192;
                int quick = way == "s8-per-token" ? (isMain ? 2 : isLarge ? 1 : 0) : isMain ? 1 : 0;
                yield return new CatalogEntry(new QuantizeSpec(QuantizeScheme.Parse(way), rows, cols), quick);
            }
        }

        foreach (string way in new[] { "s8-per-channel", "s8-g128", "s4-per-channel", "s4-g32", "s4-g128", "u4-g128", "s8-per-tensor", "nf4-g64" })
        {
            int quick = way is "s4-g128" or "u4-g128" ? 1 : 0;
            yield return new CatalogEntry(new QuantizeSpec(QuantizeScheme.Parse(way), 4096, 4096), quick);
        }

        foreach (string way in new[] { "f32", "f32-interleaved", "bf16", "f16", "f32-r64" })
        {
            // The queries of a prompt and of a token.
            foreach (long rows in new[] { 512L, 1 })
                yield return new CatalogEntry(new RopeSpec(RopeScheme.Parse(way), rows, 32, 128), way == "f32" && rows == 512 ? 1 : 0);
        }

        foreach (string step in new[]
            {
                "rmsnorm-quantize-s8", "residual-rmsnorm-quantize-s8", "layernorm-quantize-s8", "layernorm-bias-quantize-s8",
                "silu-mul-quantize-s8", "gelu-mul-quantize-s8",
                "gelu-tanh-mul-quantize-s8", "smooth-quantize-s8", "hadamard-quantize-s8", "rmsnorm-hadamard-quantize-s8",
                "silu-mul-hadamard-quantize-s8", "rmsnorm-quantize-u8", "rmsnorm-quantize-s4", "hadamard-quantize-s4g128",
                "rmsnorm-then-quantize-s8", "residual-rmsnorm-then-quantize-s8", "layernorm-then-quantize-s8", "silu-mul-then-quantize-s8",
                "gelu-mul-then-quantize-s8", "gelu-tanh-mul-then-quantize-s8", "smooth-then-quantize-s8", "layernorm-bias-then-quantize-s8",
                "hadamard-then-quantize-s8", "rmsnorm-hadamard-then-quantize-s8", "silu-mul-hadamard-then-quantize-s8",
            })
        {
            foreach (string source in new[] { "", "-bf16" })
            {
                foreach (long cols in new[] { 4096L, 14336 })
                {
                    int quick = cols == 4096 && step is "rmsnorm-quantize-s8" or "silu-mul-quantize-s8" ? 1 : 0;
                    yield return new CatalogEntry(new FusedSpec(FusedScheme.Parse(step + source), 512, cols), quick);
                }
            }
        }

        foreach (string weights in new[] { "w8", "w8g128", "w4", "w4g32", "w4g128", "w4zg128", "nf4b64" })
        {
            WeightScheme scheme = WeightScheme.Parse(weights);
            foreach (ElementType target in new[] { ElementType.F32, ElementType.F16, ElementType.BF16 })
            {
                int quick = target == ElementType.F32 && (weights is "w8" or "w4g128") ? 1 : 0;
                yield return new CatalogEntry(new DequantizeSpec(scheme, target, 4096, 4096), quick);
            }
        }

        foreach (CatalogEntry rotation in Rotations())
            yield return rotation;
    }

    // Heads, and the widths of Llama, Qwen and Mistral, of which the largest have bases; a prompt, which comes from memory but for narrow
    // heads, and few rows, which a cache holds.
    private static IEnumerable<CatalogEntry> Rotations()
    {
        foreach (ElementType type in new[] { ElementType.F32, ElementType.F16, ElementType.BF16 })
        {
            foreach (long n in new[] { 64L, 128, 256, 1024, 4096, 8192, 14336, 11008, 5120, 13824 })
                yield return new CatalogEntry(new HadamardSpec(type, n, false, 512, n), type == ElementType.F32 && n is 128 or 4096 or 14336 ? 1 : 0);
            foreach (long n in new[] { 1024L, 4096, 8192, 14336, 16384 })
                yield return new CatalogEntry(new HadamardSpec(type, n, false, 8, n), 0);
            foreach (long head in new[] { 64L, 80, 96, 128 })
                yield return new CatalogEntry(new HadamardSpec(type, head, false, 512, 32 * head), 0);
            foreach (long n in new[] { 4096L, 14336 })
                yield return new CatalogEntry(new HadamardSpec(type, n, true, 512, n), 0);
        }

        foreach (string way in new[] { "s8", "s4", "u4", "f8", "bf16", "f32", "s8-bf16", "s8-static", "u4-kivi64" })
        {
            // A prompt, and a token of decoding.
            yield return new CatalogEntry(new KvAppendSpec(KvScheme.Parse(way), 8, 128, 16384, 512), way == "s8" ? 2 : way is "s4" or "bf16" ? 1 : 0);
            yield return new CatalogEntry(new KvAppendSpec(KvScheme.Parse(way), 8, 128, 16384, 1), 0);
        }

        foreach (string format in new[] { "8", "4", "u4", "fp8", "bf16", "f32", "i8", "iu4" })
        {
            int quick = format is "8" or "4" ? 2 : format is "bf16" ? 1 : 0;
            foreach (long context in new[] { 512L, 2048, 8192, 16384, 32768, 65536 })
                yield return new CatalogEntry(new AttentionSpec(AttentionScheme.Parse($"decode-kv{format}"), 32, 8, 128, context, 1), context == 16384 ? quick : 0);
            if (format is "8" or "4" or "bf16")
                yield return new CatalogEntry(new AttentionSpec(AttentionScheme.Parse($"decode-kv{format}"), 32, 8, 128, 16384, 1, Batch: 8), 0);
            yield return new CatalogEntry(new AttentionSpec(AttentionScheme.Parse($"prefill-kv{format}"), 32, 8, 128, 4096, 512), quick);
        }
    }
}
