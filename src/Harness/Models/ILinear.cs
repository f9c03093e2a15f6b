namespace Kernels.Harness.Models;

/// <summary>A linear layer Y[rows, N] = X[rows, K] . W[N, K]^T, whichever way its weights are kept.</summary>
internal interface ILinear
{
    /// <summary>The name of the weight in its file.</summary>
    string Name { get; }

    /// <summary>N.</summary>
    int Outputs { get; }

    /// <summary>K.</summary>
    int Inputs { get; }

    /// <summary>Multiplies.</summary>
    /// <param name="rows">Rows of both matrices.</param>
    /// <param name="x">rows * K floats.</param>
    /// <param name="y">Receives rows * N floats; does not overlap <paramref name="x"/>.</param>
    void Multiply(int rows, ReadOnlySpan<float> x, Span<float> y);
}

/// <summary>A linear layer with float weights.</summary>
internal sealed class DenseLinear : ILinear
{
    private readonly float[] _weights;

    /// <summary>Makes a layer of N * K weights, row by row.</summary>
    public DenseLinear(string name, int outputs, int inputs, float[] weights)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(weights.LongLength, (long)outputs * inputs);
        Name = name;
        Outputs = outputs;
        Inputs = inputs;
        _weights = weights;
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Outputs { get; }

    /// <inheritdoc/>
    public int Inputs { get; }

    /// <inheritdoc/>
    public void Multiply(int rows, ReadOnlySpan<float> x, Span<float> y)
    {
        for (int n = 0; n < Outputs; n++)
        {
            ReadOnlySpan<float> weights = _weights.AsSpan(n * Inputs, Inputs);
            for (int row = 0; row < rows; row++)
            {
                y[row * Outputs + n] = LlamaMath.Dot(x.Slice(row * Inputs, Inputs), weights);
            }
        }
    }
}
