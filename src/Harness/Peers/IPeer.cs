namespace Kernels.Harness.Peers;

/// <summary>Another library that does the same work. Optional: found at run time, or not.</summary>
internal interface IPeer
{
    /// <summary>The library.</summary>
    string Name { get; }

    /// <summary>The version as the library tells it.</summary>
    string Version { get; }

    /// <summary>Prepares Y[M,N] = X[M,K] . W[N,K]^T on so many threads.</summary>
    /// <param name="problem">Shape and data.</param>
    /// <param name="threads">Threads.</param>
    /// <returns>The prepared call; null when the peer cannot do it.</returns>
    IPeerCall? PrepareGemm(PeerGemm problem, int threads);
}

/// <summary>A float GEMM for a peer.</summary>
/// <param name="M">Rows of activations.</param>
/// <param name="N">Output channels.</param>
/// <param name="K">Inputs.</param>
/// <param name="Activations">X, M rows of K.</param>
/// <param name="Weights">W, N rows of K.</param>
/// <param name="ColdBytes">Weights are rotated over copies of so many bytes together, so that they come from memory; 0 for one copy.</param>
internal sealed record PeerGemm(long M, long N, long K, float[] Activations, float[] Weights, long ColdBytes);

/// <summary>A call that is ready to be timed.</summary>
internal interface IPeerCall : IDisposable
{
    /// <summary>The function that runs, such as "sgemm".</summary>
    string Function { get; }

    /// <summary>One call.</summary>
    void Invoke();

    /// <summary>An output of the last call.</summary>
    float Output(long m, long n);
}
