namespace Kernels.Harness.Accuracy;

/// <summary>The Hadamard transform in float64: Sylvester's levels as butterflies, what they leave of an order as a product with its matrix.</summary>
internal sealed class HadamardOracle
{
    private readonly int _n;
    private readonly int _levels;
    private readonly int _rest;
    private readonly sbyte[] _matrix;

    /// <summary>Makes the oracle of an order.</summary>
    public HadamardOracle(int n)
    {
        _n = n;
        // An order has the bases of its half, while that has any.
        for (_rest = n; _rest % 2 == 0 && Hadamard.IsSupported(_rest / 2); _rest /= 2)
            _levels++;
        _matrix = new sbyte[_rest * _rest];
        Hadamard.Matrix(_rest, _matrix);
    }

    /// <summary>The most that tensor cores lose of the Euclidean norm of a block, by cuda_hadamard.h.</summary>
    public double MatrixBound => (40 + _levels + (_levels < 8 ? 0 : 180) + (_rest == 1 ? 0 : 130 + (80 * ((_rest + 15) / 16)))) * Math.ScaleB(1, -24);

    /// <summary>The transform of a block with 1 / sqrt(n), without signs.</summary>
    public double[] Rotate(ReadOnlySpan<double> block, bool isInverse = false)
    {
        var x = block.ToArray();
        int width = 1 << _levels;
        for (int h = 1; h < width; h *= 2)
        {
            for (int i = 0; i < _n; i++)
            {
                if ((i & h) == 0)
                    (x[i], x[i + h]) = (x[i] + x[i + h], x[i] - x[i + h]);
            }
        }

        var y = new double[_n];
        double scale = 1 / Math.Sqrt(_n);
        for (int row = 0; row < _rest; row++)
        {
            for (int s = 0; s < width; s++)
            {
                double sum = 0;
                for (int col = 0; col < _rest; col++)
                    sum += _matrix[isInverse ? col * _rest + row : row * _rest + col] * x[col * width + s];
                y[row * width + s] = sum * scale;
            }
        }

        return y;
    }

    /// <summary>The most that an output in binary32 may differ from that of <see cref="Rotate"/>: half a unit, against the sum of all
    /// magnitudes, for each addition on the way of an input, for the scale and for the product with it.</summary>
    public double BoundFor(ReadOnlySpan<double> block)
    {
        double magnitudes = 0;
        foreach (double value in block)
            magnitudes += Math.Abs(value);
        double roundings = _levels + (_rest == 1 ? 0 : _rest / 4.0 + 1) + 2;
        return roundings * Math.ScaleB(1.001, -24) * magnitudes / Math.Sqrt(_n);
    }
}
