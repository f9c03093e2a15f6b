using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Weights W[N,K], laid out once for the kernels of a context's instruction set.</summary>
/// <remarks>Immutable: any number of threads and contexts may use them at once. <see cref="SafeHandle.Dispose()"/> frees the memory when
/// the last call that uses them has returned.</remarks>
[SuppressMessage("Interoperability", "CA1419", Justification = "Never made by a marshaller.")]
public sealed unsafe partial class PackedWeights : SafeHandle
{
    private PackedWeights(krn_weights* weights)
        : base((nint)weights, ownsHandle: true)
    {
        PackedBytes = NativeMethods.krn_weights_bytes(weights);
        BlobBytes = NativeMethods.krn_weights_blob_bytes(weights);
        if (PackedBytes > 0)
            GC.AddMemoryPressure(PackedBytes);

        var description = new krn_weights_desc { struct_size = (uint)sizeof(krn_weights_desc) };
        KernelException.ThrowIfFailed(NativeMethods.krn_weights_describe(weights, &description));
        Shape = FromNative(description);
    }

    /// <summary>Shape and format.</summary>
    public WeightsShape Shape { get; }

    /// <summary>Bytes of the packed form in memory: codes, scales, zero points, tables and padding.</summary>
    public long PackedBytes { get; }

    /// <summary>Bytes of the serialized form.</summary>
    public long BlobBytes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Bytes that the packed form of a shape takes.</summary>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape.</param>
    /// <returns>The bytes, as <see cref="PackedBytes"/> would tell.</returns>
    public static long PackedBytesOf(KernelContext context, WeightsShape shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        krn_weights_desc description = ToNative(shape);
        long bytes = 0;
        using ContextUse use = context.Share();
        KernelException.ThrowIfFailed(NativeMethods.krn_weights_packed_bytes(use.Pointer, &description, &bytes));
        return bytes;
    }

    /// <summary>The number of scales, and of zero points or offsets, of a shape.</summary>
    /// <param name="shape">The shape.</param>
    /// <returns>The number of groups that share a scale.</returns>
    public static long ScaleCountOf(WeightsShape shape)
    {
        krn_weights_desc description = ToNative(shape);
        long count = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_weights_scale_count(&description, &count));
        return count;
    }

    /// <summary>Packs quantized weights with f32 scales.</summary>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape: S8, S4 or U4 without any of the optional properties; others take a <see cref="WeightsSource"/>.</param>
    /// <param name="codes">N rows of K codes of the format.</param>
    /// <param name="scales">[N][groups], finite.</param>
    /// <param name="zeroPoints">[N][groups] in 0..15 for U4; empty for the others.</param>
    /// <param name="codesLdBytes">Bytes from one row of codes to the next; 0 for rows without padding.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="KernelException">A scale is not finite or a zero point is out of range.</exception>
    public static PackedWeights Pack(
        KernelContext context, WeightsShape shape, ReadOnlySpan<byte> codes, ReadOnlySpan<float> scales,
        ReadOnlySpan<int> zeroPoints = default, long codesLdBytes = 0)
    {
        ArgumentNullException.ThrowIfNull(context);
        CheckIsPlain(shape);
        long blocks = ScaleCountOf(shape);
        long rowBytes = shape.Format.RowBytes(shape.K);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, rowBytes);
        Guard.Holds(codes.Length, shape.N, rowBytes, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, blocks, nameof(scales));
        CheckZeroPoints(shape, zeroPoints.Length, blocks, nameof(zeroPoints), required: true);
        return Pack(context, shape, new WeightsSource
        {
            Codes = codes,
            CodesLdBytes = codesLdBytes,
            Scales = MemoryMarshal.AsBytes(scales),
            ZeroPoints = zeroPoints,
        });
    }

    /// <summary>Packs a quantized tensor of N rows of K: S8 or S4, symmetric, or U4, or C4.</summary>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="tensor">The tensor. A scale of the whole tensor is repeated for every channel; scales are stored in the type that the
    /// tensor's options name.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="ArgumentException">Weights cannot be of the tensor's type.</exception>
    public static PackedWeights Pack(KernelContext context, QuantizedTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        QuantizeOptions options = tensor.Options;
        if (options.Type == ElementType.U8 || (options.Asymmetric && options.Type != ElementType.U4))
        {
            throw new ArgumentException(
                $"Weights are symmetric S8 or S4, or U4, or C4; this tensor is {(options.Asymmetric ? "asymmetric" : "symmetric")} {options.Type}.",
                nameof(tensor));
        }

        var shape = new WeightsShape(
            options.Type, tensor.Rows, tensor.Cols, options.Granularity == Granularity.Group ? options.GroupSize : 0)
        {
            ScaleType = options.ScaleType == default ? ElementType.F32 : options.ScaleType,
        };
        float[] scales = tensor.Scales;
        int[]? zeroPoints = shape.HasZeroPoints ? tensor.ZeroPoints ?? FixedZeroPoints(scales.Length) : null;
        if (options.Granularity == Granularity.Tensor)
        {
            long count = ScaleCountOf(shape);
            scales = Repeat(scales[0], count);
            zeroPoints = zeroPoints is null ? null : Repeat(zeroPoints[0], count);
        }

        return Pack(context, shape, new WeightsSource
        {
            Codes = tensor.Codes,
            CodesLdBytes = tensor.CodesStrideBytes,
            Scales = ScaleBytes(scales, shape.ScaleType),
            ZeroPoints = zeroPoints,
            Codebook = shape.Format == ElementType.C4 ? (options.Codebook ?? Codebook.NF4).Entries : default,
        });
    }

    /// <summary>Quantizes weights by rounding to nearest (symmetric for S8 and S4, asymmetric for U4, to the nearest entry for C4) and
    /// packs them.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape and format.</param>
    /// <param name="source">N rows of K; finite.</param>
    /// <param name="clipRatio">Share of a group's range that is kept, in (0, 1].</param>
    /// <param name="sourceLd">Leading dimension of the source in elements; 0 for rows without padding.</param>
    /// <param name="codebook">The codebook of C4, ascending; null for NF4, and for the other formats.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>), or the shape cannot be made
    /// from floats: ordered, with outlier columns, with float offsets for another format than U4.</exception>
    public static PackedWeights FromFloat<T>(
        KernelContext context, WeightsShape shape, ReadOnlySpan<T> source, float clipRatio = 1f, long sourceLd = 0, Codebook? codebook = null)
        where T : unmanaged =>
        FromFloat(context, shape, source, clipRatio, sourceLd, codebook, null);

    /// <summary>Quantizes weights as <see cref="FromFloat{T}(KernelContext, WeightsShape, ReadOnlySpan{T}, float, long, Codebook)"/> does, and tells the
    /// error made, which costs a second, scalar pass.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape and format.</param>
    /// <param name="source">N rows of K; finite.</param>
    /// <param name="clipRatio">Share of a group's range that is kept, in (0, 1].</param>
    /// <param name="error">Receives the error over all weights.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements; 0 for rows without padding.</param>
    /// <param name="codebook">The codebook of C4, ascending; null for NF4, and for the other formats.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>), or the shape cannot be made
    /// from floats: ordered, with outlier columns, with float offsets for another format than U4.</exception>
    public static PackedWeights FromFloat<T>(
        KernelContext context, WeightsShape shape, ReadOnlySpan<T> source, float clipRatio, out QuantizeError error, long sourceLd = 0,
        Codebook? codebook = null)
        where T : unmanaged
    {
        krn_quantize_error made = default;
        PackedWeights weights = FromFloat(context, shape, source, clipRatio, sourceLd, codebook, &made);
        error = new QuantizeError(made.mean_squared_error, made.max_abs_error);
        return weights;
    }

    /// <summary>Makes packed weights from a blob of <see cref="Save()"/>, which is checked first and copied.</summary>
    /// <param name="context">The context.</param>
    /// <param name="blob">The blob, and nothing after it.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="KernelException">The blob is foreign, of another layout or version, truncated or oversized
    /// (<see cref="KernelStatus.BlobFormat"/>), or damaged (<see cref="KernelStatus.BlobChecksum"/>).</exception>
    public static PackedWeights Load(KernelContext context, ReadOnlySpan<byte> blob)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Use();
        long nothing = 0;
        krn_weights* weights = null;
        fixed (byte* pinned = blob)
        {
            int status = NativeMethods.krn_weights_load(use.Pointer, Pin.OrEmpty(pinned, &nothing), blob.Length, &weights);
            return Complete(use, status, weights);
        }
    }

    /// <summary>Serializes the weights: a header with shape and checksum, and the packed bytes.</summary>
    /// <returns>The blob. Equal weights give equal blobs.</returns>
    public byte[] Save()
    {
        if (BlobBytes > Array.MaxLength)
            throw new InvalidOperationException($"The blob takes {BlobBytes} bytes, more than an array holds.");
        var blob = new byte[BlobBytes];
        Save(blob);
        return blob;
    }

    /// <summary>Serializes the weights into memory of the caller's.</summary>
    /// <param name="blob">Receives <see cref="BlobBytes"/> bytes.</param>
    public void Save(Span<byte> blob)
    {
        Guard.Holds(blob.Length, BlobBytes, nameof(blob));
        using WeightsUse weights = Use();
        fixed (byte* pinned = blob)
            KernelException.ThrowIfFailed(NativeMethods.krn_weights_save(weights.Pointer, pinned, blob.Length));
    }

    /// <summary>Keeps the weights alive during a native call.</summary>
    internal WeightsUse Use()
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        bool added = false;
        DangerousAddRef(ref added);
        return new WeightsUse(this, (krn_weights*)handle);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMethods.krn_weights_destroy((krn_weights*)handle);
        if (PackedBytes > 0)
            GC.RemoveMemoryPressure(PackedBytes);
        return true;
    }

    private static PackedWeights FromFloat<T>(
        KernelContext context, WeightsShape shape, ReadOnlySpan<T> source, float clipRatio, long sourceLd, Codebook? codebook,
        krn_quantize_error* error)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        krn_weights_desc description = ToNative(shape);
        ElementType sourceType = ElementTypes.Of<T>();
        if (codebook is not null && shape.Format != ElementType.C4)
            throw new ArgumentException($"{shape.Format} weights have no codebook.", nameof(codebook));
        if (clipRatio is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(clipRatio), clipRatio, "The clip ratio must be in (0, 1], or 0 for 1.");
        sourceLd = Guard.LeadingDimension(sourceLd, shape.K);
        Guard.Holds(source.Length, shape.N, shape.K, sourceLd, nameof(source));

        using ContextUse use = context.Use();
        long nothing = 0;
        krn_weights* weights = null;
        fixed (T* pinned = source)
        {
            int status = NativeMethods.krn_weights_pack_float(
                use.Pointer, &description, (int)sourceType, Pin.OrEmpty(pinned, &nothing), sourceLd, clipRatio,
                codebook is null ? null : codebook.Pointer, &weights, error);
            GC.KeepAlive(codebook);
            return Complete(use, status, weights);
        }
    }

    /// <summary>Owns what a call made, also if the host's parallel loop failed although the call did not.</summary>
    private static PackedWeights Complete(in ContextUse use, int status, krn_weights* made)
    {
        PackedWeights? weights = status == 0 ? new PackedWeights(made) : null;
        try
        {
            use.Complete(status);
            return weights!;
        }
        catch
        {
            weights?.Dispose();
            throw;
        }
    }
}
