using System.Runtime.InteropServices;
using Kernels.Harness.Peers;

namespace Kernels.Harness.Devices;

/// <summary>What cuBLASLt multiplies.</summary>
internal enum CublasLtType
{
    /// <summary>bf16, summed in f32, to bf16.</summary>
    Bf16,

    /// <summary>f16, summed in f32, to f16.</summary>
    F16,

    /// <summary>s8, summed in s32, to s32.</summary>
    Int8,
}

/// <summary>cuBLASLt, the library of matrix products that comes with the CUDA toolkit, where it is. The numbers are those of cublasLt.h.</summary>
internal sealed unsafe class CublasLt : IDisposable
{
    /// <summary>Of a call; as much as its samples take on devices of compute capability 9.0.</summary>
    public const long WorkspaceBytes = 64L << 20;

    private const int DescTransposeA = 3, TransposeOp = 1, PreferenceWorkspaceBytes = 1;
    private const int VersionMajor = 10000, VersionMinor = 100;

    private readonly CudaContext _context;
    private readonly delegate* unmanaged[Cdecl]<void*, int> _destroy;
    private readonly delegate* unmanaged[Cdecl]<void**, int, int, int> _descCreate;
    private readonly delegate* unmanaged[Cdecl]<void*, int, void*, nuint, int> _descSet;
    private readonly delegate* unmanaged[Cdecl]<void*, int> _descDestroy;
    private readonly delegate* unmanaged[Cdecl]<void**, int, ulong, ulong, long, int> _layoutCreate;
    private readonly delegate* unmanaged[Cdecl]<void*, int> _layoutDestroy;
    private readonly delegate* unmanaged[Cdecl]<void**, int> _preferenceCreate;
    private readonly delegate* unmanaged[Cdecl]<void*, int, void*, nuint, int> _preferenceSet;
    private readonly delegate* unmanaged[Cdecl]<void*, int> _preferenceDestroy;
    private readonly delegate* unmanaged[Cdecl]<void*, void*, void*, void*, void*, void*, void*, int, Heuristic*, int*, int> _choose;
    private readonly delegate* unmanaged[Cdecl]<
        void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, nuint, void*, int> _multiply;

    private void* _handle;

    private CublasLt(nint library, CudaContext context)
    {
        _context = context;
        _destroy = (delegate* unmanaged[Cdecl]<void*, int>)PeerCatalog.Export(library, "cublasLtDestroy");
        _descCreate = (delegate* unmanaged[Cdecl]<void**, int, int, int>)PeerCatalog.Export(library, "cublasLtMatmulDescCreate");
        _descSet = (delegate* unmanaged[Cdecl]<void*, int, void*, nuint, int>)PeerCatalog.Export(library, "cublasLtMatmulDescSetAttribute");
        _descDestroy = (delegate* unmanaged[Cdecl]<void*, int>)PeerCatalog.Export(library, "cublasLtMatmulDescDestroy");
        _layoutCreate = (delegate* unmanaged[Cdecl]<void**, int, ulong, ulong, long, int>)PeerCatalog.Export(library, "cublasLtMatrixLayoutCreate");
        _layoutDestroy = (delegate* unmanaged[Cdecl]<void*, int>)PeerCatalog.Export(library, "cublasLtMatrixLayoutDestroy");
        _preferenceCreate = (delegate* unmanaged[Cdecl]<void**, int>)PeerCatalog.Export(library, "cublasLtMatmulPreferenceCreate");
        _preferenceSet = (delegate* unmanaged[Cdecl]<void*, int, void*, nuint, int>)PeerCatalog.Export(library, "cublasLtMatmulPreferenceSetAttribute");
        _preferenceDestroy = (delegate* unmanaged[Cdecl]<void*, int>)PeerCatalog.Export(library, "cublasLtMatmulPreferenceDestroy");
        _choose = (delegate* unmanaged[Cdecl]<void*, void*, void*, void*, void*, void*, void*, int, Heuristic*, int*, int>)
            PeerCatalog.Export(library, "cublasLtMatmulAlgoGetHeuristic");
        _multiply = (delegate* unmanaged[Cdecl]<
            void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, nuint, void*, int>)
            PeerCatalog.Export(library, "cublasLtMatmul");
        Version = VersionIn((long)((delegate* unmanaged[Cdecl]<nuint>)PeerCatalog.Export(library, "cublasLtGetVersion"))());
        var create = (delegate* unmanaged[Cdecl]<void**, int>)PeerCatalog.Export(library, "cublasLtCreate");
        void* handle = null;
        int status;
        using (context.MakeCurrent())
            status = create(&handle);
        if (status != 0)
            throw new PeerUnusableException($"cublasLtCreate gave {status}");
        _handle = handle;
    }

    /// <summary>Names of its file on this system, the newest first.</summary>
    public static IReadOnlyList<string> Files { get; } = OperatingSystem.IsWindows()
        ? ["cublasLt64_13.dll", "cublasLt64_12.dll"]
        : ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"];

    /// <summary>Where it may be: in the folders that KERNELS_PEER_DIR names, then where the system looks.</summary>
    public static IEnumerable<string> Candidates =>
        PeerCatalog.Folders(Environment.GetEnvironmentVariable(PeerCatalog.FoldersVariable))
            .SelectMany(folder => Files.Select(file => Path.Combine(folder, file))).Where(File.Exists).Concat(Files);

    /// <summary>Its version, such as "12.4.5".</summary>
    public string Version { get; }

    /// <summary>Looks for the library.</summary>
    /// <param name="context">The device that it is to run on.</param>
    /// <param name="files">Names or paths to try in turn.</param>
    /// <param name="reason">Why there is none, to go behind a colon.</param>
    /// <returns>The library; null where it is not, or is not one that this program can use.</returns>
    public static CublasLt? Open(CudaContext context, IEnumerable<string> files, out string? reason)
    {
        reason = $"not found; it comes with the CUDA toolkit, and {PeerCatalog.FoldersVariable} can name its folder";
        foreach (string file in files)
        {
            if (!NativeLibrary.TryLoad(file, out nint library))
                continue;
            try
            {
                var found = new CublasLt(library, context);
                reason = null;
                return found;
            }
            catch (PeerUnusableException unusable)
            {
                reason = unusable.Message;
            }
        }

        return null;
    }

    /// <summary>"12.4.5" of 120405.</summary>
    public static string VersionIn(long number) => $"{number / VersionMajor}.{number % VersionMajor / VersionMinor}.{number % VersionMinor}";

    /// <summary>Prepares Y[M,N] = X[M,K] . W[N,K]^T by the first algorithm that the library's heuristic names.</summary>
    /// <returns>The calls; null when it has no algorithm for the shape.</returns>
    public CublasLtCalls? Prepare(CublasLtType type, MatrixShape shape, int rotations)
    {
        var plan = new CublasLtPlan();
        using CudaCurrentContext current = _context.MakeCurrent();
        bool isChosen = Describe(type, shape, plan);
        if (isChosen)
            return new CublasLtCalls(this, _context, type, shape, plan, rotations);
        Release(plan);
        return null;
    }

    /// <summary>One product, put on a stream. W lies as [n][k]: for the library, whose matrices are column by column, that is K x N, to be transposed.</summary>
    public void Multiply(CublasLtPlan plan, bool isInteger, nint w, nint x, nint y, nint workspace, nint stream)
    {
        float one = 1, zero = 0;
        int oneInteger = 1, zeroInteger = 0;
        Heuristic algorithm = plan.Chosen;
        void* alpha = isInteger ? &oneInteger : &one, beta = isInteger ? &zeroInteger : &zero;
        int status = _multiply(
            _handle, plan.Desc, alpha, (void*)w, plan.W, (void*)x, plan.X, beta, (void*)y, plan.Y, (void*)y, plan.Y, &algorithm, (void*)workspace,
            (nuint)WorkspaceBytes, (void*)stream);
        if (status != 0)
            throw new InvalidOperationException($"cublasLtMatmul gave {status}.");
    }

    /// <summary>Frees what describes a product.</summary>
    public void Release(CublasLtPlan plan)
    {
        foreach (nint layout in new[] { (nint)plan.W, (nint)plan.X, (nint)plan.Y })
        {
            if (layout != 0)
                _ = _layoutDestroy((void*)layout);
        }

        if (plan.Desc is not null)
            _ = _descDestroy(plan.Desc);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_handle is null)
            return;
        using (_context.MakeCurrent())
            _ = _destroy(_handle);
        _handle = null;
    }

    private bool Describe(CublasLtType type, MatrixShape shape, CublasLtPlan plan)
    {
        CublasLtFormat format = CublasLtFormat.Of(type);
        int transpose = TransposeOp, count = 0;
        nuint workspace = (nuint)WorkspaceBytes;
        void* desc = null, w = null, x = null, y = null, preference = null;
        Heuristic chosen = default;
        bool isChosen = _descCreate(&desc, format.Compute, format.Scale) == 0
            && _descSet(desc, DescTransposeA, &transpose, sizeof(int)) == 0
            && _layoutCreate(&w, format.Input, (ulong)shape.K, (ulong)shape.N, shape.K) == 0
            && _layoutCreate(&x, format.Input, (ulong)shape.K, (ulong)shape.M, shape.K) == 0
            && _layoutCreate(&y, format.Output, (ulong)shape.N, (ulong)shape.M, shape.N) == 0
            && _preferenceCreate(&preference) == 0
            && _preferenceSet(preference, PreferenceWorkspaceBytes, &workspace, (nuint)sizeof(nuint)) == 0
            && _choose(_handle, desc, w, x, y, y, preference, 1, &chosen, &count) == 0
            && count == 1 && chosen.State == 0;
        if (preference is not null)
            _ = _preferenceDestroy(preference);
        plan.Desc = desc;
        plan.W = w;
        plan.X = x;
        plan.Y = y;
        plan.Chosen = chosen;
        return isChosen;
    }

    /// <summary>cublasLtMatmulHeuristicResult_t, which begins with the algorithm.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Heuristic
    {
        /// <summary>cublasLtMatmulAlgo_t.</summary>
        public fixed ulong Algorithm[8];

        /// <summary>What the algorithm takes.</summary>
        public nuint WorkspaceBytes;

        /// <summary>0 when it can be used.</summary>
        public int State;

        /// <summary>Waves of blocks over the device.</summary>
        public float Waves;

        private fixed int _reserved[4];
    }
}

/// <summary>What describes a product to cuBLASLt.</summary>
internal sealed unsafe class CublasLtPlan
{
    /// <summary>The operation.</summary>
    public void* Desc { get; set; }

    /// <summary>Layout of the weights.</summary>
    public void* W { get; set; }

    /// <summary>Layout of the activations.</summary>
    public void* X { get; set; }

    /// <summary>Layout of the result.</summary>
    public void* Y { get; set; }

    /// <summary>The algorithm.</summary>
    public CublasLt.Heuristic Chosen { get; set; }
}

/// <summary>Types of a product by the numbers of library_types.h and cublas_api.h.</summary>
/// <param name="Input">cudaDataType of weights and activations.</param>
/// <param name="Output">cudaDataType of the result.</param>
/// <param name="Compute">cublasComputeType_t.</param>
/// <param name="Scale">cudaDataType of alpha and beta.</param>
/// <param name="InputBytes">Bytes of an input.</param>
/// <param name="OutputBytes">Bytes of an output.</param>
internal readonly record struct CublasLtFormat(int Input, int Output, int Compute, int Scale, int InputBytes, int OutputBytes)
{
    private const int F32 = 0, F16 = 2, S8 = 3, S32 = 10, Bf16 = 14, ComputeF32 = 68, ComputeS32 = 72;

    /// <summary>The format of a type.</summary>
    public static CublasLtFormat Of(CublasLtType type) => type switch
    {
        CublasLtType.Bf16 => new(Bf16, Bf16, ComputeF32, F32, sizeof(short), sizeof(short)),
        CublasLtType.F16 => new(F16, F16, ComputeF32, F32, sizeof(short), sizeof(short)),
        _ => new(S8, S32, ComputeS32, S32, sizeof(sbyte), sizeof(int)),
    };

    /// <summary>Bytes that a product must move.</summary>
    public long BytesOf(MatrixShape shape) => (((shape.M + shape.N) * shape.K) * InputBytes) + (shape.M * shape.N * OutputBytes);
}
