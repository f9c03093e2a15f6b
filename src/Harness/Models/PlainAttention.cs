namespace Kernels.Harness.Models;

/// <summary>Causal attention over float keys and values, written out: the reference that kernels are compared
/// with.</summary>
/// <param name="config">The model.</param>
/// <param name="capacity">The longest sequence.</param>
internal sealed class PlainAttention(LlamaConfig config, int capacity)
{
    private readonly float[] _scores = new float[capacity];

    /// <summary>Attention of the last tokens of a sequence: each sees the tokens before it and itself.</summary>
    /// <param name="length">Tokens of the sequence.</param>
    /// <param name="keys">[length][KV heads][head dimension].</param>
    /// <param name="values">As many.</param>
    /// <param name="tokens">How many of them have a query.</param>
    /// <param name="queries">[tokens][heads][head dimension].</param>
    /// <param name="output">Receives as many.</param>
    public void Attend(
        int length, ReadOnlySpan<float> keys, ReadOnlySpan<float> values, int tokens, ReadOnlySpan<float> queries, Span<float> output)
    {
        int dim = config.HeadDim;
        for (int token = 0; token < tokens; token++)
        {
            int visible = length - tokens + token + 1;
            for (int head = 0; head < config.Heads; head++)
            {
                int at = (token * config.Heads + head) * dim;
                int start = head / (config.Heads / config.KvHeads) * dim;
                AttendHead(visible, keys[start..], values[start..], queries.Slice(at, dim), output.Slice(at, dim));
            }
        }
    }

    // One query over the first tokens of a KV head.
    private void AttendHead(
        int visible, ReadOnlySpan<float> keys, ReadOnlySpan<float> values, ReadOnlySpan<float> query, Span<float> output)
    {
        int dim = config.HeadDim, stride = config.KvDim;
        float scale = 1 / MathF.Sqrt(dim);
        Span<float> scores = _scores.AsSpan(0, visible);
        for (int i = 0; i < visible; i++)
        {
            scores[i] = LlamaMath.Dot(query, keys.Slice(i * stride, dim)) * scale;
        }

        LlamaMath.Softmax(scores);
        output.Clear();
        for (int i = 0; i < visible; i++)
        {
            ReadOnlySpan<float> value = values.Slice(i * stride, dim);
            for (int d = 0; d < dim; d++)
            {
                output[d] += scores[i] * value[d];
            }
        }
    }
}
