using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Benchmarks;

/// <summary>What rotation does to the error of quantization.</summary>
/// <param name="Source">The activations.</param>
/// <param name="Type">S8 or S4, per token.</param>
/// <param name="PlainDb">Signal to quantization noise as they are, in dB.</param>
/// <param name="RotatedDb">The same after a rotation of every token.</param>
internal sealed record RotationGain(string Source, ElementType Type, double PlainDb, double RotatedDb);

/// <summary>What rotation costs beside the GEMM that follows.</summary>
/// <param name="M">Tokens.</param>
/// <param name="Size">Channels, in and out.</param>
/// <param name="RotateNs">Time of the rotation, in place.</param>
/// <param name="QuantizeNs">Time of the quantization to S4 per token.</param>
/// <param name="GemmNs">Time of the W4A4 GEMM.</param>
internal sealed record RotationCost(int M, int Size, double RotateNs, double QuantizeNs, double GemmNs)
{
    /// <summary>Rotation and quantization as a share of the GEMM.</summary>
    public double Share => (RotateNs + QuantizeNs) / GemmNs;
}

/// <summary>What rotation is for: the error of quantized activations before and after, and the time that it takes.</summary>
internal static class RotationStudy
{
    private const int MaxTokens = 512;

    /// <summary>The errors on some activations.</summary>
    public static IEnumerable<RotationGain> Gains(KernelContext context, IActivationSource source)
    {
        float[] plain = source.Tokens(MaxTokens);
        int rows = plain.Length / source.Channels;
        float[] rotated = [.. plain];
        Hadamard.Rotate<float>(context, new HadamardOptions(source.Channels), rows, source.Channels, rotated.AsSpan());
        foreach (ElementType type in new[] { ElementType.S8, ElementType.S4 })
        {
            yield return new RotationGain(
                source.Name, type, SignalToNoise(context, type, rows, source.Channels, plain), SignalToNoise(context, type, rows, source.Channels, rotated));
        }
    }

    /// <summary>The times, taken in turns.</summary>
    public static RotationCost Cost(KernelContext context, Interleaver interleaver, int m, int size, long seed)
    {
        var tokens = new SyntheticActivations(m, size, (ulong)seed).ToArray();
        using PackedWeights weights = PackedWeights.FromFloat<float>(
            context, new WeightsShape(ElementType.S4, size, size), new SyntheticWeights(size, size, (ulong)seed).ToArray());
        var rotation = new HadamardOptions(size);
        var quantization = new QuantizeOptions(ElementType.S4, Granularity.Token);
        QuantizedTensor quantized = Quantizer.Quantize<float>(context, quantization, m, size, tokens);
        var output = new float[m * size];
        double[] times = interleaver.Medians(
        [
            () => Hadamard.Rotate<float>(context, rotation, m, size, tokens.AsSpan()),
            () => Quantizer.Quantize<float>(context, quantization, m, size, tokens, quantized.Codes, quantized.Scales),
            () => Gemm.Run(context, weights, m, Activations.Of(quantized), new GemmOutput<float>(output)),
        ],
        threads: 1);
        return new RotationCost(m, size, times[0], times[1], times[2]);
    }

    // The norm of a token is the same before and after rotation, so errors can be compared where they are made.
    private static double SignalToNoise(KernelContext context, ElementType type, int rows, int cols, float[] values)
    {
        Quantizer.Quantize<float>(context, new QuantizeOptions(type, Granularity.Token), rows, cols, values, out QuantizeError error);
        double power = 0;
        foreach (float value in values)
            power += (double)value * value;
        return 10 * Math.Log10(power / values.Length / error.MeanSquaredError);
    }
}
