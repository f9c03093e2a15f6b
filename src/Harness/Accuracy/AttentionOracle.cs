using Kernels.Harness.Cases;

namespace Kernels.Harness.Accuracy;

/// <summary>What attention looks at, beyond the tensors.</summary>
/// <param name="Heads">Query heads.</param>
/// <param name="Full">Whether tokens behind the query's are visible.</param>
/// <param name="Window">Tokens that a query token sees; 0 for no window.</param>
/// <param name="SinkTokens">First tokens that stay visible beyond it.</param>
/// <param name="SoftCap">Bound of the scores; 0 for none.</param>
/// <param name="SinkLogits">By head, or null.</param>
/// <param name="AlibiSlopes">By head, or null.</param>
internal sealed record AttentionWay(
    int Heads, bool Full = false, long Window = 0, long SinkTokens = 0, float SoftCap = 0, float[]? SinkLogits = null, float[]? AlibiSlopes = null);

/// <summary>One row of attention in float64.</summary>
/// <param name="Values">The result on the keys and values that the cache gives back.</param>
/// <param name="Bounds">How far the contract lets a kernel be from each.</param>
/// <param name="Unquantized">The result on the keys and values that went in.</param>
/// <param name="LogSumExp">The logarithm of the denominator.</param>
/// <param name="LogSumExpBound">How far the contract lets a kernel be from it.</param>
internal sealed record AttentionRow(double[] Values, double[] Bounds, double[] Unquantized, double LogSumExp, double LogSumExpBound);

/// <summary>Attention written as attention.h defines it, one row at a time, with the bound that the header derives.</summary>
/// <param name="cache">Format of the cache.</param>
/// <param name="way">What is computed.</param>
/// <param name="kvHeads">KV heads.</param>
/// <param name="dim">Elements of a head.</param>
/// <param name="keys">Keys that went in; token t is at t modulo their number.</param>
/// <param name="values">Likewise values.</param>
/// <param name="kept">Keys as the cache gives them back, of all tokens.</param>
/// <param name="keptValues">Likewise values.</param>
/// <param name="onTensorCores">Whether tensor cores add, as cuda_attention.h says, 16 terms and the sum before at a time.</param>
internal sealed class AttentionOracle(
    KvScheme cache, AttentionWay way, int kvHeads, int dim, float[] keys, float[] values, float[] kept, float[] keptValues,
    bool onTensorCores = false)
{
    // What tensor cores lose when they add once, and the products of a step and the steps of a block, all in cuda_attention.h.
    private const int StepRoundings = 40, StepTerms = 16, BlockSteps = 4;

    private const double Eps = GemmOracle.UnitRoundoff;
    private const int Block = 64;

    private int Width => kvHeads * dim;

    private int Tokens => kept.Length / Width;

    private bool IsInteger => cache.Type is ElementType.S8 or ElementType.S4 or ElementType.U4;

    /// <summary>The row of a query at a position.</summary>
    public AttentionRow Row(ReadOnlySpan<float> query, int head, int position)
    {
        int kvHead = head / (way.Heads / kvHeads);
        double scale = (float)(1 / Math.Sqrt(dim));
        var scores = new double[Tokens];
        var plain = new double[Tokens];
        double error = 0;
        for (int t = 0; t < Tokens; t++)
        {
            scores[t] = plain[t] = double.NegativeInfinity;
            if (!IsVisible(position, t))
                continue;
            ReadOnlySpan<float> k = kept.AsSpan((t * Width) + (kvHead * dim), dim);
            (double product, double absolute) = Dot(query, k);
            scores[t] = Adjust(product * scale, head, position, t);
            plain[t] = Adjust(Dot(query, keys.AsSpan(((t * Width) + (kvHead * dim)) % keys.Length, dim)).Product * scale, head, position, t);
            double sums = onTensorCores ? StepRoundings * ((dim + StepTerms - 1) / StepTerms) : dim;
            double rounding = ((sums + 8) * Eps * absolute * scale) + (6 * Eps * (Math.Abs(product * scale) + Math.Abs(scores[t])))
                + (8 * Eps * way.SoftCap) + (2 * Eps * Math.Abs(position - t) * (way.AlibiSlopes?[head] ?? 0));
            error = Math.Max(error, rounding + (scale * QueryError(query, k, kvHead, t, absolute)));
        }

        double sink = way.SinkLogits?[head] ?? double.NegativeInfinity;
        (double[] exact, double[] spread, double highest, double sum) = Mix(scores, sink, keptValues, kvHead);
        double terms = onTensorCores ? ((BlockSteps * StepRoundings) + 1) * ((Tokens / Block) + 1) : IsInteger ? Tokens / 16.0 : Tokens;
        double roundings = (terms + 100) * Eps;
        var bounds = new double[dim];
        for (int i = 0; i < dim && sum > 0; i++)
        {
            double weights = IsInteger ? WeightError(scores, highest, kvHead, i) / sum : cache.Type == ElementType.F32 ? 0 : spread[i] / 256;
            bounds[i] = (spread[i] * (Math.Exp(2 * error) * (1 + roundings) - 1)) + (weights * Math.Exp(2 * error));
        }

        double logSumExp = highest + Math.Log(sum);
        double logarithm = onTensorCores ? (4 * Eps) + (2 * Eps * (Math.Log(Tokens + 1) + Math.Abs(logSumExp))) : 0;
        double logSumExpBound = (2 * error) + roundings + (2 * Eps * Math.Abs(highest)) + (Eps * Math.Abs(logSumExp)) + logarithm;
        return new AttentionRow(exact, bounds, Mix(plain, sink, values, kvHead).Mixed, logSumExp, logSumExpBound);
    }

    private static (double Product, double Absolute) Dot(ReadOnlySpan<float> q, ReadOnlySpan<float> k)
    {
        double product = 0, absolute = 0;
        for (int i = 0; i < q.Length; i++)
        {
            double term = (double)q[i] * k[i];
            product += term;
            absolute += Math.Abs(term);
        }

        return (product, absolute);
    }

    private bool IsVisible(int position, int token)
    {
        int behind = position - token;
        if (!way.Full && behind < 0)
            return false;
        return way.Window == 0 || token < way.SinkTokens || Math.Abs(behind) < way.Window;
    }

    private double Adjust(double score, int head, int position, int token)
    {
        if (way.SoftCap > 0)
            score = way.SoftCap * Math.Tanh(score / way.SoftCap);
        return score - (Math.Abs(position - token) * (double)(way.AlibiSlopes?[head] ?? 0));
    }

    /// <summary>How far rounding the query to what is multiplied may move q . k.</summary>
    private double QueryError(ReadOnlySpan<float> query, ReadOnlySpan<float> k, int kvHead, int token, double absolute)
    {
        if (!IsInteger)
            return cache.Type == ElementType.F32 ? 0 : absolute / 256;
        double largest = 0, codes = 0;
        bool isGrouped = cache.Granularity == KvGranularity.Channel;
        if (isGrouped && token >= Tokens / cache.KeyGroup * cache.KeyGroup)
            return 0;
        for (int i = 0; i < query.Length; i++)
        {
            double step = isGrouped ? ChannelScale(kvHead, token, i) : 1;
            largest = Math.Max(largest, Math.Abs(query[i]) * step);
            codes += step == 0 ? 0 : Math.Abs(k[i]) / step;
        }

        return largest / 254 * codes * (1 + (8 * Eps));
    }

    private double ChannelScale(int kvHead, int token, int channel)
    {
        int first = token / cache.KeyGroup * cache.KeyGroup;
        float low = 0, high = 0;
        for (int t = first; t < first + cache.KeyGroup; t++)
        {
            float x = keys[((t * Width) + (kvHead * dim) + channel) % keys.Length];
            low = Math.Min(low, x);
            high = Math.Max(high, x);
        }

        return ScaleOf(low, high);
    }

    private double ScaleOf(float low, float high) => cache.Type switch
    {
        ElementType.S8 => Math.Max(-low, high) / 127.0,
        ElementType.S4 => Math.Max(-low, high) / 7.0,
        _ => ((double)high - low) / 15,
    };

    /// <summary>Weighted sums of values over the denominator, and those of their magnitudes.</summary>
    private (double[] Mixed, double[] Spread, double Highest, double Sum) Mix(double[] scores, double sink, float[] source, int kvHead)
    {
        double highest = Math.Max(sink, scores.Max()), sum = double.IsInfinity(sink) ? 0 : Math.Exp(sink - highest);
        var mixed = new double[dim];
        var spread = new double[dim];
        for (int t = 0; t < Tokens; t++)
        {
            if (double.IsInfinity(scores[t]))
                continue;
            double weight = Math.Exp(scores[t] - highest);
            sum += weight;
            ReadOnlySpan<float> v = source.AsSpan(((t * Width) + (kvHead * dim)) % source.Length, dim);
            for (int i = 0; i < dim; i++)
            {
                mixed[i] += weight * v[i];
                spread[i] += weight * Math.Abs(v[i]);
            }
        }

        for (int i = 0; i < dim && sum > 0; i++)
        {
            mixed[i] /= sum;
            spread[i] /= sum;
        }

        return (mixed, spread, highest, sum);
    }

    /// <summary>What rounding weights to u8 may add up to, before it is divided by the denominator.</summary>
    private double WeightError(double[] scores, double highest, int kvHead, int channel)
    {
        double error = 0;
        for (int block = 0; block < Tokens; block += Block)
        {
            double largest = 0, codes = 0;
            for (int t = block; t < Math.Min(Tokens, block + Block); t++)
            {
                ReadOnlySpan<float> source = values.AsSpan(((t * Width) + (kvHead * dim)) % values.Length, dim);
                float low = 0, high = 0;
                foreach (float x in source)
                {
                    low = Math.Min(low, x);
                    high = Math.Max(high, x);
                }

                double step = ScaleOf(low, high);
                largest = Math.Max(largest, double.IsInfinity(scores[t]) ? 0 : Math.Exp(scores[t] - highest) * step);
                codes += step == 0 ? 0 : Math.Abs(keptValues[(t * Width) + (kvHead * dim) + channel]) / step;
            }

            error += largest / 510 * codes * 1.01;
        }

        return error;
    }
}
