using System.Numerics;

namespace Kernels.Harness.Peers;

/// <summary>FFHT of FALCONN: Walsh-Hadamard transforms of powers of two in f32, with AVX, on one thread. It has no releases in packages: who has
/// the source makes a library of fht.c and fast_copy.c and names its folder.</summary>
internal sealed unsafe class FfhtPeer : IPeer
{
    /// <summary>How to find it.</summary>
    public static PeerEntry Entry { get; } = new(
        "FFHT", ["libffht.so", "libffht.dylib", "ffht.dll"], "install a shared library made of its fht.c and fast_copy.c", library => new FfhtPeer(library));

    private readonly delegate* unmanaged[Cdecl]<float*, int, int> _transform;

    private FfhtPeer(nint library) =>
        _transform = (delegate* unmanaged[Cdecl]<float*, int, int>)PeerCatalog.Export(library, "fht_float");

    /// <inheritdoc/>
    public string Name => "FFHT";

    /// <inheritdoc/>
    public string Version => "unversioned";

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareGemm(PeerProblem problem, int threads) => [];

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareHadamard(HadamardProblem problem, int threads) =>
        threads == 1 && problem.Spec.Type == ElementType.F32 && BitOperations.IsPow2(problem.N) && problem.N > 1 ? [new Call(this, problem)] : [];

    // It does not normalize: in place again and again, anything but zeros would grow beyond all bounds. So zeros are what is timed.
    private sealed class Call : IPeerCall
    {
        private readonly FfhtPeer _peer;
        private readonly HadamardProblem _problem;
        private readonly AlignedBuffer _rows;
        private readonly int _levels;
        private float[]? _result;
        private int _next;

        public Call(FfhtPeer peer, HadamardProblem problem)
        {
            _peer = peer;
            _problem = problem;
            _levels = BitOperations.Log2((uint)problem.N);
            _rows = new AlignedBuffer((long)problem.Copies * problem.Values.Length * sizeof(float));
            for (int copy = 0; copy < problem.Copies; copy++)
                _rows.Slice<float>((long)copy * problem.Values.Length, problem.Values.Length).Clear();
        }

        public string Function => "fht_float";

        public PeerTraits Traits { get; } = new(PeerInput.Floats, Note: "not normalized");

        public void Invoke()
        {
            Transform(_rows.Slice<float>((long)_next * _problem.Values.Length, _problem.Values.Length));
            _next = _next + 1 == _problem.Copies ? 0 : _next + 1;
        }

        public float Output(long m, long n)
        {
            if (_result is null)
            {
                _result = [.. _problem.Values];
                Transform(_result);
            }

            return _result[m * _problem.N + n] / MathF.Sqrt(_problem.N);
        }

        public void Dispose() => _rows.Dispose();

        private void Transform(Span<float> rows)
        {
            fixed (float* first = rows)
            {
                for (int block = 0; block < _problem.Blocks; block++)
                    _ = _peer._transform(first + (long)block * _problem.N, _levels);
            }
        }
    }
}
