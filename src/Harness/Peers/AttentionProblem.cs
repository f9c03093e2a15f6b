using Kernels.Harness.Cases;

namespace Kernels.Harness.Peers;

/// <summary>Causal attention that peers are asked to do, over keys and values that no cache has quantized.</summary>
/// <param name="Spec">The case.</param>
/// <param name="Keys">Keys of all KV heads by token, in every sequence the same; token t is at t modulo their number.</param>
/// <param name="Values">Likewise values.</param>
/// <param name="Query">Queries of all heads, by token of the batch.</param>
/// <param name="ColdBytes">Bytes over which caches of decode are rotated; 0 for one cache.</param>
internal sealed record AttentionProblem(AttentionSpec Spec, float[] Keys, float[] Values, float[] Query, long ColdBytes)
{
    /// <summary>Elements of a token's keys.</summary>
    public int Width => (int)(Spec.KvHeads * Spec.HeadDim);

    /// <summary>The keys or values of the first tokens of a sequence.</summary>
    public float[] Tokens(float[] source, int count)
    {
        var tokens = new float[(long)count * Width];
        for (int at = 0; at < tokens.Length; at += source.Length)
            source.AsSpan(0, Math.Min(source.Length, tokens.Length - at)).CopyTo(tokens.AsSpan(at));
        return tokens;
    }

    /// <summary>A head of a token of keys or values.</summary>
    public ReadOnlySpan<float> Head(float[] source, long token, int head) =>
        source.AsSpan((int)(token * Width % source.Length) + (head * (int)Spec.HeadDim), (int)Spec.HeadDim);
}
