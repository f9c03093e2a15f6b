using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Benchmarks;

/// <summary>Quantized weights of a layer: packed for a context's layout, in as many copies as it takes that they come from memory,
/// and unpacked for the oracle.</summary>
internal sealed class WeightOperand : IDisposable
{
    private readonly PackedWeights[] _copies;

    private WeightOperand(OracleWeights oracle, PackedWeights[] copies)
    {
        Oracle = oracle;
        _copies = copies;
    }

    /// <summary>The weights as the oracle reads them.</summary>
    public OracleWeights Oracle { get; }

    /// <summary>The packed copies; all are equal.</summary>
    public IReadOnlyList<PackedWeights> Copies => _copies;

    /// <summary>Bytes of one copy.</summary>
    public long PackedBytes => _copies[0].PackedBytes;

    /// <summary>Quantizes and packs a layer.</summary>
    /// <param name="quantizing">The context that quantizes; its layout does not matter.</param>
    /// <param name="packing">A context with the layout of those that will run.</param>
    /// <param name="layer">The layer.</param>
    /// <param name="scheme">The format.</param>
    /// <param name="coldBytes">Bytes that all copies together should have; 0 for one copy.</param>
    public static WeightOperand Make(
        KernelContext quantizing, KernelContext packing, LayerData layer, WeightScheme scheme, long coldBytes)
    {
        OracleWeights oracle = Quantize(quantizing, layer, scheme);
        PackedWeights first = WeightStorage.Pack(packing, oracle);
        int count = (int)Math.Clamp((coldBytes + first.PackedBytes - 1) / Math.Max(first.PackedBytes, 1), 1, MaxCopies);
        var copies = new PackedWeights[count];
        copies[0] = first;
        if (count > 1)
        {
            byte[] blob = first.Save();
            for (int i = 1; i < count; i++)
                copies[i] = PackedWeights.Load(packing, blob);
        }

        return new WeightOperand(oracle, copies);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PackedWeights copy in _copies)
            copy.Dispose();
    }

    private static OracleWeights Quantize(KernelContext context, LayerData layer, WeightScheme scheme)
    {
        WeightsShape shape = scheme.ToShape(layer.N, layer.K);
        int[]? groupIndex = WeightStorage.GroupIndexOf(scheme, (int)layer.K);
        int[]? inputs = groupIndex is null ? null : [.. Enumerable.Range(0, groupIndex.Length).OrderBy(k => groupIndex[k])];
        float[] weights = inputs is null ? layer.Weights : Reordered(layer, inputs);
        // Flattened groups are groups of one long row.
        (long rows, long columns) = scheme.IsFlattened ? (1, layer.N * layer.K) : (layer.N, layer.K);
        QuantizedTensor tensor = Quantizer.Quantize<float>(context, shape.ToQuantizeOptions(), rows, columns, weights);
        if (inputs is not null)
            RestoreOrder(tensor, inputs);
        long stride = scheme.IsFlattened ? shape.Format.RowBytes(layer.K) : tensor.CodesStrideBytes;
        OracleWeights made = WeightStorage.Make(scheme, shape, tensor.Codes, stride, tensor.Scales, tensor.ZeroPoints, groupIndex);
        if (scheme.OutlierType is not { } type)
            return made;
        int[] outliers = LargestInputs(layer, (int)shape.OutlierCount);
        return made with { OutlierColumns = outliers, OutlierWeights = KeptWeights(layer, outliers, type) };
    }

    // The inputs with the largest activations, as a calibration would find them.
    private static int[] LargestInputs(LayerData layer, int count)
    {
        var largest = new float[layer.K];
        for (int i = 0; i < layer.Activations.Length; i++)
            largest[i % layer.K] = MathF.Max(largest[i % layer.K], MathF.Abs(layer.Activations[i]));
        return [.. Enumerable.Range(0, (int)layer.K).OrderByDescending(k => largest[k]).Take(count).Order()];
    }

    private static float[] KeptWeights(LayerData layer, int[] outliers, ElementType type)
    {
        var kept = new float[layer.N * outliers.Length];
        for (int row = 0; row < layer.N; row++)
        {
            for (int j = 0; j < outliers.Length; j++)
                kept[(row * outliers.Length) + j] = FloatConvert.Round(type, layer.WeightRow(row)[outliers[j]]);
        }

        return kept;
    }

    // The weights with the inputs of each group beside each other.
    private static float[] Reordered(LayerData layer, int[] inputs)
    {
        var weights = new float[layer.Weights.Length];
        for (int row = 0; row < layer.N; row++)
        {
            ReadOnlySpan<float> source = layer.WeightRow(row);
            Span<float> target = weights.AsSpan(row * inputs.Length, inputs.Length);
            for (int i = 0; i < inputs.Length; i++)
                target[i] = source[inputs[i]];
        }

        return weights;
    }

    private static void RestoreOrder(QuantizedTensor tensor, int[] inputs)
    {
        int[] grouped = new int[inputs.Length], codes = new int[inputs.Length];
        int stride = (int)tensor.CodesStrideBytes;
        for (int row = 0; row < tensor.Rows; row++)
        {
            Span<byte> bytes = tensor.Codes.AsSpan(row * stride, stride);
            CodeReader.Widen(tensor.Options.Type, bytes, grouped);
            for (int i = 0; i < inputs.Length; i++)
                codes[inputs[i]] = grouped[i];
            CodeReader.Narrow(tensor.Options.Type, codes, bytes);
        }
    }

    // The layers of toy models are so small that they would need thousands; they live in caches in real use, too.
    private const int MaxCopies = 256;
}
