using System.Security.Cryptography;
using System.Text;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>What a check found.</summary>
/// <param name="Error">The error of the kernel.</param>
/// <param name="Failure">What is wrong, in a sentence; null when nothing is.</param>
/// <param name="InputHash">SHA-256 of the operands; null when the check has no golden vector.</param>
/// <param name="OutputHash">SHA-256 of the result; null when its bits belong to the variant alone.</param>
internal sealed record CheckOutcome(KernelError Error, string? Failure, string? InputHash, string? OutputHash);

/// <summary>One thing that <c>verify</c> checks: a case with some of the features of its op.</summary>
/// <param name="id">The case.</param>
/// <param name="level">The level whose context runs it.</param>
/// <param name="features">Features such as "bias" or "f16" that the case's id does not tell; they are a sixth part of the check's id.</param>
internal abstract class VerifyCheck(CaseId id, Isa level, IReadOnlyList<string> features)
{
    /// <summary>The case.</summary>
    public CaseId Case => id;

    /// <summary>The level whose context runs it.</summary>
    public Isa Level => level;

    /// <summary>The id of the check: that of the case, and the features.</summary>
    public string Id => features.Count == 0 ? id.ToString() : $"{id}/{string.Join('-', features)}";

    /// <summary>What the golden vectors call it: the same work by any variant on any number of threads.</summary>
    public string GoldenKey => features.Count == 0 ? id.Spec.ToString() : $"{id.Spec}/{string.Join('-', features)}";

    /// <summary>Runs the check.</summary>
    public abstract CheckOutcome Run(ContextPool contexts);

    /// <summary>Whether the check has a feature.</summary>
    protected bool Has(string feature) => features.Contains(feature);

    /// <summary>Random numbers that depend on the work alone, so that every variant sees the same operands.</summary>
    private protected Xoshiro256 RandomOf(ulong stream) => new(Fnv1a(GoldenKey), stream);

    /// <summary>SHA-256 in hexadecimal over some arrays.</summary>
    protected static string Hash(params ReadOnlySpan<ReadOnlyMemory<byte>> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (ReadOnlyMemory<byte> part in parts)
            hash.AppendData(part.Span);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static ulong Fnv1a(string text)
    {
        ulong hash = 0xCBF29CE484222325;
        foreach (byte b in Encoding.UTF8.GetBytes(text))
            hash = unchecked((hash ^ b) * 0x100000001B3);
        return hash;
    }
}
