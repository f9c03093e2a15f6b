using System.Diagnostics.CodeAnalysis;
using Kernels.Native;

namespace Kernels;

/// <summary>The processor of this machine, as the kernels see it.</summary>
public static class Cpu
{
    private static readonly Isa[] s_levels = Enum.GetValues<Isa>();

    /// <summary>The features that the processor has and the operating system supports.</summary>
    public static CpuFeatures Features => (CpuFeatures)NativeMethods.krn_cpu_features();

    /// <summary>Brand string of the processor, such as "AMD EPYC 9B14"; empty where the processor does not tell.</summary>
    public static unsafe string Name => NativeText.Required(NativeMethods.krn_cpu_name());

    /// <summary>The best level of this machine; never <see cref="Isa.Auto"/>.</summary>
    public static Isa BestIsa => (Isa)NativeMethods.krn_isa_best();

    /// <summary>Tells whether a context of a level can be made on this machine.</summary>
    /// <param name="isa">The level.</param>
    /// <returns>True for <see cref="Isa.Auto"/> and for every level up to <see cref="BestIsa"/>.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="isa"/> is not a level.</exception>
    public static bool Supports(Isa isa)
    {
        Guard.Defined(isa);
        return isa <= BestIsa;
    }

    /// <summary>The name of a level in case ids and on command lines: "auto", "ref", "avx2", "avx512", "avx512vnni", "avx512bf16".</summary>
    /// <param name="isa">The level.</param>
    /// <returns>Its lower-case name.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="isa"/> is not a level.</exception>
    public static unsafe string NameOf(Isa isa)
    {
        Guard.Defined(isa);
        return NativeText.Required(NativeMethods.krn_isa_name((int)isa));
    }

    /// <summary>Finds the level that a name means.</summary>
    /// <param name="name">A name as <see cref="NameOf"/> gives it; upper and lower case do not matter.</param>
    /// <param name="isa">The level, or <see cref="Isa.Auto"/> if the name is not one.</param>
    /// <returns>Whether the name is that of a level.</returns>
    public static bool TryParseIsa([NotNullWhen(true)] string? name, out Isa isa)
    {
        foreach (Isa level in s_levels)
        {
            if (string.Equals(name, NameOf(level), StringComparison.OrdinalIgnoreCase))
            {
                isa = level;
                return true;
            }
        }

        isa = Isa.Auto;
        return false;
    }
}
