namespace Kernels.Harness.Benchmarks;

/// <summary>Takes samples of ceilings.</summary>
internal interface ICeilingProbe
{
    /// <summary>The instruction sequence that runs a ceiling at an instruction set level; null when it has none.</summary>
    string? VariantOf(Ceiling ceiling, Isa isa);

    /// <summary>Runs a ceiling on threads that start together, several times.</summary>
    /// <returns>For each time, 10^9 operations or bytes a second over all threads.</returns>
    double[] Sample(Ceiling ceiling, Isa isa, int threads, int count);
}
