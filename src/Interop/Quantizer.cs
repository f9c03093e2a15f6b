using System.Diagnostics;
using System.Runtime.CompilerServices;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Quantization to 8 and 4 bits by rounding to nearest, to NF4 and other codebooks, and back. Matrices are row-major.</summary>
/// <remarks>
/// Type arguments are <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>. A leading dimension is the distance from one row
/// to the next; 0 means that rows follow each other without padding. Every instruction set and thread count gives the same bits.
/// </remarks>
public static unsafe partial class Quantizer
{
    private const long MinGroupSize = 16;

    /// <summary>The number of scales, and of zero points, of a matrix.</summary>
    /// <param name="options">What to quantize to.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <returns>The number of blocks that share a scale. A row of no elements has a scale too, but no groups.</returns>
    public static long ScaleCount(QuantizeOptions options, long rows, long cols)
    {
        krn_quantize_options native = ToNative(options);
        Guard.Dimension(rows);
        Guard.Dimension(cols);
        long count = 0;
        int status = NativeMethods.krn_quantize_scale_count(&native, rows, cols, &count);
        GC.KeepAlive(options.Codebook);
        KernelException.ThrowIfFailed(status);
        return count;
    }

    /// <summary>Name of the variant that runs in a context, such as "avx512".</summary>
    /// <param name="context">The context.</param>
    /// <returns>The name.</returns>
    public static string Variant(KernelContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Required(NativeMethods.krn_quantize_variant(use.Pointer));
    }

    /// <summary>Quantizes a matrix. Allocates nothing.</summary>
    /// <typeparam name="T">The type of the source.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">What to quantize to.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="source">The matrix; finite. Outputs must not overlap it.</param>
    /// <param name="codes">Receives the codes; bytes beyond a row's width are not touched.</param>
    /// <param name="scales">Receives <see cref="ScaleCount"/> scales.</param>
    /// <param name="zeroPoints">Receives as many zero points; required with <see cref="QuantizeOptions.Asymmetric"/>, else may be empty.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <param name="codesLdBytes">Leading dimension of the codes in bytes.</param>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>); nothing was written.</exception>
    public static void Quantize<T>(
        KernelContext context, QuantizeOptions options, long rows, long cols, ReadOnlySpan<T> source,
        Span<byte> codes, Span<float> scales, Span<int> zeroPoints = default, long sourceLd = 0, long codesLdBytes = 0)
        where T : unmanaged =>
        Run(context, options, rows, cols, source, codes, scales, zeroPoints, sourceLd, codesLdBytes, null);

    /// <summary>Quantizes a matrix and tells the error made, which costs a second, scalar pass. Allocates nothing.</summary>
    /// <typeparam name="T">The type of the source.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">What to quantize to.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="source">The matrix; finite. Outputs must not overlap it.</param>
    /// <param name="codes">Receives the codes; bytes beyond a row's width are not touched.</param>
    /// <param name="scales">Receives <see cref="ScaleCount"/> scales.</param>
    /// <param name="zeroPoints">Receives as many zero points; required with <see cref="QuantizeOptions.Asymmetric"/>, else may be empty.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <param name="codesLdBytes">Leading dimension of the codes in bytes.</param>
    /// <returns>The error over the whole matrix.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>); nothing was written.</exception>
    public static QuantizeError QuantizeWithError<T>(
        KernelContext context, QuantizeOptions options, long rows, long cols, ReadOnlySpan<T> source,
        Span<byte> codes, Span<float> scales, Span<int> zeroPoints = default, long sourceLd = 0, long codesLdBytes = 0)
        where T : unmanaged
    {
        krn_quantize_error error = default;
        Run(context, options, rows, cols, source, codes, scales, zeroPoints, sourceLd, codesLdBytes, &error);
        return new QuantizeError(error.mean_squared_error, error.max_abs_error);
    }

    /// <summary>Quantizes a matrix into arrays of its own.</summary>
    /// <typeparam name="T">The type of the source.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">What to quantize to.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="source">The matrix; finite.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <returns>The quantized matrix.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>).</exception>
    public static QuantizedTensor Quantize<T>(
        KernelContext context, QuantizeOptions options, long rows, long cols, ReadOnlySpan<T> source, long sourceLd = 0)
        where T : unmanaged
    {
        QuantizedTensor tensor = Allocate(options, rows, cols);
        Run(context, options, rows, cols, source, tensor.Codes, tensor.Scales, tensor.ZeroPoints, sourceLd, 0, null);
        return tensor;
    }

    /// <summary>Quantizes a matrix into arrays of its own and tells the error made.</summary>
    /// <typeparam name="T">The type of the source.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">What to quantize to.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="source">The matrix; finite.</param>
    /// <param name="error">Receives the error over the whole matrix.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <returns>The quantized matrix.</returns>
    /// <exception cref="KernelException">The source holds NaN or infinity (<see cref="KernelStatus.NonFinite"/>).</exception>
    public static QuantizedTensor Quantize<T>(
        KernelContext context, QuantizeOptions options, long rows, long cols, ReadOnlySpan<T> source, out QuantizeError error, long sourceLd = 0)
        where T : unmanaged
    {
        QuantizedTensor tensor = Allocate(options, rows, cols);
        error = QuantizeWithError(context, options, rows, cols, source, tensor.Codes, tensor.Scales, tensor.ZeroPoints, sourceLd);
        return tensor;
    }

    /// <summary>Dequantizes a matrix. Allocates nothing.</summary>
    /// <typeparam name="T">The type of the target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">How the codes are to be read.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="codes">The codes.</param>
    /// <param name="scales"><see cref="ScaleCount"/> scales.</param>
    /// <param name="zeroPoints">As many zero points in -32768..32767; required with <see cref="QuantizeOptions.Asymmetric"/>, else may be empty:
    /// then the fixed zero point of the type applies.</param>
    /// <param name="target">Receives the matrix; must not overlap the inputs.</param>
    /// <param name="codesLdBytes">Leading dimension of the codes in bytes.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    public static void Dequantize<T>(
        KernelContext context, QuantizeOptions options, long rows, long cols, ReadOnlySpan<byte> codes, ReadOnlySpan<float> scales,
        ReadOnlySpan<int> zeroPoints, Span<T> target, long codesLdBytes = 0, long targetLd = 0)
        where T : unmanaged
    {
        var floats = new Floats(target.Length, targetLd, nameof(target), nameof(targetLd));
        ElementType targetType = ElementTypes.Of<T>();
        Checked call = Check(context, options, rows, cols, floats, codes, codesLdBytes, scales, zeroPoints);
        krn_quantize_options native = call.Options;

        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (byte* codesPinned = codes)
        fixed (float* scalesPinned = scales)
        fixed (int* zerosPinned = zeroPoints)
        fixed (T* targetPinned = target)
        {
            var written = new Region(targetPinned, rows, cols * sizeof(T), call.FloatLd * sizeof(T));
            Guard.Disjoint(written, call.CodesAt(codesPinned), nameof(target), nameof(codes));
            Guard.Disjoint(written, call.ScalesAt(scalesPinned), nameof(target), nameof(scales));
            Guard.Disjoint(written, call.ZeroPointsAt(zerosPinned), nameof(target), nameof(zeroPoints));
            use.Complete(NativeMethods.krn_dequantize(
                use.Pointer, &native, rows, cols, Pin.OrEmpty(codesPinned, &nothing), call.CodesLdBytes,
                Pin.OrEmpty(scalesPinned, &nothing), options.Asymmetric ? Pin.OrEmpty(zerosPinned, &nothing) : zerosPinned, (int)targetType,
                Pin.OrEmpty(targetPinned, &nothing), call.FloatLd));
        }

        GC.KeepAlive(options.Codebook);
    }

    /// <summary>Dequantizes a matrix. Allocates nothing.</summary>
    /// <typeparam name="T">The type of the target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="tensor">The quantized matrix.</param>
    /// <param name="target">Receives the matrix.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    public static void Dequantize<T>(KernelContext context, QuantizedTensor tensor, Span<T> target, long targetLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(tensor);
        Dequantize(context, tensor.Options, tensor.Rows, tensor.Cols, tensor.Codes, tensor.Scales, tensor.ZeroPoints, target, 0, targetLd);
    }

    /// <summary>Checks options and brings them to the C form.</summary>
    [StackTraceHidden]
    internal static krn_quantize_options ToNative(QuantizeOptions options, [CallerArgumentExpression(nameof(options))] string? name = null)
    {
        if (!options.Type.IsQuantized())
            throw new ArgumentOutOfRangeException(name, options.Type, "Type must be S8, U8, S4, U4 or C4.");
        if (options.Type == ElementType.C4 ? options.Asymmetric : options.Codebook is not null)
            throw new ArgumentOutOfRangeException(name, options, "C4 is not asymmetric, and no other type has a codebook.");
        if (options.ScaleType != default && !options.ScaleType.IsFloat())
            throw new ArgumentOutOfRangeException(name, options.ScaleType, "ScaleType must be F32, F16 or BF16.");
        Guard.Defined(options.Granularity, name);
        if (options.Granularity == Granularity.Group && options.GroupSize < MinGroupSize)
            throw new ArgumentOutOfRangeException(name, options.GroupSize, $"GroupSize must be at least {MinGroupSize}.");
        if (options.ClipRatio is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(name, options.ClipRatio, "ClipRatio must be in (0, 1], or 0 for 1.");
        return new krn_quantize_options
        {
            struct_size = (uint)sizeof(krn_quantize_options),
            type = (int)options.Type,
            granularity = (int)options.Granularity,
            asymmetric = options.Asymmetric ? 1 : 0,
            group_size = options.Granularity == Granularity.Group ? options.GroupSize : 0,
            clip_ratio = options.ClipRatio,
            scale_type = (int)options.ScaleType,
            codebook = options.Codebook is { } codebook ? codebook.Pointer : null,
        };
    }

    /// <summary>A tensor of zeros, of the size that a matrix takes.</summary>
    internal static QuantizedTensor Allocate(QuantizeOptions options, long rows, long cols)
    {
        long blocks = ScaleCount(options, rows, cols);
        Int128 bytes = (Int128)rows * options.Type.RowBytes(cols);
        if (bytes > Array.MaxLength || blocks > Array.MaxLength)
            throw new ArgumentOutOfRangeException(nameof(rows), rows, $"A matrix of {rows} rows of {cols} is too large for one array.");
        return new QuantizedTensor(
            options, rows, cols, new byte[(int)bytes], new float[blocks], options.Asymmetric ? new int[blocks] : null);
    }

    // What both directions check: everything but overlaps. The float matrix has a name of its own in each.
    [StackTraceHidden]
    private static Checked Check(
        KernelContext context, in QuantizeOptions options, long rows, long cols, in Floats floats, ReadOnlySpan<byte> codes, long codesLdBytes,
        ReadOnlySpan<float> scales, ReadOnlySpan<int> zeroPoints)
    {
        ArgumentNullException.ThrowIfNull(context);
        krn_quantize_options native = ToNative(options);
        long blocks = ScaleCount(options, rows, cols);
        long rowBytes = options.Type.RowBytes(cols);
        long floatLd = Guard.LeadingDimension(floats.Ld, cols, floats.LdName);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, rowBytes);
        Guard.Holds(floats.Length, rows, cols, floatLd, floats.Name);
        Guard.Holds(codes.Length, rows, rowBytes, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, blocks, nameof(scales));
        if (options.Type == ElementType.C4 && !zeroPoints.IsEmpty)
            throw new ArgumentException("C4 has no zero points: pass an empty span.", nameof(zeroPoints));
        if (options.Asymmetric || !zeroPoints.IsEmpty)
            Guard.Holds(zeroPoints.Length, blocks, nameof(zeroPoints));
        return new Checked(native, rows, rowBytes, blocks, floatLd, codesLdBytes);
    }

    private static void Run<T>(
        KernelContext context, in QuantizeOptions options, long rows, long cols, ReadOnlySpan<T> source, Span<byte> codes,
        Span<float> scales, Span<int> zeroPoints, long sourceLd, long codesLdBytes, krn_quantize_error* error)
        where T : unmanaged
    {
        var floats = new Floats(source.Length, sourceLd, nameof(source), nameof(sourceLd));
        ElementType sourceType = ElementTypes.Of<T>();
        Checked call = Check(context, options, rows, cols, floats, codes, codesLdBytes, scales, zeroPoints);
        krn_quantize_options native = call.Options;

        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (T* sourcePinned = source)
        fixed (byte* codesPinned = codes)
        fixed (float* scalesPinned = scales)
        fixed (int* zerosPinned = zeroPoints)
        {
            var read = new Region(sourcePinned, rows, cols * sizeof(T), call.FloatLd * sizeof(T));
            Region codesWritten = call.CodesAt(codesPinned);
            Region scalesWritten = call.ScalesAt(scalesPinned);
            Region zerosWritten = call.ZeroPointsAt(zerosPinned);
            Guard.Disjoint(codesWritten, read, nameof(codes), nameof(source));
            Guard.Disjoint(scalesWritten, read, nameof(scales), nameof(source));
            Guard.Disjoint(zerosWritten, read, nameof(zeroPoints), nameof(source));
            Guard.Disjoint(scalesWritten, codesWritten, nameof(scales), nameof(codes));
            Guard.Disjoint(zerosWritten, codesWritten, nameof(zeroPoints), nameof(codes));
            Guard.Disjoint(zerosWritten, scalesWritten, nameof(zeroPoints), nameof(scales));
            use.Complete(NativeMethods.krn_quantize(
                use.Pointer, &native, rows, cols, (int)sourceType, Pin.OrEmpty(sourcePinned, &nothing), call.FloatLd,
                Pin.OrEmpty(codesPinned, &nothing), call.CodesLdBytes, Pin.OrEmpty(scalesPinned, &nothing),
                options.Asymmetric ? Pin.OrEmpty(zerosPinned, &nothing) : zerosPinned, error));
        }

        GC.KeepAlive(options.Codebook);
    }

    // The float matrix of a call as it came, and what its parameters are called.
    private readonly record struct Floats(int Length, long Ld, string Name, string LdName);

    // The arguments of a call that were checked, leading dimensions filled in.
    private readonly record struct Checked(krn_quantize_options Options, long Rows, long RowBytes, long Blocks, long FloatLd, long CodesLdBytes)
    {
        public Region CodesAt(byte* start) => new(start, Rows, RowBytes, CodesLdBytes);

        public Region ScalesAt(float* start) => new(start, Blocks * sizeof(float));

        public Region ZeroPointsAt(int* start) => new(start, Blocks * sizeof(int));
    }
}
