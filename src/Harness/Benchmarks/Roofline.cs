using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Benchmarks;

/// <summary>Work of a call that a ceiling limits.</summary>
/// <param name="Ceiling">The ceiling.</param>
/// <param name="Work">Operations or bytes of one call.</param>
internal readonly record struct Demand(Ceiling Ceiling, double Work);

/// <summary>Which ceiling bounds a case, and by how much.</summary>
internal static class Roofline
{
    /// <summary>The time that a call takes when it reaches its ceiling: that of the demand that takes longest.</summary>
    /// <param name="demands">What the call needs, with the rate of each ceiling in 10^9 a second.</param>
    /// <returns>The binding demand, its rate, and the time in nanoseconds.</returns>
    public static (Demand Demand, double Rate, double Nanoseconds) Bind(IEnumerable<(Demand Demand, double Rate)> demands)
    {
        (Demand Demand, double Rate, double Nanoseconds)? worst = null;
        foreach ((Demand demand, double rate) in demands)
        {
            if (!(rate > 0))
                throw new ArgumentException($"The rate of {demand.Ceiling} is {rate}.", nameof(demands));
            // 10^9 a second is one a nanosecond.
            double nanoseconds = demand.Work / rate;
            if (worst is null || nanoseconds > worst.Value.Nanoseconds)
                worst = (demand, rate, nanoseconds);
        }

        return worst ?? throw new ArgumentException("There is no demand.", nameof(demands));
    }

    /// <summary>What a GEMM needs of the machine when <paramref name="variant"/> runs it: arithmetic of its kind, and the packed weights
    /// read once from memory. Activations and output are left out: they are small wherever reading the weights is what binds.</summary>
    /// <param name="spec">The GEMM.</param>
    /// <param name="variant">The variant.</param>
    /// <param name="bytesFromMemory">Bytes of the packed weights; 0 when a cache holds them.</param>
    public static IReadOnlyList<Demand> OfGemm(GemmSpec spec, string variant, long bytesFromMemory)
    {
        Ceiling arithmetic = spec.Cell.IsInteger
            ? variant is "avx512" or "neon" || (variant == "avx2" && spec.Cell.Weights.Format == ElementType.S8) ? Ceiling.Int16MultiplyAdd : Ceiling.Int8Dot
            : GemmOracle.HasBf16Products(variant) ? Ceiling.Bf16Dot : Ceiling.F32Fma;
        var operations = new Demand(arithmetic, spec.Operations);
        return bytesFromMemory == 0 ? [operations] : [operations, new Demand(Ceiling.Read, bytesFromMemory)];
    }

    /// <summary>What attention needs of the machine when <paramref name="variant"/> runs it: arithmetic of its kind, and the cache read once.</summary>
    /// <param name="spec">The attention.</param>
    /// <param name="variant">The variant.</param>
    /// <param name="bytesFromMemory">Bytes of the tokens in the cache; 0 when a cache of the processor holds them.</param>
    public static IReadOnlyList<Demand> OfAttention(AttentionSpec spec, string variant, long bytesFromMemory)
    {
        bool isInteger = spec.Way.Cache.Type is ElementType.S8 or ElementType.S4 or ElementType.U4;
        Ceiling arithmetic = isInteger ? variant is "avx512vnni" or "neon_dotprod" or "neon_i8mm" ? Ceiling.Int8Dot : Ceiling.Int16MultiplyAdd
            : variant is "avx512bf16" or "neon_bf16" ? Ceiling.Bf16Dot : Ceiling.F32Fma;
        var operations = new Demand(arithmetic, spec.Operations);
        return bytesFromMemory == 0 ? [operations] : [operations, new Demand(Ceiling.Read, bytesFromMemory)];
    }

    /// <summary>What a pass over memory needs: a copy of as many bytes, read and written.</summary>
    public static IReadOnlyList<Demand> OfPass(double bytesReadAndWritten) => [new Demand(Ceiling.Copy, bytesReadAndWritten)];

    /// <summary>What a step that reads its input once and writes its output once needs: a loop of such traffic. One that mostly reads is slower than
    /// a copy, whose two directions memory serves at once.</summary>
    public static IReadOnlyList<Demand> OfStep(double bytesRead, double bytesWritten) =>
        [new Demand(bytesRead > 3 * bytesWritten ? Ceiling.Narrow : Ceiling.Copy, bytesRead + bytesWritten)];
}
