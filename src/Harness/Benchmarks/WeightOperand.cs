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
        var shape = new WeightsShape(scheme.Format, layer.N, layer.K, scheme.GroupSize);
        QuantizedTensor tensor = Quantizer.Quantize<float>(quantizing, shape.ToQuantizeOptions(), layer.N, layer.K, layer.Weights);
        var oracle = new OracleWeights(shape, tensor.Codes, tensor.CodesStrideBytes, tensor.Scales, tensor.ZeroPoints);

        var first = PackedWeights.Pack(packing, tensor);
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

    // The layers of toy models are so small that they would need thousands; they live in caches in real use, too.
    private const int MaxCopies = 256;
}
