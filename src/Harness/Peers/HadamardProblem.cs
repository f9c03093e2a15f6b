using Kernels.Harness.Cases;

namespace Kernels.Harness.Peers;

/// <summary>A rotation that peers are asked to do: of f32, normalized or not, which costs nothing that could be compared.</summary>
/// <param name="Spec">The case.</param>
/// <param name="Values">The matrix.</param>
/// <param name="Copies">Over how many matrices ours is rotated, so that it comes from memory.</param>
internal sealed record HadamardProblem(HadamardSpec Spec, float[] Values, int Copies)
{
    /// <summary>Elements of a block.</summary>
    public int N => (int)Spec.Block;

    /// <summary>Blocks of the matrix.</summary>
    public int Blocks => Values.Length / N;
}
