using Xunit;

namespace Kernels.Tests;

public class CpuTests
{
    [Fact]
    public void The_reference_runs_everywhere_and_auto_is_a_request_not_a_level()
    {
        Assert.True(Cpu.Supports(Isa.Reference));
        Assert.True(Cpu.Supports(Isa.Auto));
        Assert.NotEqual(Isa.Auto, Cpu.BestIsa);
        Assert.Equal(Cpu.BestIsa is >= Isa.Avx2 and < Isa.Neon, Cpu.Features.HasFlag(CpuFeatures.Avx2 | CpuFeatures.Fma | CpuFeatures.F16C));
        Assert.NotNull(Cpu.Name);
    }

    [Theory]
    [InlineData(Isa.Auto, "auto")]
    [InlineData(Isa.Reference, "ref")]
    [InlineData(Isa.Avx2, "avx2")]
    [InlineData(Isa.Avx512, "avx512")]
    [InlineData(Isa.Avx512Vnni, "avx512vnni")]
    [InlineData(Isa.Avx512Bf16, "avx512bf16")]
    [InlineData(Isa.Neon, "neon")]
    [InlineData(Isa.NeonDotProd, "neon_dotprod")]
    [InlineData(Isa.NeonI8mm, "neon_i8mm")]
    [InlineData(Isa.NeonBf16, "neon_bf16")]
    public void Levels_have_names_that_are_understood(Isa isa, string name)
    {
        Assert.Equal(name, Cpu.NameOf(isa));
        Assert.True(Cpu.TryParseIsa(name.ToUpperInvariant(), out Isa parsed));
        Assert.Equal(isa, parsed);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("avx")]
    public void Other_names_are_not(string? name)
    {
        Assert.False(Cpu.TryParseIsa(name, out Isa isa));
        Assert.Equal(Isa.Auto, isa);
    }

    [Fact]
    public void Numbers_that_are_no_level_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>("isa", () => Cpu.NameOf((Isa)7));
        Assert.Throws<ArgumentOutOfRangeException>("isa", () => Cpu.Supports((Isa)(-1)));
    }
}
