using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <content>Quantization on CUDA devices: the same bits as on the CPU.</content>
public static unsafe partial class Quantizer
{
    /// <summary>Bytes of device memory that quantizing takes as a workspace.</summary>
    /// <param name="options">What to quantize to.</param>
    /// <returns>The bytes; 0 for every granularity but <see cref="Granularity.Tensor"/>.</returns>
    public static long CudaWorkspaceBytes(QuantizeOptions options)
    {
        krn_quantize_options native = ToNative(options);
        long bytes = 0;
        int status = NativeMethods.krn_cuda_quantize_workspace_size(&native, &bytes);
        GC.KeepAlive(options.Codebook);
        KernelException.ThrowIfFailed(status);
        return bytes;
    }

    /// <summary>Quantizes a matrix on a device, in the order of the stream. Waits for nothing.</summary>
    /// <typeparam name="T">The type of the source.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">What to quantize to.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="source">The matrix.</param>
    /// <param name="codes">Receives the codes.</param>
    /// <param name="scales">Receives <see cref="ScaleCount"/> scales.</param>
    /// <param name="zeroPoints">Receives as many zero points; required with <see cref="QuantizeOptions.Asymmetric"/>, else may be null.</param>
    /// <param name="workspace"><see cref="CudaWorkspaceBytes"/> bytes; may be null for 0.</param>
    /// <param name="flags">Null, or a buffer into whose first element 1 is ORed when the source holds NaN or infinity.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <param name="codesLdBytes">Leading dimension of the codes in bytes.</param>
    public static void Quantize<T>(
        CudaContext context, QuantizeOptions options, long rows, long cols, CudaBuffer<T> source, CudaBuffer<byte> codes, CudaBuffer<float> scales,
        CudaBuffer<int>? zeroPoints = null, CudaBuffer<byte>? workspace = null, CudaBuffer<int>? flags = null, CudaStream? stream = null,
        long sourceLd = 0, long codesLdBytes = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(codes);
        ArgumentNullException.ThrowIfNull(scales);
        int sourceType = (int)ElementTypes.Of<T>();
        krn_quantize_options native = ToNative(options);
        long count = ScaleCount(options, rows, cols);
        long width = options.Type.RowBytes(cols);
        sourceLd = Guard.LeadingDimension(sourceLd, cols);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, width);
        Guard.Holds(source.Length, rows, cols, sourceLd, nameof(source));
        Guard.Holds(codes.Length, rows, width, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, count, nameof(scales));
        if (options.Asymmetric)
        {
            ArgumentNullException.ThrowIfNull(zeroPoints);
            Guard.Holds(zeroPoints.Length, count, nameof(zeroPoints));
        }

        CudaAddress.Distinct(scales, nameof(scales), source);
        CudaAddress.Distinct(workspace, nameof(workspace), codes);
        using var use = new CudaUse(context, stream);
        int status = NativeMethods.krn_cuda_quantize(
            use.Context, &native, rows, cols, sourceType, CudaAddress.Of(context, source), sourceLd, CudaAddress.Of(context, codes), codesLdBytes,
            (float*)CudaAddress.Of(context, scales), (int*)CudaAddress.Of(context, zeroPoints), CudaAddress.Of(context, workspace), workspace?.Bytes ?? 0,
            CudaAddress.OfFlags(context, flags), use.Stream);
        GC.KeepAlive(options.Codebook);
        KernelException.ThrowIfFailed(status);
    }

    /// <summary>Dequantizes a matrix on a device, in the order of the stream. Waits for nothing, and needs no workspace.</summary>
    /// <typeparam name="T">The type of the target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">How the codes are to be read.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="codes">The codes.</param>
    /// <param name="scales"><see cref="ScaleCount"/> scales.</param>
    /// <param name="zeroPoints">As many zero points in -32768..32767, which are not checked; required with <see cref="QuantizeOptions.Asymmetric"/>,
    /// else may be null: then the fixed zero point of the type applies.</param>
    /// <param name="target">Receives the matrix.</param>
    /// <param name="stream">The stream, or null for the default one.</param>
    /// <param name="codesLdBytes">Leading dimension of the codes in bytes.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    /// <exception cref="ArgumentException">A buffer is missing, too short, overlaps another or belongs to another context.</exception>
    public static void Dequantize<T>(
        CudaContext context, QuantizeOptions options, long rows, long cols, CudaBuffer<byte> codes, CudaBuffer<float> scales,
        CudaBuffer<int>? zeroPoints, CudaBuffer<T> target, CudaStream? stream = null, long codesLdBytes = 0, long targetLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(codes);
        ArgumentNullException.ThrowIfNull(scales);
        ArgumentNullException.ThrowIfNull(target);
        int targetType = (int)ElementTypes.Of<T>();
        krn_quantize_options native = ToNative(options);
        long count = ScaleCount(options, rows, cols);
        long width = options.Type.RowBytes(cols);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, width);
        targetLd = Guard.LeadingDimension(targetLd, cols);
        Guard.Holds(codes.Length, rows, width, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, count, nameof(scales));
        if (options.Asymmetric)
            ArgumentNullException.ThrowIfNull(zeroPoints);
        if (zeroPoints is not null)
            Guard.Holds(zeroPoints.Length, count, nameof(zeroPoints));
        Guard.Holds(target.Length, rows, cols, targetLd, nameof(target));
        CudaAddress.Distinct(target, nameof(target), scales);
        using var use = new CudaUse(context, stream);
        int status = NativeMethods.krn_cuda_dequantize(
            use.Context, &native, rows, cols, CudaAddress.Of(context, codes), codesLdBytes, (float*)CudaAddress.Of(context, scales),
            (int*)CudaAddress.Of(context, zeroPoints), targetType, CudaAddress.Of(context, target), targetLd, use.Stream);
        GC.KeepAlive(options.Codebook);
        KernelException.ThrowIfFailed(status);
    }
}
