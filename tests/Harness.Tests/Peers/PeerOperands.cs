using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Peers;

namespace Kernels.Harness.Tests.Peers;

/// <summary>A GEMM with its operands, for us and for peers.</summary>
internal sealed class PeerOperands : IDisposable
{
    private readonly KernelContext _context = new();
    private readonly WeightOperand _weights;

    public PeerOperands(string cell, long m, long n, long k, long coldBytes = 0)
    {
        Spec = new GemmSpec(GemmScheme.Parse(cell), m, n, k);
        Layer = LayerData.Synthetic(n, k, m, seed: 3);
        _weights = WeightOperand.Make(_context, _context, Layer, Spec.Cell.Weights, 0);
        string variant = Gemm.Variant(_context, Spec.Cell.Weights.Format, Spec.Cell.Activations, Spec.Cell.Compute) ?? throw new InvalidOperationException($"{cell} has no variant.");
        Own = new GemmCase(Spec, variant, _context, _context, Layer, _weights, 0);
        Problem = new PeerProblem(Spec, new PeerWeights(_weights.Oracle), Own.Activations, Layer.Activations, coldBytes);
    }

    public GemmSpec Spec { get; }

    public LayerData Layer { get; }

    public GemmCase Own { get; }

    public PeerProblem Problem { get; }

    public void Dispose()
    {
        Own.Dispose();
        _weights.Dispose();
        _context.Dispose();
    }
}

/// <summary>A peer in C#: the product in float64, each output changed as a test wants it.</summary>
internal sealed class FakePeer(PeerTraits traits, Func<double, double> change) : IPeer
{
    public string Name => "Fake";

    public string Version => "1.0";

    public int Living { get; private set; }

    /// <summary>What it fails with; null when it does not.</summary>
    public string? Failure { get; init; }

    public IEnumerable<IPeerCall> PrepareGemm(PeerProblem problem, int threads)
    {
        if (Failure is not null)
            throw new PeerFailedException(Failure);
        Living++;
        yield return new Call(this, problem);
    }

    private sealed class Call(FakePeer peer, PeerProblem problem) : IPeerCall
    {
        private int _calls;

        public string Function => "product";

        public PeerTraits Traits => peer.Traits;

        public void Invoke() => _calls++;

        public float Output(long m, long n)
        {
            if (_calls == 0)
                return float.NaN;
            float[] weights = problem.Weights.Dequantized;
            double sum = 0;
            for (int k = 0; k < problem.K; k++)
            {
                double x = Traits.Input == PeerInput.Floats ? problem.Rows[(int)m * problem.K + k]
                    : problem.Activations.IntegerRow(m).Values[k] * (double)problem.Activations.Scales[(int)m];
                sum += x * weights[n * problem.K + k];
            }

            return (float)peer.Change(sum);
        }

        public void Dispose() => peer.Living--;
    }

    private PeerTraits Traits => traits;

    private double Change(double value) => change(value);
}
