using System.Diagnostics;
using System.Runtime.CompilerServices;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Hadamard rotation of rows, which spreads outliers over all channels before a tensor is quantized (QuaRot, QuIP#).</summary>
/// <remarks>
/// Type arguments are <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>. A leading dimension is the distance from one row
/// to the next; 0 means that rows follow each other without padding. Every instruction set and thread count gives the same bits. Which matrix
/// an order has, and the order of additions, are those of native/include/kernels/hadamard.h.
/// </remarks>
public static unsafe partial class Hadamard
{
    /// <summary>The longest block.</summary>
    public const long MaxN = NativeMethods.KRN_HADAMARD_MAX_N;

    private const long MaxMatrixN = 32768;

    /// <summary>Whether there is a Hadamard matrix of an order here.</summary>
    /// <param name="n">The order.</param>
    /// <returns>Whether there is one.</returns>
    public static bool IsSupported(long n) => n is >= 1 and <= MaxN && NativeMethods.krn_hadamard_supported(n) == (int)KernelStatus.Ok;

    /// <summary>Name of the variant that runs in a context, such as "avx512".</summary>
    /// <param name="context">The context.</param>
    /// <returns>The name.</returns>
    public static string Variant(KernelContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using ContextUse use = context.Share();
        return NativeText.Required(NativeMethods.krn_hadamard_variant(use.Pointer));
    }

    /// <summary>Writes the matrix of an order, row after row, entries +1 and -1.</summary>
    /// <param name="n">The order, at most 32768.</param>
    /// <param name="matrix">Receives n * n entries.</param>
    /// <exception cref="KernelException">There is no matrix of this order (<see cref="KernelStatus.Unsupported"/>).</exception>
    public static void Matrix(long n, Span<sbyte> matrix)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(n, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(n, MaxMatrixN);
        Guard.Holds(matrix.Length, n * n, nameof(matrix));
        fixed (sbyte* pinned = matrix)
            KernelException.ThrowIfFailed(NativeMethods.krn_hadamard_matrix(n, pinned));
    }

    /// <summary>Random signs of a randomized Hadamard transform: bits of splitmix64.</summary>
    /// <param name="seed">Any number; the same one gives the same signs.</param>
    /// <param name="n">Elements of a block.</param>
    /// <returns>A bit per element, in ceil(n / 8) bytes.</returns>
    public static byte[] RandomSigns(ulong seed, long n)
    {
        CheckN(n);
        var signs = new byte[(n + 7) / 8];
        fixed (byte* pinned = signs)
            KernelException.ThrowIfFailed(NativeMethods.krn_hadamard_random_signs(seed, n, pinned));
        return signs;
    }

    /// <summary>Rotates a matrix, with a workspace that the context keeps: it grows when a call needs more than any before, and other calls
    /// allocate nothing.</summary>
    /// <typeparam name="T">The type of source and target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">The rotation.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row: a multiple of <see cref="HadamardOptions.N"/>.</param>
    /// <param name="source">The matrix.</param>
    /// <param name="target">Receives the result: the memory of the source, with the same leading dimension, or memory that does not overlap it.</param>
    /// <param name="sourceLd">Leading dimension of the source in elements.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    /// <exception cref="KernelException">There is no matrix of this order (<see cref="KernelStatus.Unsupported"/>).</exception>
    public static void Rotate<T>(
        KernelContext context, in HadamardOptions options, long rows, long cols, ReadOnlySpan<T> source, Span<T> target, long sourceLd = 0,
        long targetLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        ElementType type = FloatType<T>();
        (sourceLd, targetLd) = CheckMatrices(options, rows, cols, source.Length, sourceLd, nameof(source), target.Length, targetLd);

        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (byte* before = options.SignsBefore.Span)
        fixed (byte* after = options.SignsAfter.Span)
        fixed (T* sourcePinned = source)
        fixed (T* targetPinned = target)
        {
            CheckOverlap(sourcePinned, sourceLd, targetPinned, targetLd, rows, cols, nameof(source));
            krn_hadamard_options native = ToNative(options, before, after);
            long bytes = 0;
            KernelException.ThrowIfFailed(NativeMethods.krn_hadamard_workspace_size(use.Pointer, &native, &bytes));
            use.Complete(NativeMethods.krn_hadamard(
                use.Pointer, &native, rows, cols, (int)type, Pin.OrEmpty(sourcePinned, &nothing), sourceLd, Pin.OrEmpty(targetPinned, &nothing),
                targetLd, context.Handle.Workspace(bytes), bytes));
        }
    }

    /// <summary>Rotates a matrix in place.</summary>
    /// <typeparam name="T">The type of the matrix.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="options">The rotation.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row: a multiple of <see cref="HadamardOptions.N"/>.</param>
    /// <param name="matrix">The matrix.</param>
    /// <param name="ld">Its leading dimension in elements.</param>
    /// <exception cref="KernelException">There is no matrix of this order (<see cref="KernelStatus.Unsupported"/>).</exception>
    public static void Rotate<T>(KernelContext context, in HadamardOptions options, long rows, long cols, Span<T> matrix, long ld = 0)
        where T : unmanaged
    {
        ld = Guard.LeadingDimension(ld, cols);
        Guard.Holds(matrix.Length, Math.Max(0, rows), Math.Max(0, cols), ld, nameof(matrix));
        Rotate<T>(context, options, rows, cols, matrix, matrix, ld, ld);
    }

    /// <summary>Rotates the weights W[N,K] of a linear layer, offline, so that rotated activations times them give the outputs as before,
    /// or rotated.</summary>
    /// <typeparam name="T">The type of weights and target.</typeparam>
    /// <param name="context">The context.</param>
    /// <param name="input">What rotates the activations; null leaves rows alone.</param>
    /// <param name="output">What rotates the outputs; null leaves columns alone.</param>
    /// <param name="n">Output channels: a multiple of the N of <paramref name="output"/>.</param>
    /// <param name="k">Inputs: a multiple of the N of <paramref name="input"/>.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="target">Receives the rotated weights: the same memory with the same leading dimension, or memory that does not overlap.</param>
    /// <param name="useDouble">Whether to calculate in binary64 and round once.</param>
    /// <param name="weightsLd">Leading dimension of the weights in elements.</param>
    /// <param name="targetLd">Leading dimension of the target in elements.</param>
    /// <exception cref="KernelException">There is no matrix of an order (<see cref="KernelStatus.Unsupported"/>), or not enough memory.</exception>
    public static void RotateWeights<T>(
        KernelContext context, HadamardOptions? input, HadamardOptions? output, long n, long k, ReadOnlySpan<T> weights, Span<T> target,
        bool useDouble = true, long weightsLd = 0, long targetLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        if (input is null && output is null)
            throw new ArgumentException("Without a rotation on either side there is nothing to do.", nameof(input));
        ElementType type = FloatType<T>();
        HadamardOptions rows = input.GetValueOrDefault(), columns = output.GetValueOrDefault();
        if (input is not null)
            CheckOptions(rows, nameof(input));
        if (output is not null)
            CheckOptions(columns, nameof(output));
        Guard.Dimension(n);
        Guard.Dimension(k);
        CheckMultiple(n, output?.N ?? 1, nameof(n));
        CheckMultiple(k, input?.N ?? 1, nameof(k));
        weightsLd = Guard.LeadingDimension(weightsLd, k);
        targetLd = Guard.LeadingDimension(targetLd, k);
        Guard.Holds(weights.Length, n, k, weightsLd, nameof(weights));
        Guard.Holds(target.Length, n, k, targetLd, nameof(target));

        using ContextUse use = context.Use();
        long nothing = 0;
        fixed (byte* rowsBefore = rows.SignsBefore.Span)
        fixed (byte* rowsAfter = rows.SignsAfter.Span)
        fixed (byte* columnsBefore = columns.SignsBefore.Span)
        fixed (byte* columnsAfter = columns.SignsAfter.Span)
        fixed (T* weightsPinned = weights)
        fixed (T* targetPinned = target)
        {
            CheckOverlap(weightsPinned, weightsLd, targetPinned, targetLd, n, k, nameof(weights));
            krn_hadamard_options nativeRows = ToNative(rows, rowsBefore, rowsAfter), nativeColumns = ToNative(columns, columnsBefore, columnsAfter);
            use.Complete(NativeMethods.krn_hadamard_weights(
                use.Pointer, input is null ? null : &nativeRows, output is null ? null : &nativeColumns, useDouble ? 1 : 0, n, k, (int)type,
                Pin.OrEmpty(weightsPinned, &nothing), weightsLd, Pin.OrEmpty(targetPinned, &nothing), targetLd));
        }
    }

    private static krn_hadamard_options ToNative(in HadamardOptions options, byte* before, byte* after) => new()
    {
        struct_size = (uint)sizeof(krn_hadamard_options),
        normalized = options.Normalized ? 1 : 0,
        n = options.N,
        inverse = options.Inverse ? 1 : 0,
        signs_before = before,
        signs_after = after,
    };

    [StackTraceHidden]
    private static ElementType FloatType<T>()
        where T : unmanaged => ElementTypes.Of<T>();

    [StackTraceHidden]
    private static void CheckN(long n, [CallerArgumentExpression(nameof(n))] string? name = null)
    {
        if (n is < 1 or > MaxN)
            throw new ArgumentOutOfRangeException(name, n, $"A block has 1 to {MaxN} elements.");
    }

    [StackTraceHidden]
    private static void CheckOptions(in HadamardOptions options, string name)
    {
        CheckN(options.N, name);
        long bytes = (options.N + 7) / 8;
        CheckSigns(options.SignsBefore, bytes, name, nameof(options.SignsBefore));
        CheckSigns(options.SignsAfter, bytes, name, nameof(options.SignsAfter));
    }

    // The name is put together only when it is needed: strings are allocated.
    [StackTraceHidden]
    private static void CheckSigns(ReadOnlyMemory<byte> signs, long bytes, string options, string name)
    {
        if (!signs.IsEmpty && signs.Length < bytes)
            Guard.Holds(signs.Length, bytes, $"{options}.{name}");
    }

    [StackTraceHidden]
    private static void CheckMultiple(long size, long n, string name)
    {
        if (size % n != 0)
            throw new ArgumentOutOfRangeException(name, size, $"Must be a multiple of the {n} elements of a block.");
    }

    [StackTraceHidden]
    private static (long SourceLd, long TargetLd) CheckMatrices(
        in HadamardOptions options, long rows, long cols, int sourceLength, long sourceLd, string sourceName, int targetLength, long targetLd)
    {
        CheckOptions(options, nameof(options));
        Guard.Dimension(rows);
        Guard.Dimension(cols);
        CheckMultiple(cols, options.N, nameof(cols));
        sourceLd = Guard.LeadingDimension(sourceLd, cols);
        targetLd = Guard.LeadingDimension(targetLd, cols);
        Guard.Holds(sourceLength, rows, cols, sourceLd, sourceName);
        Guard.Holds(targetLength, rows, cols, targetLd, "target");
        return (sourceLd, targetLd);
    }

    [StackTraceHidden]
    private static void CheckOverlap<T>(T* source, long sourceLd, T* target, long targetLd, long rows, long cols, string sourceName)
        where T : unmanaged
    {
        if (source == target && sourceLd == targetLd)
            return;
        var read = new Region(source, rows, cols * sizeof(T), sourceLd * sizeof(T));
        var written = new Region(target, rows, cols * sizeof(T), targetLd * sizeof(T));
        Guard.Disjoint(written, read, "target", sourceName);
    }
}
