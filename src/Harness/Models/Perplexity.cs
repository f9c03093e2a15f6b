using System.Diagnostics;

namespace Kernels.Harness.Models;

/// <summary>How well a model predicts a text.</summary>
/// <param name="Tokens">Tokens that were predicted.</param>
/// <param name="MeanNll">The negative log-likelihood in nats for each of them.</param>
/// <param name="TokensPerSecond">Tokens predicted in a second.</param>
/// <param name="CacheBytesPerToken">Bytes that a token takes in the caches of all layers.</param>
internal sealed record PerplexityResult(long Tokens, double MeanNll, double TokensPerSecond, double CacheBytesPerToken)
{
    /// <summary>e to the mean.</summary>
    public double Perplexity => Math.Exp(MeanNll);
}

/// <summary>Measures perplexity.</summary>
internal static class Perplexity
{
    /// <summary>Lets a model predict every token of some documents from those before it. A document starts afresh,
    /// after the token that begins a sequence; one that is longer than the context is cut into pieces that do so
    /// too.</summary>
    /// <param name="model">The model.</param>
    /// <param name="scheme">How keys and values are kept.</param>
    /// <param name="context">What kernels run in.</param>
    /// <param name="documents">The tokens of each document, without the one that begins a sequence.</param>
    /// <param name="beginToken">That one.</param>
    /// <param name="observer">Is shown activations; null for nobody.</param>
    public static PerplexityResult Measure(
        Llama model, KvScheme scheme, KernelContext context, IReadOnlyList<int[]> documents, int beginToken, ActivationObserver? observer = null)
    {
        int window = model.Config.ContextLength;
        int longest = Math.Min(window, documents.Select(document => document.Length).DefaultIfEmpty(1).Max());
        using var session = new LlamaSession(model, scheme, context, Math.Max(1, longest)) { Observer = observer };
        var logits = new float[session.BlockTokens * model.Config.VocabularySize];
        long tokens = 0;
        double sum = 0;
        long start = Stopwatch.GetTimestamp();
        foreach (int[] document in documents)
        {
            for (int at = 0; at < document.Length; at += window)
            {
                ReadOnlySpan<int> piece = document.AsSpan(at, Math.Min(window, document.Length - at));
                sum += MeasurePiece(session, logits, piece, beginToken, model.Config.VocabularySize);
                tokens += piece.Length;
            }
        }

        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new PerplexityResult(tokens, tokens == 0 ? 0 : sum / tokens, tokens / seconds, session.CacheBytesPerToken);
    }

    private static double MeasurePiece(LlamaSession session, float[] logits, ReadOnlySpan<int> piece, int beginToken, int vocabulary)
    {
        session.Clear();
        // What is fed lags one token behind what is predicted.
        Span<int> fed = new int[piece.Length];
        fed[0] = beginToken;
        piece[..^1].CopyTo(fed[1..]);
        double sum = 0;
        for (int at = 0; at < piece.Length; at += session.BlockTokens)
        {
            int rows = Math.Min(session.BlockTokens, piece.Length - at);
            session.Forward(fed.Slice(at, rows), logits);
            for (int row = 0; row < rows; row++)
            {
                sum += LlamaMath.NegativeLogLikelihood(logits.AsSpan(row * vocabulary, vocabulary), piece[at + row]);
            }
        }

        return sum;
    }
}
