using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>OpenBLAS in f32: what a product of unquantized matrices costs.</summary>
internal sealed unsafe class OpenBlasPeer : IPeer
{
    private const int RowMajor = 101;
    private const int NoTranspose = 111;
    private const int Transpose = 112;
    private const int MaxHadamard = 1024;

    /// <summary>How to find it: the sonames of distributions first, then what a developer's machine has.</summary>
    public static PeerEntry Entry { get; } = new(
        "OpenBLAS",
        ["libopenblas.so.0", "libopenblas.so", "libopenblas.0.dylib", "libopenblas.dylib", "libopenblas.dll", "openblas.dll"],
        "install libopenblas0 (Debian, Ubuntu) or openblas (Homebrew, vcpkg)", Open);

    private readonly delegate* unmanaged[Cdecl]<int, void> _setThreads;
    private readonly delegate* unmanaged[Cdecl]<int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void> _sgemm;
    private readonly delegate* unmanaged[Cdecl]<int, int, int, int, float, float*, int, float*, int, float, float*, int, void> _sgemv;

    private OpenBlasPeer(nint library, string version)
    {
        Version = version;
        _setThreads = (delegate* unmanaged[Cdecl]<int, void>)PeerCatalog.Export(library, "openblas_set_num_threads");
        _sgemm = (delegate* unmanaged[Cdecl]<int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void>)
            PeerCatalog.Export(library, "cblas_sgemm");
        _sgemv = (delegate* unmanaged[Cdecl]<int, int, int, int, float, float*, int, float*, int, float, float*, int, void>)
            PeerCatalog.Export(library, "cblas_sgemv");
    }

    /// <inheritdoc/>
    public string Name => "OpenBLAS";

    /// <inheritdoc/>
    public string Version { get; }

    private static OpenBlasPeer Open(nint library)
    {
        byte* config = ((delegate* unmanaged[Cdecl]<byte*>)PeerCatalog.Export(library, "openblas_get_config"))();
        return new OpenBlasPeer(library, VersionIn(Marshal.PtrToStringUTF8((nint)config) ?? ""));
    }

    /// <summary>The version and the kernels in a configuration such as
    /// "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY SkylakeX MAX_THREADS=64".</summary>
    internal static string VersionIn(string configuration)
    {
        string[] words = configuration.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        string version = words.FirstOrDefault(word => word.Length > 0 && char.IsAsciiDigit(word[0])) ?? "unknown";
        string? core = words.LastOrDefault(word => word.Any(char.IsAsciiLetterLower) && word != "OpenBLAS");
        return core is null ? version : $"{version} ({core})";
    }

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareGemm(PeerProblem problem, int threads) => problem.IsUsual ? [new Call(this, problem, threads)] : [];

    /// <inheritdoc/>
    public IEnumerable<IPeerCall> PrepareHadamard(HadamardProblem problem, int threads) =>
        problem.Spec.Type == ElementType.F32 && problem.N <= MaxHadamard ? [new HadamardCall(this, problem, threads)] : [];

    // The product with the matrix, as long as anybody would think of it.
    private sealed class HadamardCall : IPeerCall
    {
        private readonly OpenBlasPeer _peer;
        private readonly HadamardProblem _problem;
        private readonly int _threads;
        private readonly float[] _matrix;
        private readonly AlignedBuffer _output;

        public HadamardCall(OpenBlasPeer peer, HadamardProblem problem, int threads)
        {
            _peer = peer;
            _problem = problem;
            _threads = threads;
            int n = problem.N;
            var signs = new sbyte[n * n];
            Hadamard.Matrix(n, signs);
            _matrix = Array.ConvertAll(signs, sign => sign / MathF.Sqrt(n));
            _output = new AlignedBuffer(problem.Values.Length * sizeof(float));
        }

        public string Function => "sgemm by H";

        public PeerTraits Traits { get; } = new(PeerInput.Floats, Note: "not in place");

        public void Invoke()
        {
            _peer._setThreads(_threads);
            int n = _problem.N;
            fixed (float* h = _matrix)
            fixed (float* x = _problem.Values)
            fixed (float* y = _output.AsSpan<float>())
                _peer._sgemm(RowMajor, NoTranspose, Transpose, _problem.Blocks, n, n, 1, x, n, h, n, 0, y, n);
        }

        public float Output(long m, long n) => _output.Slice<float>(m * _problem.N + n, 1)[0];

        public void Dispose()
        {
            _output.Dispose();
            _peer._setThreads(1);
        }
    }

    private sealed class Call : IPeerCall
    {
        private readonly OpenBlasPeer _peer;
        private readonly PeerProblem _problem;
        private readonly int _threads;
        private readonly AlignedBuffer _weights;
        private readonly AlignedBuffer _activations;
        private readonly AlignedBuffer _output;
        private readonly long _weightElements;
        private readonly int _copies;
        private int _next;

        public Call(OpenBlasPeer peer, PeerProblem problem, int threads)
        {
            _peer = peer;
            _problem = problem;
            _threads = threads;
            _weightElements = problem.Spec.N * problem.Spec.K;
            long bytes = _weightElements * sizeof(float);
            _copies = problem.CopiesFor(bytes);
            // Huge pages for the peer too: what is compared is the code, not the allocation.
            _weights = new AlignedBuffer(bytes * _copies);
            _activations = new AlignedBuffer(problem.Spec.M * problem.Spec.K * sizeof(float));
            _output = new AlignedBuffer(problem.Spec.M * problem.Spec.N * sizeof(float));
            for (int copy = 0; copy < _copies; copy++)
                problem.Weights.Dequantized.CopyTo(_weights.Slice<float>(copy * _weightElements, problem.N * problem.K));
            problem.Rows.CopyTo(_activations.AsSpan<float>());
        }

        // For one row a user calls the matrix-vector product.
        public string Function => _problem.M == 1 ? "sgemv" : "sgemm";

        public PeerTraits Traits { get; } = new(PeerInput.Floats, Note: "weights and activations in f32");

        public void Invoke()
        {
            _peer._setThreads(_threads);
            int m = _problem.M, n = _problem.N, k = _problem.K;
            fixed (float* w = _weights.Slice<float>(_next * _weightElements, 1))
            fixed (float* x = _activations.AsSpan<float>())
            fixed (float* y = _output.AsSpan<float>())
            {
                if (m == 1)
                    _peer._sgemv(RowMajor, NoTranspose, n, k, 1, w, k, x, 1, 0, y, 1);
                else
                    _peer._sgemm(RowMajor, NoTranspose, Transpose, m, n, k, 1, x, k, w, k, 0, y, n);
            }

            _next = _next + 1 == _copies ? 0 : _next + 1;
        }

        public float Output(long m, long n) => _output.Slice<float>(m * _problem.N + n, 1)[0];

        public void Dispose()
        {
            _weights.Dispose();
            _activations.Dispose();
            _output.Dispose();
            // Its threads spin for a while after a call and would be in the way of ours.
            _peer._setThreads(1);
        }
    }
}
