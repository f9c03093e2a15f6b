using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Weights W[N,K], laid out once for the kernels of a context's instruction set.</summary>
/// <remarks>Immutable: any number of threads and contexts may use them at once. <see cref="SafeHandle.Dispose()"/> frees the memory when
/// the last call that uses them has returned.</remarks>
[SuppressMessage("Interoperability", "CA1419", Justification = "Never made by a marshaller.")]
public sealed unsafe class PackedWeights : SafeHandle
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
        Shape = new WeightsShape((ElementType)description.format, description.n, description.k, description.group_size);
    }

    /// <summary>Shape and format.</summary>
    public WeightsShape Shape { get; }

    /// <summary>Bytes of the packed form in memory: codes, scales, zero points and padding.</summary>
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

    /// <summary>Packs quantized weights.</summary>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape.</param>
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
        krn_weights_desc description = ToNative(shape);
        long blocks = BlockCount(shape);
        long rowBytes = shape.Format.RowBytes(shape.K);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, rowBytes);
        Guard.Holds(codes.Length, shape.N, rowBytes, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, blocks, nameof(scales));
        CheckZeroPoints(shape, zeroPoints.Length, blocks, nameof(zeroPoints), required: true);

        using ContextUse use = context.Use();
        long nothing = 0;
        krn_weights* weights = null;
        fixed (byte* codesPinned = codes)
        fixed (float* scalesPinned = scales)
        fixed (int* zerosPinned = zeroPoints)
        {
            int status = NativeMethods.krn_weights_pack(
                use.Pointer, &description, Pin.OrEmpty(codesPinned, &nothing), codesLdBytes, Pin.OrEmpty(scalesPinned, &nothing),
                HasZeroPoints(shape) ? Pin.OrEmpty(zerosPinned, &nothing) : null, &weights);
            return Complete(use, status, weights);
        }
    }

    /// <summary>Packs a quantized tensor of N rows of K: S8 or S4, symmetric, or U4.</summary>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="tensor">The tensor. A scale of the whole tensor is repeated for every channel.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="ArgumentException">Weights cannot be of the tensor's type.</exception>
    public static PackedWeights Pack(KernelContext context, QuantizedTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        QuantizeOptions options = tensor.Options;
        if (options.Type == ElementType.U8 || (options.Asymmetric && options.Type != ElementType.U4))
        {
            throw new ArgumentException(
                $"Weights are symmetric S8 or S4, or U4; this tensor is {(options.Asymmetric ? "asymmetric" : "symmetric")} {options.Type}.", nameof(tensor));
        }

        var shape = new WeightsShape(
            options.Type, tensor.Rows, tensor.Cols, options.Granularity == Granularity.Group ? options.GroupSize : 0);
        float[] scales = tensor.Scales;
        int[]? zeroPoints = HasZeroPoints(shape) ? tensor.ZeroPoints ?? FixedZeroPoints(scales.Length) : null;
        if (options.Granularity == Granularity.Tensor)
        {
            scales = Repeat(scales[0], BlockCount(shape));
            zeroPoints = zeroPoints is null ? null : Repeat(zeroPoints[0], BlockCount(shape));
        }

        return Pack(context, shape, tensor.Codes, scales, zeroPoints, tensor.CodesStrideBytes);
    }

    /// <summary>Quantizes weights by rounding to nearest (symmetric for S8 and S4, asymmetric for U4) and packs them.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape and format.</param>
    /// <param name="source">N rows of K; finite.</param>
    /// <param name="clipRatio">Share of a group's range that is kept, in (0, 1].</param>
    /// <param name="sourceLd">Leading dimension of the source in elements; 0 for rows without padding.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>).</exception>
    public static PackedWeights FromFloat<T>(
        KernelContext context, WeightsShape shape, ReadOnlySpan<T> source, float clipRatio = 1f, long sourceLd = 0)
        where T : unmanaged =>
        FromFloat(context, shape, source, clipRatio, sourceLd, null);

    /// <summary>Quantizes weights as <see cref="FromFloat{T}(KernelContext, WeightsShape, ReadOnlySpan{T}, float, long)"/> does, and tells the
    /// error made, which costs a second, scalar pass.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape and format.</param>
    /// <param name="source">N rows of K; finite.</param>
    /// <param name="clipRatio">Share of a group's range that is kept, in (0, 1].</param>
    /// <param name="error">Receives the error over all weights.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements; 0 for rows without padding.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>).</exception>
    public static PackedWeights FromFloat<T>(
        KernelContext context, WeightsShape shape, ReadOnlySpan<T> source, float clipRatio, out QuantizeError error, long sourceLd = 0)
        where T : unmanaged
    {
        krn_quantize_error made = default;
        PackedWeights weights = FromFloat(context, shape, source, clipRatio, sourceLd, &made);
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

    /// <summary>Gives back exactly what was packed.</summary>
    /// <param name="context">The context.</param>
    /// <param name="codes">Receives N rows of K codes.</param>
    /// <param name="scales">Receives [N][groups] scales.</param>
    /// <param name="zeroPoints">Receives [N][groups] zero points of U4 weights; may be empty.</param>
    /// <param name="codesLdBytes">Bytes from one row of codes to the next; 0 for rows without padding.</param>
    public void Unpack(KernelContext context, Span<byte> codes, Span<float> scales, Span<int> zeroPoints = default, long codesLdBytes = 0)
    {
        ArgumentNullException.ThrowIfNull(context);
        long blocks = BlockCount(Shape);
        long rowBytes = Shape.Format.RowBytes(Shape.K);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, rowBytes);
        Guard.Holds(codes.Length, Shape.N, rowBytes, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, blocks, nameof(scales));
        CheckZeroPoints(Shape, zeroPoints.Length, blocks, nameof(zeroPoints), required: false);

        using WeightsUse weights = Use();
        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (byte* codesPinned = codes)
        fixed (float* scalesPinned = scales)
        fixed (int* zerosPinned = zeroPoints)
        {
            var codesWritten = new Region(codesPinned, Shape.N, rowBytes, codesLdBytes);
            var scalesWritten = new Region(scalesPinned, blocks * sizeof(float));
            var zerosWritten = new Region(zerosPinned, blocks * sizeof(int));
            Guard.Disjoint(scalesWritten, codesWritten, nameof(scales), nameof(codes));
            Guard.Disjoint(zerosWritten, codesWritten, nameof(zeroPoints), nameof(codes));
            Guard.Disjoint(zerosWritten, scalesWritten, nameof(zeroPoints), nameof(scales));
            use.Complete(NativeMethods.krn_weights_unpack(
                use.Pointer, weights.Pointer, Pin.OrEmpty(codesPinned, &nothing), codesLdBytes, Pin.OrEmpty(scalesPinned, &nothing), zerosPinned));
        }
    }

    /// <summary>Gives back what was packed, in arrays of its own.</summary>
    /// <param name="context">The context.</param>
    /// <returns>A tensor whose codes, scales and zero points are those that were packed.</returns>
    public QuantizedTensor Unpack(KernelContext context)
    {
        QuantizedTensor tensor = Quantizer.Allocate(Shape.ToQuantizeOptions(), Shape.N, Shape.K);
        Unpack(context, tensor.Codes, tensor.Scales, tensor.ZeroPoints);
        return tensor;
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
        KernelContext context, WeightsShape shape, ReadOnlySpan<T> source, float clipRatio, long sourceLd, krn_quantize_error* error)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        krn_weights_desc description = ToNative(shape);
        ElementType sourceType = ElementTypes.Of<T>();
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
                use.Pointer, &description, (int)sourceType, Pin.OrEmpty(pinned, &nothing), sourceLd, clipRatio, &weights, error);
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

    private static krn_weights_desc ToNative(WeightsShape shape)
    {
        if (shape.Format is not (ElementType.S8 or ElementType.S4 or ElementType.U4))
            throw new ArgumentOutOfRangeException(nameof(shape), shape.Format, "Format must be S8, S4 or U4.");
        if (shape.N < 0 || shape.K < 0)
            throw new ArgumentOutOfRangeException(nameof(shape), shape, "N and K must not be negative.");
        if (shape.GroupSize is < 0 or (> 0 and < 16))
            throw new ArgumentOutOfRangeException(nameof(shape), shape.GroupSize, "GroupSize must be at least 16, or 0 for one scale per channel.");
        return new krn_weights_desc
        {
            struct_size = (uint)sizeof(krn_weights_desc),
            format = (int)shape.Format,
            n = shape.N,
            k = shape.K,
            group_size = shape.GroupSize,
        };
    }

    private static long BlockCount(WeightsShape shape) => Quantizer.ScaleCount(shape.ToQuantizeOptions(), shape.N, shape.K);

    private static bool HasZeroPoints(WeightsShape shape) => shape.Format == ElementType.U4;

    private static void CheckZeroPoints(WeightsShape shape, int length, long blocks, string name, bool required)
    {
        if (!HasZeroPoints(shape) && length != 0)
            throw new ArgumentException($"{shape.Format} weights have no zero points: pass an empty span.", name);
        if (HasZeroPoints(shape) && (required || length != 0))
            Guard.Holds(length, blocks, name);
    }

    private static int[] FixedZeroPoints(int count) => Repeat(8, count);

    private static T[] Repeat<T>(T value, long count)
    {
        var values = new T[count];
        Array.Fill(values, value);
        return values;
    }
}
