using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Kernels.Harness.Synthetic;

/// <summary>
/// Student's t distribution with 8 degrees of freedom, scaled to variance 1: symmetric, kurtosis 4.5, and tails that
/// fall as a power. By Bailey's polar method (Mathematics of Computation 62, 1994): for a point (u, v) uniform in the
/// unit disc and w = u^2 + v^2, u * sqrt(n * (w^(-2/n) - 1) / w) has n degrees of freedom. For n = 8 the power is two
/// square roots, so no logarithm is needed, and every step is an operation that IEEE 754 defines to the bit.
/// </summary>
internal static class StudentT
{
    /// <summary>
    /// No value is larger: 3e-10 of the distribution is cut, so that what is made of it stays finite in binary16.
    /// </summary>
    public const float Limit = 32;

    private const int DegreesOfFreedom = 8;

    // The variance before scaling is n / (n - 2), so the square of the scale is (n - 2) / n, and n times it is n - 2.
    private const float ScaledDegrees = DegreesOfFreedom - 2;

    private const int Batch = 256;

    /// <summary>Fills <paramref name="destination"/> with independent values.</summary>
    [SkipLocalsInit]
    public static void Fill(ref Xoshiro256 random, Span<float> destination)
    {
        // One more: the loop below writes before it knows whether it keeps the point.
        Span<float> u = stackalloc float[Batch + 1];
        Span<float> w = stackalloc float[Batch + 1];
        while (!destination.IsEmpty)
        {
            int count = Math.Min(Batch, destination.Length);
            DrawPoints(ref random, u, w, count);
            Transform(u[..count], w[..count], destination[..count]);
            destination = destination[count..];
        }
    }

    /// <summary>
    /// Draws points in the square until enough lie in the disc: four of five do. Without a branch, which could not be
    /// foreseen.
    /// </summary>
    private static void DrawPoints(ref Xoshiro256 random, Span<float> u, Span<float> w, int count)
    {
        const int Bits = 24;
        const float ToUnit = 1f / (1 << (Bits - 1));
        int kept = 0;
        while (kept < count)
        {
            ulong bits = random.Next();

            // The middles of 2^24 cells of (-1, 1): exact in binary32, and never zero.
            float x = ((int)(bits >> (64 - Bits)) - (1 << (Bits - 1)) + 0.5f) * ToUnit;
            float y = ((int)((uint)bits >> (32 - Bits)) - (1 << (Bits - 1)) + 0.5f) * ToUnit;
            float square = x * x + y * y;
            u[kept] = x;
            w[kept] = square;
            kept += square < 1f ? 1 : 0;
        }
    }

    private static void Transform(ReadOnlySpan<float> u, ReadOnlySpan<float> w, Span<float> destination)
    {
        ref float pu = ref MemoryMarshal.GetReference(u);
        ref float pw = ref MemoryMarshal.GetReference(w);
        ref float to = ref MemoryMarshal.GetReference(destination);
        int i = 0;
        for (; i <= destination.Length - Vector256<float>.Count; i += Vector256<float>.Count)
        {
            Vector256<float> square = Vector256.LoadUnsafe(ref pw, (nuint)i);
            Vector256<float> root = Vector256.Sqrt(Vector256.Sqrt(square));
            Vector256<float> ratio = (Vector256<float>.One / root - Vector256<float>.One) * ScaledDegrees / square;
            Vector256<float> value = Vector256.LoadUnsafe(ref pu, (nuint)i) * Vector256.Sqrt(ratio);
            value = Vector256.Min(Vector256.Max(value, Vector256.Create(-Limit)), Vector256.Create(Limit));
            value.StoreUnsafe(ref to, (nuint)i);
        }

        // The same operations in the same order, so that a value does not depend on where a row ends.
        for (; i < destination.Length; i++)
        {
            float root = MathF.Sqrt(MathF.Sqrt(w[i]));
            float ratio = (1f / root - 1f) * ScaledDegrees / w[i];
            destination[i] = Math.Clamp(u[i] * MathF.Sqrt(ratio), -Limit, Limit);
        }
    }
}
