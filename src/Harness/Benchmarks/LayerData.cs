using Kernels.Harness.Accuracy;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Benchmarks;

/// <summary>The unquantized operands of a linear layer: weights of a model or synthetic ones, and synthetic activations.</summary>
/// <param name="name">The layer of a model; null for synthetic weights.</param>
/// <param name="n">Output channels.</param>
/// <param name="k">Inputs.</param>
/// <param name="weights">N rows of K.</param>
/// <param name="activations">Rows of K, as many as the largest batch.</param>
internal sealed class LayerData(string? name, long n, long k, float[] weights, float[] activations)
{
    private readonly Dictionary<long, double[]> _exact = [];

    /// <summary>The layer of a model; null for synthetic weights.</summary>
    public string? Name => name;

    /// <summary>Output channels.</summary>
    public long N => n;

    /// <summary>Inputs.</summary>
    public long K => k;

    /// <summary>W, N rows of K.</summary>
    public float[] Weights => weights;

    /// <summary>X, rows of K.</summary>
    public float[] Activations => activations;

    /// <summary>Makes a layer with synthetic weights, and activations for batches of up to <paramref name="rows"/>.</summary>
    public static LayerData Synthetic(long n, long k, long rows, long seed) =>
        new(null, n, k, new SyntheticWeights(n, k, (ulong)seed).ToArray(), MakeActivations(rows, k, seed));

    /// <summary>Synthetic activations. A row does not depend on how many there are.</summary>
    public static float[] MakeActivations(long rows, long k, long seed) => new SyntheticActivations(rows, k, (ulong)seed).ToArray();

    /// <summary>A row of activations.</summary>
    public ReadOnlySpan<float> ActivationRow(long m) => activations.AsSpan((int)(m * k), (int)k);

    /// <summary>A row of weights.</summary>
    public ReadOnlySpan<float> WeightRow(long row) => weights.AsSpan((int)(row * k), (int)k);

    /// <summary>The unquantized results in float64 at the sampled rows and columns of a batch, row by row.</summary>
    public double[] Exact(long m)
    {
        if (_exact.TryGetValue(m, out double[]? known))
            return known;

        long[] rows = SampleGrid.Indices(m), columns = SampleGrid.Indices(n);
        var exact = new double[rows.Length * columns.Length];
        Parallel.For(0, rows.Length, i =>
        {
            for (int j = 0; j < columns.Length; j++)
                exact[i * columns.Length + j] = GemmOracle.Unquantized(ActivationRow(rows[i]), WeightRow(columns[j]));
        });
        return _exact[m] = exact;
    }
}
