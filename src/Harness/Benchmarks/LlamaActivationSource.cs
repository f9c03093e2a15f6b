using Kernels.Harness.Models;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Benchmarks;

/// <summary>The residual stream of a Llama model before one of its layers, over a text that the model writes itself: the same in every
/// run.</summary>
/// <param name="model">The model.</param>
/// <param name="fileName">What it is called.</param>
/// <param name="layer">The layer; after the last one it is their number.</param>
/// <param name="context">What kernels run in.</param>
/// <param name="seed">Of the text.</param>
internal sealed class LlamaActivationSource(Llama model, string fileName, int layer, KernelContext context, long seed) : IActivationSource
{
    // What SentencePiece vocabularies of this family begin a text with.
    private const int BeginToken = 1;

    /// <inheritdoc/>
    public string Name => $"{fileName}, residual stream before layer {layer} of {model.Config.Layers}";

    /// <inheritdoc/>
    public int Channels => model.Config.Dim;

    /// <inheritdoc/>
    public float[] Tokens(int most)
    {
        int tokens = Math.Min(most, model.Config.ContextLength);
        float[] captured = new float[tokens * Channels], logits = new float[model.Config.VocabularySize];
        using var session = new LlamaSession(model, KvScheme.Reference, context, tokens, 1);
        string wanted = $"residual.{layer}";
        session.Observer = (name, _, values) =>
        {
            if (name == wanted)
                values.CopyTo(captured.AsSpan(session.Length * Channels));
        };
        var random = new Xoshiro256((ulong)seed, 0);
        for (int i = 0, token = BeginToken; i < tokens; i++)
        {
            session.Forward([token], logits);
            token = Draw(logits, random.NextUniform());
        }

        return captured;
    }

    // A token by its probability.
    private static int Draw(ReadOnlySpan<float> logits, double uniform)
    {
        float largest = float.NegativeInfinity;
        foreach (float logit in logits)
            largest = Math.Max(largest, logit);
        double total = 0;
        foreach (float logit in logits)
            total += Math.Exp(logit - largest);
        double left = uniform * total;
        for (int token = 0; token < logits.Length; token++)
        {
            left -= Math.Exp(logits[token] - largest);
            if (left < 0)
                return token;
        }

        return logits.Length - 1;
    }
}
