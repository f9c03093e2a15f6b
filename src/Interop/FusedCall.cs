using System.Diagnostics;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>The operands of a fused step but its result, checked when it runs. Fields that a step does not have stay empty.</summary>
internal unsafe ref struct FusedCall<T>
    where T : unmanaged
{
    public required KernelContext Context;
    public required long Rows;
    public required long Cols;
    public ReadOnlySpan<T> Source;
    public long SourceLd;
    public long SourceWidth;
    public string SourceName;
    public string SourceLdName;
    public ReadOnlySpan<T> Up;
    public long UpLd;
    public bool HasUp;
    public ReadOnlySpan<T> Residual;
    public long ResidualLd;
    public Span<T> Sum;
    public long SumLd;
    public NormWeights Vectors;
    public string WeightName;
    public bool NeedsWeight;
    public GateLayout Layout;
    public bool GeluTanh;
    public HadamardOptions Rotation;
    public bool Rotates;
    public Span<byte> Workspace;

    /// <summary>Checks, and runs a step that ends in codes.</summary>
    [StackTraceHidden]
    public void Quantize(
        delegate*<krn_context*, krn_fused_options*, long, long, krn_fused_input*, krn_fused_codes*, void*, long, int> step, in FusedCodes codes)
    {
        Check();
        krn_quantize_options options = Quantizer.ToNative(codes.Options, "codes");
        long blocks = Quantizer.ScaleCount(codes.Options, Rows, Cols);
        long rowBytes = codes.Options.Type.RowBytes(Cols);
        long codesLd = Guard.LeadingDimension(codes.CodesLdBytes, rowBytes, "codes.CodesLdBytes");
        Guard.Holds(codes.Codes.Length, Rows, rowBytes, codesLd, "codes.Codes");
        Guard.Holds(codes.Scales.Length, blocks, "codes.Scales");
        if (codes.Options.Type == ElementType.C4 && !codes.ZeroPoints.IsEmpty)
            throw new ArgumentException("C4 has no zero points: pass an empty span.", "codes.ZeroPoints");
        if (codes.Options.Asymmetric || !codes.ZeroPoints.IsEmpty)
            Guard.Holds(codes.ZeroPoints.Length, blocks, "codes.ZeroPoints");
        CheckStaticScale(codes);
        long nothing = 0;
        fixed (byte* codesPinned = codes.Codes)
        fixed (float* scales = codes.Scales)
        fixed (int* zeroPoints = codes.ZeroPoints)
        {
            krn_fused_codes native = new()
            {
                struct_size = (uint)sizeof(krn_fused_codes),
                static_scale = codes.StaticScale,
                static_zero_point = codes.StaticZeroPoint,
                options = &options,
                codes = Pin.OrEmpty(codesPinned, &nothing),
                codes_ld_bytes = codesLd,
                scales = Pin.OrEmpty(scales, &nothing),
                zero_points = codes.Options.Asymmetric ? Pin.OrEmpty(zeroPoints, &nothing) : zeroPoints,
            };
            ReadOnlySpan<Region> written =
                [new(codesPinned, Rows, rowBytes, codesLd), new(scales, blocks * sizeof(float)), new(zeroPoints, blocks * sizeof(int))];
            Run(step, &native, null, default, null, 0, written, ["codes.Codes", "codes.Scales", "codes.ZeroPoints"]);
        }

        GC.KeepAlive(codes.Options.Codebook);
    }

    /// <summary>Checks, and runs a step with a float result.</summary>
    [StackTraceHidden]
    public void Apply<TResult>(
        delegate*<krn_context*, krn_fused_options*, long, long, krn_fused_input*, int, void*, long, void*, long, int> step,
        Span<TResult> target, long targetLd)
        where TResult : unmanaged
    {
        Check();
        ElementType type = ElementTypes.Of<TResult>();
        targetLd = Guard.LeadingDimension(targetLd, Cols);
        Guard.Holds(target.Length, Rows, Cols, targetLd, nameof(target));
        long nothing = 0;
        fixed (TResult* pinned = target)
        {
            ReadOnlySpan<Region> written = [new(pinned, Rows, Cols * sizeof(TResult), targetLd * sizeof(TResult)), default, default];
            Run(null, null, step, type, Pin.OrEmpty(pinned, &nothing), targetLd, written, [nameof(target), "", ""]);
        }
    }

    private static void CheckStaticScale(in FusedCodes codes)
    {
        if (codes.StaticScale == 0)
        {
            if (codes.Options.Granularity == Granularity.Tensor)
                throw new ArgumentException("One scale for the whole tensor takes a StaticScale.", nameof(codes));
        }
        else if (codes.StaticScale is not (>= 1.17549435e-38f and <= float.MaxValue))
        {
            throw new ArgumentOutOfRangeException("codes.StaticScale", codes.StaticScale, "A static scale is finite and at least 2^-126.");
        }
    }

    private static void Vector(long length, long cols, bool isRequired, string name)
    {
        if (length != 0 || isRequired)
            Guard.Holds(length, cols, name);
    }

    [StackTraceHidden]
    private void Check()
    {
        ArgumentNullException.ThrowIfNull(Context, "context");
        Guard.Dimension(Rows, "rows");
        Guard.Dimension(Cols, "cols");
        _ = ElementTypes.Of<T>();
        if (SourceWidth > Cols && Cols > long.MaxValue / 2)
            throw new ArgumentOutOfRangeException("cols", Cols, "Twice as many columns do not fit.");
        SourceLd = Guard.LeadingDimension(SourceLd, SourceWidth, SourceLdName);
        Guard.Holds(Source.Length, Rows, SourceWidth, SourceLd, SourceName);
        if (HasUp)
        {
            UpLd = Guard.LeadingDimension(UpLd, Cols, "input.UpLd");
            Guard.Holds(Up.Length, Rows, Cols, UpLd, "input.Up");
        }

        if (!Residual.IsEmpty)
        {
            ResidualLd = Guard.LeadingDimension(ResidualLd, Cols, "input.ResidualLd");
            Guard.Holds(Residual.Length, Rows, Cols, ResidualLd, "input.Residual");
            SumLd = Guard.LeadingDimension(SumLd, Cols, "input.SumLd");
            Guard.Holds(Sum.Length, Rows, Cols, SumLd, "input.Sum");
        }
        else if (!Sum.IsEmpty)
        {
            throw new ArgumentException("There is a sum only with a residual.", "input.Sum");
        }

        Vector(Vectors.WeightLength, Cols, NeedsWeight, WeightName);
        Vector(Vectors.BiasLength, Cols, false, "weights.Bias");
        if (Rotates)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Rotation.N, "rotation");
            if (Cols % Rotation.N != 0)
                throw new ArgumentException($"{Cols} columns are not a multiple of the {Rotation.N} elements of a block.", "rotation");
            long signBytes = (Rotation.N / 8) + (Rotation.N % 8 != 0 ? 1 : 0);
            Vector(Rotation.SignsBefore.Length, signBytes, false, "rotation.SignsBefore");
            Vector(Rotation.SignsAfter.Length, signBytes, false, "rotation.SignsAfter");
        }
    }

    [StackTraceHidden]
    private void Run(
        delegate*<krn_context*, krn_fused_options*, long, long, krn_fused_input*, krn_fused_codes*, void*, long, int> quantize, krn_fused_codes* codes,
        delegate*<krn_context*, krn_fused_options*, long, long, krn_fused_input*, int, void*, long, void*, long, int> apply, ElementType targetType,
        void* target, long targetLd, scoped ReadOnlySpan<Region> written, scoped ReadOnlySpan<string> writtenNames)
    {
        using ContextUse use = Context.Use();
        long nothing = 0, needed = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_fused_workspace_size(use.Pointer, Cols, &needed));
        fixed (T* source = Source)
        fixed (T* up = Up)
        fixed (T* residual = Residual)
        fixed (T* sum = Sum)
        fixed (byte* weight = &Vectors.Weight)
        fixed (byte* bias = &Vectors.Bias)
        fixed (byte* before = Rotation.SignsBefore.Span)
        fixed (byte* after = Rotation.SignsAfter.Span)
        fixed (byte* callersWorkspace = Workspace)
        {
            krn_hadamard_options rotation = new()
            {
                struct_size = (uint)sizeof(krn_hadamard_options),
                normalized = Rotation.Normalized ? 1 : 0,
                n = Rotation.N,
                inverse = Rotation.Inverse ? 1 : 0,
                signs_before = before,
                signs_after = after,
            };
            krn_fused_options options = new()
            {
                struct_size = (uint)sizeof(krn_fused_options),
                vector_type = (int)Vectors.Type,
                weight = NeedsWeight ? Pin.OrEmpty(weight, &nothing) : Vectors.WeightLength == 0 ? null : weight,
                bias = Vectors.BiasLength == 0 ? null : bias,
                eps = Vectors.Epsilon,
                gate_layout = (int)Layout,
                gelu_tanh = GeluTanh ? 1 : 0,
                rotation = Rotates ? &rotation : null,
            };
            krn_fused_input input = new()
            {
                struct_size = (uint)sizeof(krn_fused_input),
                type = (int)ElementTypes.Of<T>(),
                source = Pin.OrEmpty(source, &nothing),
                source_ld = SourceLd,
                up = HasUp ? Pin.OrEmpty(up, &nothing) : null,
                up_ld = HasUp ? UpLd : 0,
                residual = residual,
                residual_ld = residual == null ? 0 : ResidualLd,
                sum = sum,
                sum_ld = sum == null ? 0 : SumLd,
            };
            var matrix = new Matrices(Rows, Cols, sizeof(T));
            Region sourceRegion = new(source, Rows, SourceWidth * sizeof(T), SourceLd * sizeof(T));
            Region sumRegion = matrix.At(sum, SumLd);
            ReadOnlySpan<Region> read =
            [
                sourceRegion, matrix.At(up, UpLd), matrix.At(residual, ResidualLd),
                new(weight, Vectors.WeightLength * VectorBytes), new(bias, Vectors.BiasLength * VectorBytes),
                new(before, Rotation.SignsBefore.Length), new(after, Rotation.SignsAfter.Length),
            ];
            ReadOnlySpan<string> readNames =
                [SourceName, "input.Up", "input.Residual", WeightName, "weights.Bias", "rotation.SignsBefore", "rotation.SignsAfter"];
            bool isFloat = apply != null;
            for (int w = 0; w < written.Length; w++)
            {
                for (int other = w + 1; other < written.Length; other++)
                    Guard.Disjoint(written[w], written[other], writtenNames[w], writtenNames[other]);
                Guard.Disjoint(written[w], sumRegion, writtenNames[w], "input.Sum");
                for (int r = 0; r < read.Length; r++)
                {
                    // A float result may replace a matrix of the input, row by row.
                    bool isInPlace = isFloat && target == (r == 0 ? source : r == 1 ? up : r == 2 ? residual : null)
                        && targetLd == (r == 0 ? SourceLd : r == 1 ? UpLd : ResidualLd) && targetType == ElementTypes.Of<T>() && r < 3;
                    if (!isInPlace)
                        Guard.Disjoint(written[w], read[r], writtenNames[w], readNames[r]);
                }
            }

            if (!(sum == source && SumLd == SourceLd))
                Guard.Disjoint(sumRegion, read[0], "input.Sum", readNames[0]);
            if (!(sum == residual && SumLd == ResidualLd))
                Guard.Disjoint(sumRegion, read[2], "input.Sum", readNames[2]);
            for (int r = 3; r < read.Length; r++)
                Guard.Disjoint(sumRegion, read[r], "input.Sum", readNames[r]);

            void* space = callersWorkspace;
            if (callersWorkspace == null)
            {
                space = Context.Handle.Workspace(needed);
            }
            else
            {
                Guard.Holds(Workspace.Length, needed, "workspace");
                Guard.Aligned(callersWorkspace, "workspace");
                Region workspaceRegion = new(callersWorkspace, Workspace.Length);
                Guard.Disjoint(workspaceRegion, sumRegion, "workspace", "input.Sum");
                for (int w = 0; w < written.Length; w++)
                    Guard.Disjoint(workspaceRegion, written[w], "workspace", writtenNames[w]);
                for (int r = 0; r < read.Length; r++)
                    Guard.Disjoint(workspaceRegion, read[r], "workspace", readNames[r]);
            }

            long bytes = callersWorkspace == null ? needed : Workspace.Length;
            use.Complete(
                quantize != null
                    ? quantize(use.Pointer, &options, Rows, Cols, &input, codes, space, bytes)
                    : apply(use.Pointer, &options, Rows, Cols, &input, (int)targetType, target, targetLd, space, bytes));
        }
    }

    private readonly long VectorBytes => Vectors.Type == default ? 0 : Vectors.Type.Bits() / 8;

    private readonly struct Matrices(long rows, long cols, long elementBytes)
    {
        public Region At(void* start, long ld) => new(start, rows, cols * elementBytes, ld * elementBytes);
    }
}
