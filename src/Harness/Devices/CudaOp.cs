namespace Kernels.Harness.Devices;

/// <summary>An op on CUDA devices: what <c>verify --device</c> checks and <c>bench --device</c> measures of it.</summary>
/// <remarks>A new op derives from this and is listed in <see cref="All"/>.</remarks>
internal abstract class CudaOp
{
    /// <summary>The ops.</summary>
    public static IReadOnlyList<CudaOp> All { get; } =
        [new MemoryOp(), new QuantizeOp(), new DequantizeOp(), new HadamardOp(), new FusedOp(), new KvAppendOp(), new AttentionOp(), new GemmOp()];

    /// <summary>Checks that are small enough for the emulator.</summary>
    public abstract IEnumerable<CudaCheck> Checks();

    /// <summary>What is measured on a GPU.</summary>
    public abstract IEnumerable<CudaCase> Cases();
}

/// <summary>A check.</summary>
/// <param name="Id">op/scheme/shape; device and class are appended.</param>
/// <param name="Outputs">Outputs that are compared.</param>
/// <param name="Run">Runs it in a context: what is wrong, in a sentence, or null.</param>
internal sealed record CudaCheck(string Id, long Outputs, Func<CudaContext, string?> Run)
{
    /// <summary>What the id does not tell: the sixth part of the check's; empty for nothing.</summary>
    public string Feature { get; init; } = "";

    /// <summary>Whether every bit is prescribed, or the error is bounded.</summary>
    public bool IsExact { get; init; } = true;
}

/// <summary>A case.</summary>
/// <param name="Op">First part of the id.</param>
/// <param name="Scheme">Second part of the id.</param>
/// <param name="Shape">Sizes by name.</param>
/// <param name="Operations">Operations of a call; 0 where they are not counted.</param>
/// <param name="Bytes">Bytes that a call must move.</param>
/// <param name="Open">Makes operands for a number of calls in a row, each with its own.</param>
internal sealed record CudaCase(
    string Op, string Scheme, IReadOnlyDictionary<string, long> Shape, double Operations, long Bytes, Func<CudaContext, int, ICudaCalls> Open)
{
    /// <summary>The product that peers compute; null for what they do not have.</summary>
    public MatrixShape? Product { get; init; }

    /// <summary>Whether the products are of integers.</summary>
    public bool IsInteger { get; init; }

    /// <summary>op/scheme/shape.</summary>
    public string Id => $"{Op}/{Scheme}/{string.Join('-', Shape.Select(size => $"{size.Key}{size.Value}"))}";
}

/// <summary>Y[M,N] = X[M,K] . W[N,K]^T.</summary>
internal readonly record struct MatrixShape(long M, long N, long K)
{
    /// <summary>A multiplication and an addition for each product.</summary>
    public double Operations => 2.0 * M * N * K;
}

/// <summary>Calls of a case.</summary>
internal interface ICudaCalls : IDisposable
{
    /// <summary>Puts one call on a stream.</summary>
    /// <param name="rotation">Counts up: which of the operands to use.</param>
    /// <param name="stream">The stream.</param>
    void Call(int rotation, CudaStream stream);
}
