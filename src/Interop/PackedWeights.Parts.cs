using System.Runtime.InteropServices;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <content>What weights are packed from and unpacked to.</content>
public sealed unsafe partial class PackedWeights
{
    private const int ScaleMapSize = 256;
    private const int NestedBlock = 256;

    /// <summary>Packs quantized weights of any shape and format.</summary>
    /// <param name="context">The context whose instruction set decides the layout.</param>
    /// <param name="shape">The shape.</param>
    /// <param name="source">Codes, scales and what else the shape has.</param>
    /// <returns>The packed weights.</returns>
    /// <exception cref="ArgumentException">Something that the shape has is too short, or something that it does not have is given.</exception>
    /// <exception cref="KernelException">A scale, an offset or a table is not finite (<see cref="KernelStatus.NonFinite"/>), a zero point is out of
    /// range, or groups of ordered weights have other sizes than the shape's (<see cref="KernelStatus.Shape"/>).</exception>
    public static PackedWeights Pack(KernelContext context, WeightsShape shape, WeightsSource source)
    {
        ArgumentNullException.ThrowIfNull(context);
        krn_weights_desc description = ToNative(shape);
        long codesLdBytes = CheckSource(shape, source);
        krn_weights* weights = null;
        using ContextUse use = context.Use();
        fixed (byte* codes = source.Codes)
        fixed (byte* scales = source.Scales)
        fixed (int* zeroPoints = source.ZeroPoints)
        fixed (byte* zeroOffsets = source.ZeroOffsets)
        fixed (float* codebook = source.Codebook)
        fixed (int* groupIndex = source.GroupIndex)
        fixed (float* scaleMap = source.ScaleMap)
        fixed (float* nestedScales = source.NestedScales)
        fixed (int* outlierColumns = source.OutlierColumns)
        fixed (byte* outlierWeights = source.OutlierWeights)
        {
            CheckAlignment(scales, shape.ScaleType, nameof(source));
            CheckAlignment(zeroOffsets, shape.ZeroType ?? ElementType.U8, nameof(source));
            CheckAlignment(outlierWeights, shape.OutlierType, nameof(source));
            var native = new krn_weights_source
            {
                struct_size = (uint)sizeof(krn_weights_source),
                high_nibble_first = source.HighNibbleFirst ? 1 : 0,
                codes = codes,
                codes_ld_bytes = codesLdBytes,
                scales = scales,
                zero_points = zeroPoints,
                zero_offsets = zeroOffsets,
                codebook = codebook,
                group_index = groupIndex,
                scale_map = scaleMap,
                nested_scales = nestedScales,
                scale_offset = source.ScaleOffset,
                outlier_columns = outlierColumns,
                outlier_weights = outlierWeights,
            };
            return Complete(use, NativeMethods.krn_weights_pack(use.Pointer, &description, &native, &weights), weights);
        }
    }

    /// <summary>Gives back exactly what was packed.</summary>
    /// <param name="context">The context.</param>
    /// <param name="parts">Where to put it. What is empty, or what the weights do not have, is left out.</param>
    /// <exception cref="ArgumentException">A span that is not empty is too short, or two overlap.</exception>
    public void Unpack(KernelContext context, WeightsParts parts)
    {
        ArgumentNullException.ThrowIfNull(context);
        long codesLdBytes = CheckParts(parts);
        using WeightsUse weights = Use();
        using ContextUse use = context.Use();
        fixed (byte* codes = parts.Codes)
        fixed (byte* scales = parts.Scales)
        fixed (int* zeroPoints = parts.ZeroPoints)
        fixed (byte* zeroOffsets = parts.ZeroOffsets)
        fixed (float* codebook = parts.Codebook)
        fixed (int* groupIndex = parts.GroupIndex)
        fixed (float* scaleMap = parts.ScaleMap)
        fixed (float* nestedScales = parts.NestedScales)
        fixed (float* scaleOffset = parts.ScaleOffset)
        fixed (int* outlierColumns = parts.OutlierColumns)
        fixed (byte* outlierWeights = parts.OutlierWeights)
        {
            CheckAlignment(scales, Shape.ScaleType, nameof(parts));
            CheckAlignment(zeroOffsets, Shape.ZeroType ?? ElementType.U8, nameof(parts));
            CheckAlignment(outlierWeights, Shape.OutlierType, nameof(parts));
            ReadOnlySpan<Region> written =
            [
                new Region(codes, Shape.N, Shape.Format.RowBytes(Shape.K), codesLdBytes), new Region(scales, parts.Scales.Length),
                new Region(zeroPoints, parts.ZeroPoints.Length * sizeof(int)), new Region(zeroOffsets, parts.ZeroOffsets.Length),
                new Region(codebook, parts.Codebook.Length * sizeof(float)), new Region(groupIndex, parts.GroupIndex.Length * sizeof(int)),
                new Region(scaleMap, parts.ScaleMap.Length * sizeof(float)), new Region(nestedScales, parts.NestedScales.Length * sizeof(float)),
                new Region(scaleOffset, parts.ScaleOffset.Length * sizeof(float)),
                new Region(outlierColumns, parts.OutlierColumns.Length * sizeof(int)), new Region(outlierWeights, parts.OutlierWeights.Length),
            ];
            for (int i = 0; i < written.Length; i++)
            {
                for (int j = 0; j < i; j++)
                    Guard.Disjoint(written[i], written[j], nameof(parts), nameof(parts));
            }

            var native = new krn_weights_parts
            {
                struct_size = (uint)sizeof(krn_weights_parts),
                high_nibble_first = parts.HighNibbleFirst ? 1 : 0,
                codes = codes,
                codes_ld_bytes = codesLdBytes,
                scales = scales,
                zero_points = zeroPoints,
                zero_offsets = zeroOffsets,
                codebook = codebook,
                group_index = groupIndex,
                scale_map = scaleMap,
                nested_scales = nestedScales,
                scale_offset = scaleOffset,
                outlier_columns = outlierColumns,
                outlier_weights = outlierWeights,
            };
            use.Complete(NativeMethods.krn_weights_unpack(use.Pointer, weights.Pointer, &native));
        }
    }

    /// <summary>Gives back exactly what was packed, of weights with f32 scales.</summary>
    /// <param name="context">The context.</param>
    /// <param name="codes">Receives N rows of K codes.</param>
    /// <param name="scales">Receives [N][groups] scales.</param>
    /// <param name="zeroPoints">Receives [N][groups] zero points of U4 weights; may be empty.</param>
    /// <param name="codesLdBytes">Bytes from one row of codes to the next; 0 for rows without padding.</param>
    /// <exception cref="InvalidOperationException">The scales are of another type.</exception>
    public void Unpack(KernelContext context, Span<byte> codes, Span<float> scales, Span<int> zeroPoints = default, long codesLdBytes = 0)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (Shape.ScaleType != ElementType.F32)
            throw new InvalidOperationException($"The scales are {Shape.ScaleType}: unpack into WeightsParts.");
        long blocks = ScaleCountOf(Shape);
        long rowBytes = Shape.Format.RowBytes(Shape.K);
        codesLdBytes = Guard.LeadingDimension(codesLdBytes, rowBytes);
        Guard.Holds(codes.Length, Shape.N, rowBytes, codesLdBytes, nameof(codes));
        Guard.Holds(scales.Length, blocks, nameof(scales));
        CheckZeroPoints(Shape, zeroPoints.Length, blocks, nameof(zeroPoints), required: false);
        Unpack(context, new WeightsParts
        {
            Codes = codes,
            CodesLdBytes = codesLdBytes,
            Scales = MemoryMarshal.AsBytes(scales),
            ZeroPoints = zeroPoints,
        });
    }

    /// <summary>Gives back what was packed, in arrays of its own, scales as floats.</summary>
    /// <param name="context">The context.</param>
    /// <returns>A tensor whose codes, scales and zero points are those that were packed.</returns>
    /// <exception cref="InvalidOperationException">A tensor cannot say what these weights are: they are ordered or flattened, or have float
    /// offsets, double-quantized scales or outlier columns.</exception>
    public QuantizedTensor Unpack(KernelContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (Shape.ZeroType is not null || Shape.HasNestedScales || Shape.IsOrdered || Shape.IsFlattened || Shape.OutlierCount > 0)
            throw new InvalidOperationException($"A quantized tensor cannot say what {Shape} is: unpack into WeightsParts.");
        QuantizedTensor tensor = Quantizer.Allocate(Shape.ToQuantizeOptions(), Shape.N, Shape.K);
        var scales = new byte[ScaleCountOf(Shape) * (Shape.ScaleType.Bits() / 8)];
        var codebook = new float[Shape.Format == ElementType.C4 ? Kernels.Codebook.Size : 0];
        Unpack(context, new WeightsParts { Codes = tensor.Codes, Scales = scales, ZeroPoints = tensor.ZeroPoints, Codebook = codebook });
        ReadScales(scales, Shape.ScaleType, tensor.Scales);
        return codebook.Length == 0
            ? tensor
            : new QuantizedTensor(
                tensor.Options with { Codebook = new Codebook(codebook) }, tensor.Rows, tensor.Cols, tensor.Codes, tensor.Scales);
    }

    private static krn_weights_desc ToNative(WeightsShape shape)
    {
        if (shape.Format is not (ElementType.S8 or ElementType.S4 or ElementType.U4 or ElementType.C4))
            throw new ArgumentOutOfRangeException(nameof(shape), shape.Format, "Format must be S8, S4, U4 or C4.");
        if (shape.N < 0 || shape.K < 0)
            throw new ArgumentOutOfRangeException(nameof(shape), shape, "N and K must not be negative.");
        if (shape.GroupSize is < 0 or (> 0 and < 16))
            throw new ArgumentOutOfRangeException(nameof(shape), shape.GroupSize, "GroupSize must be at least 16, or 0 for one scale per channel.");
        if (!shape.ScaleType.IsFloat() && shape.ScaleType != ElementType.U8)
            throw new ArgumentOutOfRangeException(nameof(shape), shape.ScaleType, "ScaleType must be F32, F16, BF16, or U8 for double-quantized scales.");
        if (shape.ZeroType is { } zeroType && (!zeroType.IsFloat() || shape.Format == ElementType.C4))
            throw new ArgumentOutOfRangeException(nameof(shape), zeroType, "ZeroType must be null, F32, F16 or BF16, and null for C4.");
        if (shape.IsFlattened && (shape.IsOrdered || shape.GroupSize == 0))
            throw new ArgumentOutOfRangeException(nameof(shape), shape, "Flattened weights need a GroupSize and cannot be ordered.");
        if (shape.OutlierCount < 0 || shape.OutlierCount > shape.K || (shape.OutlierCount > 0 && shape.Format == ElementType.C4))
            throw new ArgumentOutOfRangeException(nameof(shape), shape.OutlierCount, "OutlierCount must be in 0..K, and 0 for C4.");
        if (!shape.OutlierType.IsFloat())
            throw new ArgumentOutOfRangeException(nameof(shape), shape.OutlierType, "OutlierType must be F32, F16 or BF16.");
        return new krn_weights_desc
        {
            struct_size = (uint)sizeof(krn_weights_desc),
            format = (int)shape.Format,
            n = shape.N,
            k = shape.K,
            group_size = shape.GroupSize,
            scale_type = (int)shape.ScaleType,
            zero_type = shape.ZeroType is { } type ? (int)type : 0,
            flattened = shape.IsFlattened ? 1 : 0,
            ordered = shape.IsOrdered ? 1 : 0,
            num_outliers = shape.OutlierCount,
            outlier_type = shape.OutlierCount > 0 ? (int)shape.OutlierType : 0,
        };
    }

    internal static WeightsShape FromNative(in krn_weights_desc description) =>
        new((ElementType)description.format, description.n, description.k, description.group_size)
        {
            ScaleType = (ElementType)description.scale_type,
            ZeroType = description.zero_type == 0 ? null : (ElementType)description.zero_type,
            IsFlattened = description.flattened != 0,
            IsOrdered = description.ordered != 0,
            OutlierCount = description.num_outliers,
            OutlierType = description.outlier_type == 0 ? ElementType.F32 : (ElementType)description.outlier_type,
        };

    /// <summary>Every span has what the shape asks for, and nothing else.</summary>
    /// <returns>The leading dimension of the codes.</returns>
    private static long CheckSource(WeightsShape shape, in WeightsSource source)
    {
        long count = ScaleCountOf(shape), rowBytes = shape.Format.RowBytes(shape.K);
        long codesLdBytes = Guard.LeadingDimension(source.CodesLdBytes, rowBytes, nameof(source));
        Guard.Holds(source.Codes.Length, shape.N, rowBytes, codesLdBytes, nameof(source));
        bool isNested = shape.HasNestedScales;
        CheckWanted("Scales", source.Scales.Length, true, count * (shape.ScaleType.Bits() / 8));
        CheckWanted("ZeroPoints", source.ZeroPoints.Length, shape.HasZeroPoints, count);
        CheckWanted("ZeroOffsets", source.ZeroOffsets.Length, shape.ZeroType is not null, count * ((shape.ZeroType ?? ElementType.U8).Bits() / 8));
        CheckWanted("Codebook", source.Codebook.Length, shape.Format == ElementType.C4, Kernels.Codebook.Size);
        CheckWanted("GroupIndex", source.GroupIndex.Length, shape.IsOrdered, shape.K);
        CheckWanted("ScaleMap", source.ScaleMap.Length, isNested, ScaleMapSize);
        CheckWanted("OutlierColumns", source.OutlierColumns.Length, shape.OutlierCount > 0, shape.OutlierCount);
        if (!source.OutlierWeights.IsEmpty)
            CheckWanted("OutlierWeights", source.OutlierWeights.Length, shape.OutlierCount > 0, OutlierBytes(shape));
        CheckWanted("NestedScales", source.NestedScales.Length, isNested, (count + NestedBlock - 1) / NestedBlock);
        return codesLdBytes;

        void CheckWanted(string name, long length, bool isWanted, long needed)
        {
            if (!isWanted && length != 0)
                throw new ArgumentException($"{name} must be empty: {shape} has none.", nameof(source));
            if (isWanted && length < needed)
                throw new ArgumentException($"{name} has {length} elements, but {needed} are needed.", nameof(source));
        }
    }

    private long CheckParts(in WeightsParts parts)
    {
        long count = ScaleCountOf(Shape), rowBytes = Shape.Format.RowBytes(Shape.K);
        long codesLdBytes = Guard.LeadingDimension(parts.CodesLdBytes, rowBytes, nameof(parts));
        if (!parts.Codes.IsEmpty)
            Guard.Holds(parts.Codes.Length, Shape.N, rowBytes, codesLdBytes, nameof(parts));
        CheckRoom(parts.Scales.Length, count * (Shape.ScaleType.Bits() / 8));
        CheckRoom(parts.ZeroPoints.Length, Shape.HasZeroPoints ? count : 0);
        CheckRoom(parts.ZeroOffsets.Length, Shape.ZeroType is { } zeroType ? count * (zeroType.Bits() / 8) : 0);
        CheckRoom(parts.Codebook.Length, Shape.Format == ElementType.C4 ? Kernels.Codebook.Size : 0);
        CheckRoom(parts.GroupIndex.Length, Shape.IsOrdered ? Shape.K : 0);
        CheckRoom(parts.OutlierColumns.Length, Shape.OutlierCount);
        CheckRoom(parts.OutlierWeights.Length, OutlierBytes(Shape));
        CheckRoom(parts.ScaleMap.Length, Shape.HasNestedScales ? ScaleMapSize : 0);
        CheckRoom(parts.NestedScales.Length, Shape.HasNestedScales ? (count + NestedBlock - 1) / NestedBlock : 0);
        return codesLdBytes;

        void CheckRoom(long length, long needed)
        {
            if (length != 0)
                Guard.Holds(length, needed, nameof(parts));
        }
    }

    private static long OutlierBytes(WeightsShape shape) => checked(shape.N * shape.OutlierCount * (shape.OutlierType.Bits() / 8));

    /// <summary>The library reads scales and offsets as their type.</summary>
    private static void CheckAlignment(byte* start, ElementType type, string name)
    {
        if ((nuint)start % (nuint)(type.Bits() / 8) != 0)
            throw new ArgumentException($"Scales, offsets or outlier weights are not aligned to their elements of {type}.", name);
    }

    private static void CheckIsPlain(WeightsShape shape)
    {
        if (shape.Format == ElementType.C4 || shape.ScaleType != ElementType.F32 || shape.ZeroType is not null || shape.IsOrdered || shape.OutlierCount != 0)
        {
            _ = ToNative(shape);
            throw new ArgumentException($"Scales and zero points are not all that {shape} has: pack a WeightsSource.", nameof(shape));
        }
    }

    private static void CheckZeroPoints(WeightsShape shape, int length, long blocks, string name, bool required)
    {
        if (!shape.HasZeroPoints && length != 0)
            throw new ArgumentException($"{shape.Format} weights have no zero points: pass an empty span.", name);
        if (shape.HasZeroPoints && (required || length != 0))
            Guard.Holds(length, blocks, name);
    }

    private static byte[] ScaleBytes(float[] scales, ElementType type) => type switch
    {
        ElementType.F16 => MemoryMarshal.AsBytes(Array.ConvertAll(scales, scale => (Half)scale).AsSpan()).ToArray(),
        ElementType.BF16 => MemoryMarshal.AsBytes(Array.ConvertAll(scales, scale => (BFloat16)scale).AsSpan()).ToArray(),
        _ => MemoryMarshal.AsBytes(scales.AsSpan()).ToArray(),
    };

    private static void ReadScales(ReadOnlySpan<byte> bytes, ElementType type, Span<float> scales)
    {
        int size = type.Bits() / 8;
        for (int i = 0; i < bytes.Length / size; i++)
        {
            ReadOnlySpan<byte> scale = bytes.Slice(i * size, size);
            scales[i] = type switch
            {
                ElementType.F16 => (float)MemoryMarshal.Read<Half>(scale),
                ElementType.BF16 => (float)MemoryMarshal.Read<BFloat16>(scale),
                _ => MemoryMarshal.Read<float>(scale),
            };
        }
    }

    private static int[] FixedZeroPoints(int count) => Repeat(8, count);

    private static T[] Repeat<T>(T value, long count)
    {
        var values = new T[count];
        Array.Fill(values, value);
        return values;
    }
}
