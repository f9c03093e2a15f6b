using System.Numerics;
using System.Runtime.InteropServices;

namespace Kernels.Harness.Models;

/// <summary>The float arithmetic between the linear layers.</summary>
internal static class LlamaMath
{
    /// <summary>The dot product of two vectors of the same length.</summary>
    public static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        ReadOnlySpan<Vector<float>> aLanes = MemoryMarshal.Cast<float, Vector<float>>(a), bLanes = MemoryMarshal.Cast<float, Vector<float>>(b);
        // Two chains of additions, so that one waits while the other works.
        Vector<float> even = Vector<float>.Zero, odd = Vector<float>.Zero;
        int i = 0;
        for (; i + 2 <= aLanes.Length; i += 2)
        {
            even += aLanes[i] * bLanes[i];
            odd += aLanes[i + 1] * bLanes[i + 1];
        }

        if (i < aLanes.Length)
        {
            even += aLanes[i] * bLanes[i];
        }

        float sum = Vector.Sum(even + odd);
        for (i = aLanes.Length * Vector<float>.Count; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }

    /// <summary>RMSNorm of rows: x / sqrt(mean(x^2) + epsilon) * weight.</summary>
    public static void RmsNorm(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float epsilon, Span<float> y)
    {
        int width = weight.Length;
        for (int start = 0; start < x.Length; start += width)
        {
            ReadOnlySpan<float> row = x.Slice(start, width);
            float scale = 1 / MathF.Sqrt(Dot(row, row) / width + epsilon);
            for (int i = 0; i < width; i++)
            {
                y[start + i] = row[i] * scale * weight[i];
            }
        }
    }

    /// <summary>SwiGLU: gate becomes silu(gate) * up, silu(x) = x / (1 + e^-x).</summary>
    public static void SwiGlu(Span<float> gate, ReadOnlySpan<float> up)
    {
        for (int i = 0; i < gate.Length; i++)
        {
            gate[i] = gate[i] / (1 + MathF.Exp(-gate[i])) * up[i];
        }
    }

    /// <summary>Adds b to a.</summary>
    public static void Add(Span<float> a, ReadOnlySpan<float> b)
    {
        for (int i = 0; i < a.Length; i++)
        {
            a[i] += b[i];
        }
    }

    /// <summary>Softmax of a vector in place.</summary>
    public static void Softmax(Span<float> scores)
    {
        float largest = float.NegativeInfinity, sum = 0;
        foreach (float score in scores)
        {
            largest = MathF.Max(largest, score);
        }

        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = MathF.Exp(scores[i] - largest);
            sum += scores[i];
        }

        float inverse = 1 / sum;
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] *= inverse;
        }
    }

    /// <summary>The negative logarithm of the probability that logits give to a token, in nats.</summary>
    public static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int token)
    {
        float largest = float.NegativeInfinity;
        foreach (float logit in logits)
        {
            largest = MathF.Max(largest, logit);
        }

        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp((double)logit - largest);
        }

        return largest + Math.Log(sum) - logits[token];
    }
}
