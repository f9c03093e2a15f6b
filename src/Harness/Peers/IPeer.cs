namespace Kernels.Harness.Peers;

/// <summary>Another library that does the same work. Optional: found at run time, or not.</summary>
internal interface IPeer
{
    /// <summary>The library.</summary>
    string Name { get; }

    /// <summary>The version as the library tells it.</summary>
    string Version { get; }

    /// <summary>Prepares what the library offers for Y[M,N] = X[M,K] . W[N,K]^T in a cell, on so many threads: every function that a
    /// user of the cell would consider. Packing happens here, outside the time.</summary>
    /// <param name="problem">Cell, shape and operands.</param>
    /// <param name="threads">Threads.</param>
    /// <returns>The calls, each prepared when it is asked for; none when the library has nothing for the cell but a slow reference.</returns>
    /// <exception cref="PeerFailedException">The library has what is asked for, and fails to prepare it.</exception>
    IEnumerable<IPeerCall> PrepareGemm(PeerProblem problem, int threads);

    /// <summary>Prepares what the library offers for a Hadamard rotation. Outputs are told normalized, by block and place in it.</summary>
    /// <param name="problem">Shape and operands.</param>
    /// <param name="threads">Threads.</param>
    /// <returns>The prepared calls; none when the library has nothing for it.</returns>
    /// <exception cref="PeerFailedException">The library has what is asked for, and fails to prepare it.</exception>
    IEnumerable<IPeerCall> PrepareHadamard(HadamardProblem problem, int threads) => [];

    /// <summary>Prepares what the library offers for attention over a cache. Outputs are told by query token of the batch, and by channel of
    /// the query heads one after the other.</summary>
    /// <param name="problem">Shape and operands.</param>
    /// <param name="threads">Threads.</param>
    /// <returns>The prepared calls; none when the library has nothing for it.</returns>
    /// <exception cref="PeerFailedException">The library has what is asked for, and fails to prepare it.</exception>
    IEnumerable<IPeerCall> PrepareAttention(AttentionProblem problem, int threads) => [];
}

/// <summary>A call that is ready to be timed.</summary>
internal interface IPeerCall : IDisposable
{
    /// <summary>The function that runs, such as "sgemm" or "matmul s8 x s8".</summary>
    string Function { get; }

    /// <summary>What the call takes, what its time includes, and how exact it is.</summary>
    PeerTraits Traits { get; }

    /// <summary>One call.</summary>
    void Invoke();

    /// <summary>An output of the last call, finished by what the library leaves to its user.</summary>
    float Output(long m, long n);
}

/// <summary>The activations that a call reads.</summary>
internal enum PeerInput
{
    /// <summary>Those of our call: codes that were quantized before, or floats of the cell's type.</summary>
    OfCell,

    /// <summary>The layer's f32 activations, which the call itself may quantize.</summary>
    Floats,
}

/// <summary>How a call quantizes activations inside its time.</summary>
internal enum PeerQuantization
{
    /// <summary>It does not.</summary>
    None,

    /// <summary>To s8 with one scale for each block of a token.</summary>
    PerBlock,

    /// <summary>To u8 with one scale and zero point for the whole tensor.</summary>
    PerTensor,
}

/// <summary>What a call takes and how exact it is, from which its allowed error follows (<see cref="PeerCheck"/>).</summary>
/// <param name="Input">The activations it reads.</param>
/// <param name="Quantization">What it quantizes inside its time.</param>
/// <param name="BlockSize">Elements of a block of <see cref="PeerQuantization.PerBlock"/>.</param>
/// <param name="WeightRoundoff">Relative rounding of a weight before it is multiplied: 2^-9 where it becomes a bfloat16.</param>
/// <param name="Note">What is not like our call, in a few words; null when nothing is.</param>
internal sealed record PeerTraits(
    PeerInput Input, PeerQuantization Quantization = PeerQuantization.None, int BlockSize = 0, double WeightRoundoff = 0, string? Note = null)
{
    /// <summary>Relative rounding of a bfloat16: 8 bits of fraction.</summary>
    public const double Bf16Roundoff = 1.0 / 512;
}

/// <summary>A library was found and cannot be used; the message says why, to go into a sentence.</summary>
internal sealed class PeerUnusableException(string reason) : Exception(reason);

/// <summary>A library that was found fails at a call; the message says what it says.</summary>
internal sealed class PeerFailedException(string reason) : Exception(reason);
