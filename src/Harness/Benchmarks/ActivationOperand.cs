using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;

namespace Kernels.Harness.Benchmarks;

/// <summary>Activations of a cell's type, for the library and for the oracle.</summary>
internal sealed class ActivationOperand : IDisposable
{
    private readonly AlignedBuffer _data;
    private readonly float[] _scales;
    private readonly int[] _zeroPoints;
    private readonly int _columns;

    /// <summary>Converts the first <paramref name="m"/> rows of a layer's activations, quantizing per token where the type is an
    /// integer.</summary>
    public ActivationOperand(KernelContext quantizing, LayerData layer, long m, ElementType type)
    {
        Type = type;
        _columns = (int)layer.K;
        int elements = checked((int)(m * layer.K));
        ReadOnlySpan<float> source = layer.Activations.AsSpan(0, elements);
        _data = new AlignedBuffer(Math.Max(1, type.RowBytes(elements)));
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
    }

    /// <summary>S8, U8, F32, F16 or BF16.</summary>
    public ElementType Type { get; }

    /// <summary>The activations as the library takes them.</summary>
    public Activations ToActivations() => Type switch
    {
        ElementType.S8 => Activations.S8(_data.Span, _scales),
        ElementType.U8 => Activations.U8(_data.Span, _scales, _zeroPoints),
        ElementType.F32 => Activations.Of<float>(_data.AsSpan<float>()),
        ElementType.F16 => Activations.Of<Half>(_data.AsSpan<Half>()),
        _ => Activations.Of<BFloat16>(_data.AsSpan<BFloat16>()),
    };

    /// <summary>A row of integer activations for the oracle.</summary>
    public IntegerRow IntegerRow(long m)
    {
        var values = new int[_columns];
        CodeReader.Widen(Type, _data.Slice<byte>(m * _columns, _columns), values);
        if (Type == ElementType.U8)
        {
            for (int k = 0; k < values.Length; k++)
                values[k] -= _zeroPoints[m];
        }

        return new IntegerRow(values, _scales[m]);
    }

    /// <summary>A row of float activations for the oracle.</summary>
    public float[] FloatRow(long m)
    {
        var row = new float[_columns];
        int bytes = Type.Bits() / 8;
        FloatConvert.ToSingle(Type, _data.Slice<byte>(m * _columns * bytes, _columns * bytes), row);
        return row;
    }

    /// <inheritdoc/>
    public void Dispose() => _data.Dispose();
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
