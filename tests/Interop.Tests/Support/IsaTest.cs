using System.Runtime.InteropServices;
using Xunit;

namespace Kernels.Tests.Support;

/// <summary>Tests that run once per instruction set.</summary>
internal static class IsaTest
{
    /// <summary>All levels of the architecture; a test of one that the machine lacks is skipped.</summary>
    public static TheoryData<Isa> Levels => RuntimeInformation.ProcessArchitecture == Architecture.Arm64
        ? [Isa.Reference, Isa.Neon, Isa.NeonDotProd, Isa.NeonI8mm, Isa.NeonBf16]
        : [Isa.Reference, Isa.Avx2, Isa.Avx512, Isa.Avx512Vnni, Isa.Avx512Bf16];

    /// <summary>A context of a level, or a skipped test.</summary>
    public static KernelContext Context(Isa isa, int threads = 1)
    {
        if (!Cpu.Supports(isa))
            throw new SkipTestException($"This machine has no {Cpu.NameOf(isa)}.");
        return new KernelContext(new KernelContextOptions { Isa = isa, Threads = threads });
    }
}

/// <summary>Tells xunit 2.9 to count a running test as skipped.</summary>
internal sealed class SkipTestException(string reason) : Exception("$XunitDynamicSkip$" + reason);
