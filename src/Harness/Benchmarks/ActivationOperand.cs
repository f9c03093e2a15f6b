using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Benchmarks;

/// <summary>Activations of a cell, and what the call does to them, for the library and for the oracle.</summary>
internal sealed class ActivationOperand : IDisposable
{
    private readonly GemmScheme _cell;
    private readonly AlignedBuffer _data;
    private readonly float[] _scales;
    private readonly int[] _zeroPoints;
    private readonly int _columns;
    private readonly float _outlierThreshold;
    private readonly LoraOperand? _lora;

    /// <summary>Converts the first <paramref name="m"/> rows of a layer's activations, quantizing per token where the type is an
    /// integer.</summary>
    /// <param name="quantizing">The context that quantizes.</param>
    /// <param name="layer">The layer.</param>
    /// <param name="m">Rows.</param>
    /// <param name="cell">The cell.</param>
    /// <param name="fixedOutliers">Outlier columns of the weights.</param>
    public ActivationOperand(KernelContext quantizing, LayerData layer, long m, GemmScheme cell, int[] fixedOutliers)
    {
        _cell = cell;
        _columns = (int)layer.K;
        int elements = checked((int)(m * layer.K));
        ReadOnlySpan<float> source = layer.Activations.AsSpan(0, elements);
        ElementType type = cell.Activations;
        _data = new AlignedBuffer(Math.Max(1, m * type.RowBytes(layer.K)));
        _scales = type.IsQuantized() ? new float[m] : [];
        _zeroPoints = type == ElementType.U8 ? new int[m] : [];
        if (type.IsQuantized())
        {
            var options = new QuantizeOptions(type, Granularity.Token, Asymmetric: type == ElementType.U8);
            Quantizer.Quantize(quantizing, options, m, layer.K, source, _data.Span, _scales, _zeroPoints);
        }
        else
        {
            FloatConvert.FromSingle(type, source, _data.Span);
        }

        int[] outliers = cell.Compute is null ? [] : fixedOutliers;
        if (cell.HasOutliers)
        {
            _outlierThreshold = ThresholdFor(source, _columns);
            outliers = SideOracle.FindOutliers(Enumerable.Range(0, (int)m).Select(i => FloatRow(i)), _columns, _outlierThreshold);
        }

        if (cell.LoraRank > 0)
            _lora = LoraData.Make((int)cell.LoraRank, layer.N, layer.K);
        Side = new SideOracle(outliers, _lora);
        Adapter = new SideOracle([], _lora);
    }

    /// <summary>The side term for the oracle.</summary>
    public SideOracle Side { get; }

    /// <summary>The adapter's part of it, which is no error of quantization.</summary>
    public SideOracle Adapter { get; }

    /// <summary>Bytes of a row of activations.</summary>
    public long RowBytes => _cell.Activations.RowBytes(_columns);

    /// <summary>The options as the library takes them.</summary>
    public GemmOptions ToOptions() => new()
    {
        Compute = _cell.Compute,
        OutlierThreshold = _outlierThreshold,
        Lora = _lora is null ? default : LoraAdapter.Of<float>(_lora.A, _lora.B, _lora.Rank, _lora.Scale),
    };

    /// <summary>The elements, row by row without padding.</summary>
    public ReadOnlySpan<byte> Data => _data.Span;

    /// <summary>Scales of the tokens; empty for floats.</summary>
    public ReadOnlySpan<float> Scales => _scales;

    /// <summary>Zero points of the tokens; empty where there are none.</summary>
    public ReadOnlySpan<int> ZeroPoints => _zeroPoints;

    /// <summary>The activations as the library takes them.</summary>
    public Activations ToActivations() => _cell.Activations switch
    {
        ElementType.S8 => Activations.S8(_data.Span, _scales),
        ElementType.S4 => Activations.S4(_data.Span, _scales),
        ElementType.U8 => Activations.U8(_data.Span, _scales, _zeroPoints),
        ElementType.F32 => Activations.Of<float>(_data.AsSpan<float>()),
        ElementType.F16 => Activations.Of<Half>(_data.AsSpan<Half>()),
        _ => Activations.Of<BFloat16>(_data.AsSpan<BFloat16>()),
    };

    /// <summary>A row of integer activations for the oracle, quantized as the call does it where it does.</summary>
    public IntegerRow IntegerRow(long m)
    {
        if (_cell.Compute is { } compute)
            return Side.Quantize(compute, FloatRow(m));
        var values = new int[_columns];
        CodeReader.Widen(_cell.Activations, RowOf(m), values);
        if (_cell.Activations == ElementType.U8)
        {
            for (int k = 0; k < values.Length; k++)
                values[k] -= _zeroPoints[m];
        }

        return new IntegerRow(values, _scales[m]);
    }

    /// <summary>What a row brings to the side term, for the oracle.</summary>
    public SideRow SideRow(long m) => _cell.Activations.IsFloat() ? Side.Row(FloatRow(m)) : new SideRow([], [], []);

    /// <summary>A row of float activations for the oracle.</summary>
    public float[] FloatRow(long m)
    {
        var row = new float[_columns];
        FloatConvert.ToSingle(_cell.Activations, RowOf(m), row);
        return row;
    }

    /// <inheritdoc/>
    public void Dispose() => _data.Dispose();

    private ReadOnlySpan<byte> RowOf(long m) => _data.Slice<byte>(m * RowBytes, (int)RowBytes);

    // The threshold that makes outliers of as many columns as ids say, at least one: the data decides where it lies.
    private static float ThresholdFor(ReadOnlySpan<float> source, int columns)
    {
        var largest = new float[columns];
        for (int i = 0; i < source.Length; i++)
            largest[i % columns] = MathF.Max(largest[i % columns], MathF.Abs(source[i]));
        Array.Sort(largest);
        int outliers = Math.Clamp((int)Math.Round(columns * GemmScheme.OutlierShare), 1, columns);
        return outliers == columns ? float.Epsilon : MathF.Max(largest[columns - outliers - 1], float.Epsilon);
    }
}

/// <summary>Adapters of the size and spread that training leaves.</summary>
internal static class LoraData
{
    private const ulong Seed = 0x6C6F7261;

    /// <summary>Makes an adapter whose term is about as large as a layer's output.</summary>
    public static LoraOperand Make(int rank, long n, long k)
    {
        var random = new Xoshiro256(Seed, (ulong)rank);
        return new LoraOperand(
            rank, 0.5f, Normals(checked((int)(rank * k)), 1 / Math.Sqrt(k), ref random), Normals(checked((int)(n * rank)), 1 / Math.Sqrt(rank), ref random));
    }

    private static float[] Normals(int count, double deviation, ref Xoshiro256 random)
    {
        var values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = (float)(deviation * random.NextNormal());
        return values;
    }
}

/// <summary>Conversions between f32 and the float types.</summary>
internal static class FloatConvert
{
    /// <summary>Rounds floats to a type, to nearest even.</summary>
    public static void FromSingle(ElementType type, ReadOnlySpan<float> source, Span<byte> target)
    {
        switch (type)
        {
            case ElementType.F32:
                source.CopyTo(MemoryMarshal.Cast<byte, float>(target));
                break;
            case ElementType.F16:
                Span<Half> halves = MemoryMarshal.Cast<byte, Half>(target);
                for (int i = 0; i < source.Length; i++)
                    halves[i] = (Half)source[i];
                break;
            case ElementType.BF16:
                Span<BFloat16> brains = MemoryMarshal.Cast<byte, BFloat16>(target);
                for (int i = 0; i < source.Length; i++)
                    brains[i] = BFloat16.FromSingle(source[i]);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a float type.");
        }
    }

    /// <summary>Widens elements of a type to floats, exactly.</summary>
    public static void ToSingle(ElementType type, ReadOnlySpan<byte> source, Span<float> target)
    {
        switch (type)
        {
            case ElementType.F32:
                MemoryMarshal.Cast<byte, float>(source)[..target.Length].CopyTo(target);
                break;
            case ElementType.F16:
                ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(source);
                for (int i = 0; i < target.Length; i++)
                    target[i] = (float)halves[i];
                break;
            case ElementType.BF16:
                ReadOnlySpan<BFloat16> brains = MemoryMarshal.Cast<byte, BFloat16>(source);
                for (int i = 0; i < target.Length; i++)
                    target[i] = brains[i].ToSingle();
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a float type.");
        }
    }

    /// <summary>A float after a round trip through a type.</summary>
    public static float Round(ElementType type, float value) => type switch
    {
        ElementType.F16 => (float)(Half)value,
        ElementType.BF16 => BFloat16.FromSingle(value).ToSingle(),
        _ => value,
    };
}
