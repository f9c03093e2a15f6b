using System.Collections.Immutable;

namespace Kernels.Harness.Benchmarks;

/// <summary>Names and units of ceilings as results write them.</summary>
internal static class CeilingNames
{
    /// <summary>Every ceiling in the order in which tables show them.</summary>
    public static ImmutableArray<Ceiling> All { get; } =
        [Ceiling.Int8Dot, Ceiling.Int16MultiplyAdd, Ceiling.Bf16Dot, Ceiling.F32Fma, Ceiling.Read, Ceiling.Copy, Ceiling.Narrow];

    /// <summary>The name in results.</summary>
    public static string NameOf(Ceiling ceiling) => ceiling switch
    {
        Ceiling.Int8Dot => "int8_dot",
        Ceiling.Int16MultiplyAdd => "int16_madd",
        Ceiling.Bf16Dot => "bf16_dot",
        Ceiling.F32Fma => "f32_fma",
        Ceiling.Read => "dram_read",
        Ceiling.Copy => "dram_copy",
        Ceiling.Narrow => "dram_narrow",
        _ => throw new ArgumentOutOfRangeException(nameof(ceiling), ceiling, "Not a ceiling."),
    };

    /// <summary>Whether a ceiling counts bytes rather than operations.</summary>
    public static bool IsBandwidth(Ceiling ceiling) => ceiling is Ceiling.Read or Ceiling.Copy or Ceiling.Narrow;

    /// <summary>The unit in results.</summary>
    public static string UnitOf(Ceiling ceiling) => IsBandwidth(ceiling) ? "gb_per_s" : "gops";
}
