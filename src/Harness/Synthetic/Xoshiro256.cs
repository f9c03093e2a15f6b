using System.Numerics;
using System.Runtime.CompilerServices;

namespace Kernels.Harness.Synthetic;

/// <summary>
/// xoshiro256** of Blackman and Vigna, seeded by SplitMix64. Integer arithmetic only: the same numbers everywhere, now
/// and later, which System.Random does not promise.
/// </summary>
internal struct Xoshiro256
{
    private const ulong GoldenGamma = 0x9E3779B97F4A7C15;

    private ulong _s0;
    private ulong _s1;
    private ulong _s2;
    private ulong _s3;

    /// <summary>
    /// A generator of its own for each stream of a seed: the rows of a matrix can be made in any order.
    /// </summary>
    public Xoshiro256(ulong seed, ulong stream)
    {
        ulong state = Mix(seed + GoldenGamma) ^ Mix((stream * GoldenGamma) + 1);
        _s0 = Mix(state += GoldenGamma);
        _s1 = Mix(state += GoldenGamma);
        _s2 = Mix(state += GoldenGamma);
        _s3 = Mix(state + GoldenGamma);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Next()
    {
        ulong result = BitOperations.RotateLeft(_s1 * 5, 7) * 9;
        ulong shifted = _s1 << 17;
        _s2 ^= _s0;
        _s3 ^= _s1;
        _s1 ^= _s2;
        _s0 ^= _s3;
        _s2 ^= shifted;
        _s3 = BitOperations.RotateLeft(_s3, 45);
        return result;
    }

    /// <summary>Uniform in [0, 1), a multiple of 2^-53.</summary>
    public double NextUniform() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in 0 .. <paramref name="bound"/> - 1; the bias is below bound / 2^64.</summary>
    public long NextBelow(long bound) => (long)Math.BigMul(Next(), (ulong)bound, out _);

    /// <summary>
    /// Nearly normal: the sum of twelve uniforms less its mean, so between -6 and 6. The sum is exact in integers.
    /// </summary>
    public double NextNormal()
    {
        ulong sum = 0;
        for (int i = 0; i < 6; i++)
        {
            ulong bits = Next();
            sum += (bits >> 32) + (uint)bits;
        }

        // Each of the twelve is in 0 .. 2^32 - 1, with mean 2^31 - 1/2.
        return (sum - 12 * (uint.MaxValue / 2.0)) * (1.0 / (1UL << 32));
    }

    // The finalizer of SplitMix64.
    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
