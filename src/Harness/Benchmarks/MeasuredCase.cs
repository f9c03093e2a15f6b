using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>A case with its operands in place: it can be called, and its result checked.</summary>
internal abstract class MeasuredCase : IDisposable
{
    /// <summary>One call. Allocates nothing.</summary>
    public abstract void Invoke();

    /// <summary>Operations of a call; null for ops that are not counted in operations.</summary>
    public abstract double? Operations { get; }

    /// <summary>Bytes that a call must move: operands read once, results written once.</summary>
    public abstract double BytesMoved { get; }

    /// <summary>Memory of the case.</summary>
    public abstract CaseBytes Bytes { get; }

    /// <summary>What a call needs of the machine; empty for the reference, which no ceiling is fair to.</summary>
    public abstract IReadOnlyList<Demand> Demands { get; }

    /// <summary>What bounds the case where no ceiling of the machine does: a plain loop over the same memory, timed in turns with it.</summary>
    public virtual Yardstick? Yardstick => null;

    /// <summary>Checks the result of the last call.</summary>
    public abstract (KernelError Kernel, QuantizationError? Quantization) Check();

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Work of the same bytes as a case's that does nothing else.</summary>
/// <param name="Name">Its name in results, as ceilings have one.</param>
/// <param name="Bytes">Bytes that it reads and writes.</param>
/// <param name="Invoke">Runs it once.</param>
internal sealed record Yardstick(string Name, double Bytes, Action Invoke);
