namespace Kernels;

/// <summary>Which Hadamard rotation: y = c D2 H D1 x for every block x of a row.</summary>
/// <param name="N">Elements of a block, with a matrix (<see cref="Hadamard.IsSupported"/>): the width of a row, or the head dimension.</param>
/// <param name="Normalized">Whether c is 1 / sqrt(N), which makes the rotation orthogonal, or 1.</param>
/// <param name="Inverse">Whether to undo it: the transposed matrix, and the signs in the other order. Without normalization that inverts up to
/// a factor N.</param>
public readonly record struct HadamardOptions(long N, bool Normalized = true, bool Inverse = false)
{
    /// <summary>D1, one bit per element of a block, set where it is negated before the transform; empty for none.
    /// <see cref="Hadamard.RandomSigns"/> makes some.</summary>
    public ReadOnlyMemory<byte> SignsBefore { get; init; }

    /// <summary>D2, the same after the transform.</summary>
    public ReadOnlyMemory<byte> SignsAfter { get; init; }
}
