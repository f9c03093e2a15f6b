using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Peers;

/// <summary>A GEMM for peers: the operands of one of our cases.</summary>
/// <param name="Spec">Cell and shape.</param>
/// <param name="Weights">The quantized weights.</param>
/// <param name="Activations">The activations as our call takes them.</param>
/// <param name="Floats">The activations before any quantization, M rows of K or more.</param>
/// <param name="ColdBytes">Weights are rotated over copies of so many bytes together, so that they come from memory; 0 for one copy.</param>
internal sealed record PeerProblem(GemmSpec Spec, PeerWeights Weights, ActivationOperand Activations, float[] Floats, long ColdBytes)
{
    // As for our own weights: the layers of toy models would need thousands.
    private const int MaxCopies = 256;

    /// <summary>Rows of activations.</summary>
    public int M => (int)Spec.M;

    /// <summary>Output channels.</summary>
    public int N => (int)Spec.N;

    /// <summary>Inputs.</summary>
    public int K => (int)Spec.K;

    /// <summary>Whether a peer can be asked: sizes that every interface takes, no empty product, no groups that cross rows, no adapter and no
    /// fixed outlier columns, whose terms no peer fuses.</summary>
    public bool IsUsual => Spec is { M: > 0, N: > 0, K: > 0, Cell: { LoraRank: 0, Weights.OutlierType: null } }
        && !(Spec.Cell.Weights.IsFlattened && Spec.K % Spec.Cell.Weights.GroupSize != 0)
        && Spec.M * Spec.N <= int.MaxValue && Spec.N * Spec.K <= Array.MaxLength;

    /// <summary>Copies of weights of so many bytes over which calls rotate.</summary>
    public int CopiesFor(long bytes) => (int)Math.Clamp((ColdBytes + bytes - 1) / Math.Max(bytes, 1), 1, MaxCopies);

    /// <summary>The f32 activations, M rows of K.</summary>
    public ReadOnlySpan<float> Rows => Floats.AsSpan(0, M * K);
}

/// <summary>Quantized weights in the forms that peers take. Each is made once, when the first peer asks for it.</summary>
internal sealed class PeerWeights
{
    private readonly OracleWeights _weights;
    private readonly Lazy<float[]> _dequantized;
    private readonly Lazy<sbyte[]> _signed;

    /// <summary>Reads weights.</summary>
    public PeerWeights(OracleWeights weights)
    {
        _weights = weights;
        _dequantized = new Lazy<float[]>(() => Make<float>((n, row) =>
        {
            double[] exact = Row(n);
            for (int k = 0; k < row.Length; k++)
                row[k] = (float)exact[k];
        }));
        _signed = new Lazy<sbyte[]>(() => Make<sbyte>((n, row) =>
        {
            int[] values = _weights.Channel(n).Values;
            for (int k = 0; k < row.Length; k++)
                row[k] = (sbyte)values[k];
        }));
    }

    private delegate void RowWriter<T>(long n, Span<T> row);

    /// <summary>S8, S4, U4 or C4.</summary>
    public ElementType Format => _weights.Shape.Format;

    /// <summary>Whether a weight is an integer times the scale of its group, and groups follow each other: what libraries with integer
    /// weights know.</summary>
    public bool IsPlain => _weights is { Codebook: null, GroupIndex: null, Offsets: null };

    /// <summary>Elements that share a scale: the group size, or K.</summary>
    public int GroupLength => _weights.GroupLength;

    /// <summary>Groups of a channel.</summary>
    public int Groups => _weights.Groups;

    /// <summary>Whether there is one scale per channel.</summary>
    public bool IsPerChannel => _weights.Shape.GroupSize == 0;

    /// <summary>Scales [N][groups].</summary>
    public float[] Scales => _weights.Scales;

    /// <summary>Zero points [N][groups], or null.</summary>
    public int[]? ZeroPoints => _weights.ZeroPoints;

    /// <summary>Codes as our packing takes them: N rows, 4-bit codes two per byte, the lower nibble first.</summary>
    public ReadOnlySpan<byte> Codes => _weights.Codes;

    /// <summary>W in f32, N rows of K.</summary>
    public float[] Dequantized => _dequantized.Value;

    /// <summary>Codes less their zero points, N rows of K. -15 to 15 for u4, so they fit.</summary>
    public sbyte[] Signed => _signed.Value;

    /// <summary>A channel in float64, input by input.</summary>
    public double[] Row(long n)
    {
        OracleChannel channel = _weights.Channel(n);
        var row = new double[channel.Values.Length];
        for (int k = 0; k < row.Length; k++)
        {
            int group = k / channel.GroupLength;
            row[channel.InputOf(k)] = channel.NumberAt(k) * channel.Scales[group] + (channel.Offsets?[group] ?? 0);
        }

        return row;
    }

    /// <summary>W rounded to bfloat16, N rows of K.</summary>
    public void WriteBf16(Span<byte> target) => FloatConvert.FromSingle(ElementType.BF16, Dequantized, target);

    /// <summary>Scales in the order [groups][N].</summary>
    public float[] ScalesByGroup()
    {
        int groups = Groups, n = Scales.Length / groups;
        var turned = new float[Scales.Length];
        for (int channel = 0; channel < n; channel++)
        {
            for (int g = 0; g < groups; g++)
                turned[g * n + channel] = Scales[channel * groups + g];
        }

        return turned;
    }

    /// <summary>Codes less their zero points, K rows of N.</summary>
    public byte[] SignedByInput()
    {
        int n = (int)_weights.Shape.N, k = (int)_weights.Shape.K;
        sbyte[] signed = Signed;
        var turned = new byte[signed.Length];
        // Squares of a few cache lines, because either side alone would miss the cache at every step.
        const int Side = 64;
        Parallel.For(0, (n + Side - 1) / Side, block =>
        {
            int end = Math.Min(n, (block + 1) * Side);
            for (int first = 0; first < k; first += Side)
            {
                for (int row = block * Side; row < end; row++)
                {
                    for (int col = first; col < Math.Min(k, first + Side); col++)
                        turned[col * n + row] = unchecked((byte)signed[row * k + col]);
                }
            }
        });
        return turned;
    }

    /// <summary>4-bit codes with their zero points in, K rows of N, two per byte along N; K and N are even.</summary>
    public byte[] CodesByInput()
    {
        int n = (int)_weights.Shape.N, k = (int)_weights.Shape.K;
        var turned = new byte[n * k / 2];
        Parallel.For(0, n / 2, pair =>
        {
            ReadOnlySpan<byte> low = Codes.Slice(pair * k, k / 2), high = Codes.Slice(pair * k + k / 2, k / 2);
            for (int i = 0; i < k / 2; i++)
            {
                turned[2 * i * (n / 2) + pair] = (byte)(low[i] & 15 | high[i] << 4);
                turned[(2 * i + 1) * (n / 2) + pair] = (byte)(low[i] >> 4 | high[i] & 0xF0);
            }
        });
        return turned;
    }

    private T[] Make<T>(RowWriter<T> write)
    {
        int n = (int)_weights.Shape.N, k = (int)_weights.Shape.K;
        var values = new T[n * k];
        Parallel.For(0, n, row => write(row, values.AsSpan(row * k, k)));
        return values;
    }
}

/// <summary>Finishes outputs of calls that take no scales for tokens: what is left are M x N multiplications, and for u8 a correction.</summary>
/// <param name="problem">The operands.</param>
internal sealed class TokenFinish(PeerProblem problem)
{
    private readonly Dictionary<long, double> _sums = [];

    /// <summary>The output for a sum over codes that the weights' scales have been applied to.</summary>
    public float Apply(long m, long n, double sum)
    {
        int zeroPoint = problem.Activations.ZeroPoints.IsEmpty ? 0 : problem.Activations.ZeroPoints[(int)m];
        return (float)(problem.Activations.Scales[(int)m] * (zeroPoint == 0 ? sum : sum - zeroPoint * SumOf(n)));
    }

    private double SumOf(long n)
    {
        ref double sum = ref CollectionsMarshal.GetValueRefOrAddDefault(_sums, n, out bool isKnown);
        if (!isKnown)
            sum = problem.Weights.Row(n).Sum();
        return sum;
    }
}
