using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Random operands of a GEMM: codes over the whole range of their type, scales of both signs and zero, ragged rows.</summary>
internal sealed class GemmOperands
{
    /// <summary>A byte that no kernel may touch, and that would show in a result that used it.</summary>
    public const byte Canary = 0x5A;

    private readonly GemmSpec _spec;

    /// <summary>Makes operands.</summary>
    /// <param name="spec">The cell and the shape.</param>
    /// <param name="output">The output type.</param>
    /// <param name="padding">Elements by which leading dimensions exceed widths.</param>
    /// <param name="isExtreme">Codes at the ends of their ranges, so that sums grow as fast as they can.</param>
    /// <param name="random">Random numbers.</param>
    public GemmOperands(GemmSpec spec, ElementType output, int padding, bool isExtreme, Xoshiro256 random)
    {
        _spec = spec;
        OutputType = output;
        int m = (int)spec.M, n = (int)spec.N, k = (int)spec.K;
        XLd = k + padding;
        YLd = n + 2 * padding;
        ResidualLd = n + padding;

        WeightScheme weights = spec.Cell.Weights;
        int codesStride = (int)weights.Format.RowBytes(k) + padding;
        byte[] codes = Filled(n * codesStride);
        (int low, int high) = RangeOf(weights.Format);
        var row = new int[k];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < k; j++)
                row[j] = isExtreme ? (i % 2 == 0 ? low : high) : low + (int)random.NextBelow(high - low + 1);
            CodeReader.Narrow(weights.Format, row, codes.AsSpan(i * codesStride, (int)weights.Format.RowBytes(k)));
        }

        int blocks = (int)weights.ScalesOf(n, k);
        var scales = new float[blocks];
        for (int i = 0; i < blocks; i++)
            scales[i] = i % 13 == 12 ? 0 : (float)(0.001 + 0.02 * random.NextUniform()) * (i % 7 == 6 ? -1 : 1);
        int[]? zeroPoints = weights.Format == ElementType.U4 ? new int[blocks] : null;
        for (int i = 0; zeroPoints is not null && i < blocks; i++)
            zeroPoints[i] = isExtreme ? (i % 2 == 0 ? 15 : 0) : (int)random.NextBelow(16);
        Weights = WeightStorage.Make(
            weights, weights.ToShape(n, k), codes, codesStride, scales, zeroPoints, WeightStorage.GroupIndexOf(weights, k));
        if (weights.OutlierType is { } kept)
        {
            int count = (int)weights.OutliersOf(k);
            Weights = Weights with
            {
                OutlierColumns = [.. Enumerable.Range(1, count).Select(j => (j * k / count) - 1)],
                // Every second shape has weights that are not those of the codes.
                OutlierWeights = n % 2 == 0 ? null : Array.ConvertAll(Floats(n * count, ref random), weight => FloatConvert.Round(kept, weight)),
            };
        }

        ElementType type = spec.Cell.Activations;
        XStride = (int)type.RowBytes(XLd);
        X = Filled(m * XStride);
        XScales = type.IsQuantized() ? new float[m] : [];
        XZeroPoints = type == ElementType.U8 ? new int[m] : [];
        for (int i = 0; i < m; i++)
        {
            Span<byte> target = X.AsSpan(i * XStride, (int)type.RowBytes(k));
            if (type.IsQuantized())
                FillIntegers(i, type, k, target, isExtreme, ref random);
            else
                FillFloats(type, target, ref random);
        }

        Bias = Floats(n, ref random);
        float[] residual = Floats(m * ResidualLd, ref random);
        Residual = new byte[residual.Length * (output.Bits() / 8)];
        FloatConvert.FromSingle(output, residual, Residual);
        if (spec.Cell.LoraRank > 0)
            Lora = LoraData.Make((int)spec.Cell.LoraRank, n, k);
        int[] outliers = spec.Cell.HasOutliers
            ? SideOracle.FindOutliers(Enumerable.Range(0, m).Select(FloatRow), k, GemmOptions.DefaultOutlierThreshold)
            : spec.Cell.Compute is null ? [] : Weights.OutlierColumns;
        Side = new SideOracle(outliers, Lora);
    }

    /// <summary>The weights as the oracle reads them.</summary>
    public OracleWeights Weights { get; }

    /// <summary>Activations, <see cref="XLd"/> elements to a row.</summary>
    public byte[] X { get; }

    /// <summary>Leading dimension of the activations.</summary>
    public int XLd { get; }

    /// <summary>Bytes from a row of activations to the next.</summary>
    public int XStride { get; }

    /// <summary>Scale of each token.</summary>
    public float[] XScales { get; }

    /// <summary>Zero point of each token.</summary>
    public int[] XZeroPoints { get; }

    /// <summary>Bias of each channel.</summary>
    public float[] Bias { get; }

    /// <summary>Residual in the output type, <see cref="ResidualLd"/> elements to a row.</summary>
    public byte[] Residual { get; }

    /// <summary>Leading dimension of the residual.</summary>
    public int ResidualLd { get; }

    /// <summary>Leading dimension of the result.</summary>
    public int YLd { get; }

    /// <summary>The adapter, if there is one.</summary>
    public LoraOperand? Lora { get; }

    /// <summary>The side term as the oracle computes it.</summary>
    public SideOracle Side { get; }

    /// <summary>The output type.</summary>
    public ElementType OutputType { get; }

    /// <summary>A row of integer activations as the oracle reads it.</summary>
    public IntegerRow IntegerRow(int m)
    {
        if (_spec.Cell.Compute is { } compute)
            return Side.Quantize(compute, FloatRow(m));
        var values = new int[_spec.K];
        CodeReader.Widen(_spec.Cell.Activations, X.AsSpan(m * XStride), values);
        if (_spec.Cell.Activations == ElementType.U8)
        {
            for (int k = 0; k < values.Length; k++)
                values[k] -= XZeroPoints[m];
        }

        return new IntegerRow(values, XScales[m]);
    }

    /// <summary>A row of float activations as the oracle reads it.</summary>
    public float[] FloatRow(int m)
    {
        var values = new float[_spec.K];
        FloatConvert.ToSingle(_spec.Cell.Activations, X.AsSpan(m * XStride), values);
        return values;
    }

    /// <summary>What a row brings to the side term.</summary>
    public SideRow SideRow(int m) => _spec.Cell.Activations.IsFloat() ? Side.Row(FloatRow(m)) : new SideRow([], [], []);

    /// <summary>A buffer of bytes that are all canaries.</summary>
    public static byte[] Filled(int bytes)
    {
        var buffer = new byte[bytes];
        buffer.AsSpan().Fill(Canary);
        return buffer;
    }

    /// <summary>Whether bytes are canaries still.</summary>
    public static bool IsUntouched(ReadOnlySpan<byte> bytes) => !bytes.ContainsAnyExcept(Canary);

    /// <summary>The operands as bytes, to tell whether they are those of the golden vector.</summary>
    public ReadOnlyMemory<byte>[] Bytes() =>
    [
        Weights.Codes, MemoryMarshal.AsBytes(Weights.Scales.AsSpan()).ToArray(), MemoryMarshal.AsBytes((Weights.ZeroPoints ?? []).AsSpan()).ToArray(), X,
        MemoryMarshal.AsBytes(XScales.AsSpan()).ToArray(), MemoryMarshal.AsBytes(XZeroPoints.AsSpan()).ToArray(),
        MemoryMarshal.AsBytes(Bias.AsSpan()).ToArray(), Residual,
        MemoryMarshal.AsBytes((Weights.Offsets ?? []).AsSpan()).ToArray(), MemoryMarshal.AsBytes((Weights.GroupIndex ?? []).AsSpan()).ToArray(),
        MemoryMarshal.AsBytes(Weights.OutlierColumns.AsSpan()).ToArray(), MemoryMarshal.AsBytes((Weights.OutlierWeights ?? []).AsSpan()).ToArray(),
        MemoryMarshal.AsBytes((Lora?.A ?? []).AsSpan()).ToArray(), MemoryMarshal.AsBytes((Lora?.B ?? []).AsSpan()).ToArray(),
    ];

    private void FillIntegers(int m, ElementType type, int count, Span<byte> target, bool isExtreme, ref Xoshiro256 random)
    {
        (int low, int high) = RangeOf(type);
        XScales[m] = (float)(0.01 + 0.1 * random.NextUniform());
        if (type == ElementType.U8)
            XZeroPoints[m] = isExtreme ? (m % 2 == 0 ? low : high) : (int)random.NextBelow(high + 1);
        var codes = new int[count];
        for (int k = 0; k < codes.Length; k++)
            codes[k] = isExtreme ? (m % 2 == 0 ? high : low) : low + (int)random.NextBelow(high - low + 1);
        CodeReader.Narrow(type, codes, target);
    }

    private static void FillFloats(ElementType type, Span<byte> target, ref Xoshiro256 random)
    {
        float[] values = Floats(target.Length / (type.Bits() / 8), ref random);
        FloatConvert.FromSingle(type, values, target);
    }

    // Mostly ordinary values, some zeros, some outliers.
    private static float[] Floats(int count, ref Xoshiro256 random)
    {
        var values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = i % 17 == 16 ? 0 : (float)random.NextNormal() * (i % 41 == 40 ? 30 : 1);
        return values;
    }

    private static (int Low, int High) RangeOf(ElementType type) => type switch
    {
        ElementType.S8 => (-128, 127),
        ElementType.U8 => (0, 255),
        ElementType.S4 => (-8, 7),
        _ => (0, 15),
    };
}
