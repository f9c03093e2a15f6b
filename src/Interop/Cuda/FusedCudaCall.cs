using System.Diagnostics;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>The operands of a fused step on a device but its result, checked when it runs. Fields that a step does not have stay empty.</summary>
internal unsafe struct FusedCudaCall<T>
    where T : unmanaged
{
    public required CudaContext Context;
    public required long Rows;
    public required long Cols;
    public required CudaStream? Stream;
    public CudaBuffer<T>? Source;
    public long SourceLd;
    public long SourceWidth;
    public string SourceName;
    public string SourceLdName;
    public CudaBuffer<T>? Up;
    public long UpLd;
    public CudaBuffer<T>? Residual;
    public long ResidualLd;
    public CudaBuffer<T>? Sum;
    public long SumLd;
    public CudaNormWeights Vectors;
    public string WeightName;
    public GateLayout Layout;
    public bool GeluTanh;
    public CudaHadamardOptions Rotation;
    public bool Rotates;

    /// <summary>Checks, and runs a step that ends in codes.</summary>
    [StackTraceHidden]
    public void Quantize(
        delegate*<krn_cuda_context*, krn_fused_options*, long, long, krn_fused_input*, krn_fused_codes*, int*, void*, int> step,
        in CudaFusedCodes codes, CudaBuffer<int>? flags)
    {
        Check();
        if (codes.Codes is null || codes.Scales is null)
            throw new ArgumentException("The codes are empty: they need buffers.", nameof(codes));
        krn_quantize_options options = Quantizer.ToNative(codes.Options, nameof(codes));
        long blocks = Quantizer.ScaleCount(codes.Options, Rows, Cols);
        long rowBytes = codes.Options.Type.RowBytes(Cols);
        long codesLd = Guard.LeadingDimension(codes.CodesLdBytes, rowBytes, "codes.CodesLdBytes");
        Guard.Holds(codes.Codes.Length, Rows, rowBytes, codesLd, "codes.Codes");
        Guard.Holds(codes.Scales.Length, blocks, "codes.Scales");
        if (codes.Options.Type == ElementType.C4 && codes.ZeroPoints is not null)
            throw new ArgumentException("C4 has no zero points: pass null.", "codes.ZeroPoints");
        if (codes.Options.Asymmetric || codes.ZeroPoints is not null)
            Guard.Holds(codes.ZeroPoints?.Length ?? 0, blocks, "codes.ZeroPoints");
        if (codes.StaticScale == 0 && codes.Options.Granularity == Granularity.Tensor)
            throw new ArgumentException("One scale for the whole tensor takes a StaticScale.", nameof(codes));
        if (codes.StaticScale is not (0 or (>= 1.17549435e-38f and <= float.MaxValue)))
            throw new ArgumentOutOfRangeException("codes.StaticScale", codes.StaticScale, "A static scale is finite and at least 2^-126.");
        CheckWritten(codes.Codes, "codes.Codes");
        CheckWritten(codes.Scales, "codes.Scales");
        krn_fused_codes native = new()
        {
            struct_size = (uint)sizeof(krn_fused_codes),
            static_scale = codes.StaticScale,
            static_zero_point = codes.StaticZeroPoint,
            options = &options,
            codes = CudaAddress.Of(Context, codes.Codes),
            codes_ld_bytes = codesLd,
            scales = (float*)CudaAddress.Of(Context, codes.Scales),
            zero_points = (int*)CudaAddress.Of(Context, codes.ZeroPoints),
        };
        int* flag = CudaAddress.OfFlags(Context, flags);
        Run(step, &native, flag, null, default, null, 0);
        GC.KeepAlive(codes.Options.Codebook);
    }

    /// <summary>Checks, and runs a step with a float result.</summary>
    [StackTraceHidden]
    public void Apply<TResult>(
        delegate*<krn_cuda_context*, krn_fused_options*, long, long, krn_fused_input*, int, void*, long, void*, int> step,
        CudaBuffer<TResult> target, long targetLd)
        where TResult : unmanaged
    {
        Check();
        ArgumentNullException.ThrowIfNull(target);
        ElementType type = ElementTypes.Of<TResult>();
        targetLd = Guard.LeadingDimension(targetLd, Cols);
        Guard.Holds(target.Length, Rows, Cols, targetLd, nameof(target));
        CheckWritten(target, nameof(target), targetLd);
        Run(null, null, null, step, type, CudaAddress.Of(Context, target), targetLd);
    }

    private static void CheckMatrix(CudaBuffer<T> matrix, long rows, long cols, ref long ld, string name, string ldName)
    {
        ld = Guard.LeadingDimension(ld, cols, ldName);
        Guard.Holds(matrix.Length, rows, cols, ld, name);
    }

    private static ArgumentException Overlap(string written, string other) =>
        new($"The memory of '{written}' overlaps that of '{other}'.", written);

    [StackTraceHidden]
    private void Check()
    {
        ArgumentNullException.ThrowIfNull(Context, "context");
        Guard.Dimension(Rows, "rows");
        Guard.Dimension(Cols, "cols");
        _ = ElementTypes.Of<T>();
        if (Source is null)
            throw new ArgumentNullException(SourceName);
        if (SourceWidth != Cols && Cols > long.MaxValue / 2)
            throw new ArgumentOutOfRangeException("cols", Cols, "Twice as many columns do not fit.");
        CheckMatrix(Source, Rows, SourceWidth, ref SourceLd, SourceName, SourceLdName);
        if (Up is not null)
            CheckMatrix(Up, Rows, Cols, ref UpLd, "input.Up", "input.UpLd");
        if (Residual is not null)
        {
            CheckMatrix(Residual, Rows, Cols, ref ResidualLd, "input.Residual", "input.ResidualLd");
            if (Sum is null)
                throw new ArgumentNullException("input.Sum");
            CheckMatrix(Sum, Rows, Cols, ref SumLd, "input.Sum", "input.SumLd");
            if (ReferenceEquals(Sum, Source) && SumLd != SourceLd)
                throw Overlap("input.Sum", SourceName);
            if (ReferenceEquals(Sum, Residual) && SumLd != ResidualLd)
                throw Overlap("input.Sum", "input.Residual");
            if (ReferenceEquals(Sum, Vectors.Weight) || ReferenceEquals(Sum, Vectors.Bias))
                throw Overlap("input.Sum", "weights");
        }
        else if (Sum is not null)
        {
            throw new ArgumentException("There is a sum only with a residual.", "input.Sum");
        }

        if (Vectors.Weight is not null)
            Guard.Holds(Vectors.Weight.Length, Cols, WeightName);
        if (Vectors.Bias is not null)
            Guard.Holds(Vectors.Bias.Length, Cols, "weights.Bias");
        if (Rotates)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Rotation.N, "rotation");
            if (Cols % Rotation.N != 0)
                throw new ArgumentException($"{Cols} columns are not a multiple of the {Rotation.N} elements of a block.", "rotation");
        }
    }

    // Buffers are whole allocations, so that two operands overlap when they are the same buffer. A float result may replace a matrix of the
    // input, row by row, when it has that one's leading dimension.
    [StackTraceHidden]
    private readonly void CheckWritten(ICudaBuffer written, string name, long inPlaceLd = -1)
    {
        if (ReferenceEquals(written, Source) && inPlaceLd != SourceLd)
            throw Overlap(name, SourceName);
        if (ReferenceEquals(written, Up) && inPlaceLd != UpLd)
            throw Overlap(name, "input.Up");
        if (ReferenceEquals(written, Residual) && inPlaceLd != ResidualLd)
            throw Overlap(name, "input.Residual");
        if (ReferenceEquals(written, Sum))
            throw Overlap(name, "input.Sum");
        if (ReferenceEquals(written, Vectors.Weight))
            throw Overlap(name, WeightName);
        if (ReferenceEquals(written, Vectors.Bias))
            throw Overlap(name, "weights.Bias");
        if (ReferenceEquals(written, Rotation.SignsBefore) || ReferenceEquals(written, Rotation.SignsAfter))
            throw Overlap(name, "rotation");
    }

    [StackTraceHidden]
    private readonly void Run(
        delegate*<krn_cuda_context*, krn_fused_options*, long, long, krn_fused_input*, krn_fused_codes*, int*, void*, int> quantize,
        krn_fused_codes* codes, int* flags,
        delegate*<krn_cuda_context*, krn_fused_options*, long, long, krn_fused_input*, int, void*, long, void*, int> apply, ElementType targetType,
        void* target, long targetLd)
    {
        krn_hadamard_options rotation = Rotates ? Hadamard.ToNative(Context, Rotation, "rotation", takesTensorCores: false) : default;
        krn_fused_options options = new()
        {
            struct_size = (uint)sizeof(krn_fused_options),
            vector_type = (int)Vectors.Type,
            weight = CudaAddress.Of(Context, Vectors.Weight, WeightName),
            bias = CudaAddress.Of(Context, Vectors.Bias, "weights.Bias"),
            eps = Vectors.Epsilon,
            gate_layout = (int)Layout,
            gelu_tanh = GeluTanh ? 1 : 0,
            rotation = Rotates ? &rotation : null,
        };
        krn_fused_input input = new()
        {
            struct_size = (uint)sizeof(krn_fused_input),
            type = (int)ElementTypes.Of<T>(),
            source = CudaAddress.Of(Context, Source, SourceName),
            source_ld = SourceLd,
            up = CudaAddress.Of(Context, Up, "input.Up"),
            up_ld = UpLd,
            residual = CudaAddress.Of(Context, Residual, "input.Residual"),
            residual_ld = ResidualLd,
            sum = CudaAddress.Of(Context, Sum, "input.Sum"),
            sum_ld = SumLd,
        };
        using var use = new CudaUse(Context, Stream);
        KernelException.ThrowIfFailed(
            quantize != null
                ? quantize(use.Context, &options, Rows, Cols, &input, codes, flags, use.Stream)
                : apply(use.Context, &options, Rows, Cols, &input, (int)targetType, target, targetLd, use.Stream));
    }
}
