namespace Kernels;

/// <summary>Which Hadamard rotation on a device: y = c D2 H D1 x for every block x of a row.</summary>
/// <param name="N">Elements of a block, at most 32768, with a matrix (<see cref="Hadamard.IsSupported"/>).</param>
/// <param name="Normalized">Whether c is 1 / sqrt(N), which makes the rotation orthogonal, or 1.</param>
/// <param name="Inverse">Whether to undo it: the transposed matrix, and the signs in the other order. Without normalization that inverts up to
/// a factor N.</param>
public readonly record struct CudaHadamardOptions(long N, bool Normalized = true, bool Inverse = false)
{
    /// <summary>D1, one bit per element of a block, set where it is negated before the transform; null for none.
    /// <see cref="Hadamard.RandomSigns"/> makes some.</summary>
    public CudaBuffer<byte>? SignsBefore { get; init; }

    /// <summary>D2, the same after the transform.</summary>
    public CudaBuffer<byte>? SignsAfter { get; init; }

    /// <summary>Whether tensor cores may take part in a rotation of <see cref="Half"/> or <see cref="BFloat16"/>. Its results are then not the
    /// CPU's bits: before it is rounded to the type, a block of N = m 2^k elements, where m is 1 or the order of a base, is off by less than
    /// (40 + k, + 180 from k = 8 on, + 130 + 80 ceil(m / 16) with a base) * 2^-24 of its Euclidean norm, each element and all together. What
    /// tensor cores do not do, such as <see cref="float"/>, has the CPU's bits as ever. Steps of <see cref="Fused"/> do not take it.</summary>
    public bool TensorCores { get; init; }
}
