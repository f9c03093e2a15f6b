using Kernels.Harness.Cases;

namespace Kernels.Harness.Benchmarks;

/// <summary>The contexts of a run, one for each instruction set level and number of threads, and what they can do.</summary>
internal sealed class ContextPool : IDisposable
{
    private readonly Dictionary<(Isa, int), KernelContext> _contexts = [];

    /// <summary>The levels that this machine supports, best first, the reference last.</summary>
    public static IReadOnlyList<Isa> Levels { get; } =
        [.. Enum.GetValues<Isa>().Where(isa => isa != Isa.Auto && Cpu.Supports(isa)).OrderDescending()];

    /// <summary>The context of a level and a number of threads.</summary>
    public KernelContext Get(Isa level, int threads)
    {
        if (!_contexts.TryGetValue((level, threads), out KernelContext? context))
            _contexts[(level, threads)] = context = new KernelContext(new KernelContextOptions { Isa = level, Threads = threads });
        return context;
    }

    /// <summary>The variant that runs a case at a level; null when there is none.</summary>
    public string? VariantOf(CaseSpec spec, Isa level)
    {
        KernelContext context = Get(level, 1);
        return spec switch
        {
            GemmSpec gemm => Gemm.Variant(context, gemm.Cell.Weights.Format, gemm.Cell.Activations, gemm.Cell.Compute),
            FusedSpec => Fused.Variant(context),
            HadamardSpec => Hadamard.Variant(context),
            KvAppendSpec => KvCache.Variant(context),
            RopeSpec => Rope.Variant(context),
            AttentionSpec attention => Attention.Variant(context, attention.Way.Cache.Type, attention.Way.Cache.Type),
            _ => Quantizer.Variant(context),
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (KernelContext context in _contexts.Values)
            context.Dispose();
        _contexts.Clear();
    }
}
