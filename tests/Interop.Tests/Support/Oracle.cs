namespace Kernels.Tests.Support;

/// <summary>The arithmetic of the headers, written out in C# with no thought of speed.</summary>
internal static class Oracle
{
    /// <summary>The code of an element, widened.</summary>
    public static int Code(ElementType type, ReadOnlySpan<byte> row, long index) => type switch
    {
        ElementType.S8 => (sbyte)row[(int)index],
        ElementType.U8 => row[(int)index],
        ElementType.S4 => (sbyte)(Nibble(row, index) << 4) >> 4,
        _ => Nibble(row, index),
    };

    /// <summary>Codes, scales and zero points of a matrix without padding.</summary>
    public static QuantizedTensor Quantize(QuantizeOptions options, long rows, long cols, float[] source)
    {
        long stride = options.Type.RowBytes(cols);
        long width = options.Granularity == Granularity.Group ? options.GroupSize : Math.Max(cols, 1);
        long groups = options.Granularity == Granularity.Group ? (cols + width - 1) / width : 1;
        bool whole = options.Granularity == Granularity.Tensor;
        var codes = new byte[rows * stride];
        var scales = new float[whole ? 1 : rows * groups];
        var zeros = new int[scales.Length];
        for (long row = 0; row < rows; row++)
        {
            for (long group = 0; group < groups; group++)
            {
                long first = (row * cols) + (group * width);
                long last = Math.Min(first + width, (row + 1) * cols);
                long block = whole ? 0 : (row * groups) + group;
                ReadOnlySpan<float> values = whole ? source : source.AsSpan((int)first, (int)(last - first));
                (scales[block], zeros[block]) = Parameters(options, values);
                for (long i = first; i < last; i++)
                    Store(options, codes, (row * stride * 8 / options.Type.Bits()) + (i - (row * cols)), Encode(options, source[i], scales[block], zeros[block]));
            }
        }

        return new QuantizedTensor(options, rows, cols, codes, scales, zeros);
    }

    /// <summary>Y = X . W^T with float activations, in binary64, and the sum of |x||w| that bounds the error.</summary>
    public static (double Value, double Magnitude) Dot(QuantizedTensor weights, long n, ReadOnlySpan<float> x)
    {
        double value = 0, magnitude = 0;
        for (long k = 0; k < weights.Cols; k++)
        {
            long block = Block(weights, n, k);
            double weight = (double)weights.Scales[block] * Weight(weights, n, k, block);
            value += x[(int)k] * weight;
            magnitude += Math.Abs(x[(int)k] * weight);
        }

        return (value, magnitude);
    }

    /// <summary>One element of Y = X . W^T with quantized activations: these bits exactly.</summary>
    public static float DotExact(QuantizedTensor weights, long n, QuantizedTensor activations, long m)
    {
        float total = 0;
        long acc = 0;
        ReadOnlySpan<byte> row = activations.Codes.AsSpan((int)(m * activations.CodesStrideBytes));
        int zero = activations.Options.Type == ElementType.U8 ? activations.ZeroPoints![m] : 0;
        for (long k = 0; k < weights.Cols; k++)
        {
            long block = Block(weights, n, k);
            acc += (Code(activations.Options.Type, row, k) - zero) * Weight(weights, n, k, block);
            if (k + 1 == weights.Cols || Block(weights, n, k + 1) != block)
            {
                total = MathF.FusedMultiplyAdd(acc, weights.Scales[block], total);
                acc = 0;
            }
        }

        return total * activations.Scales[m];
    }

    private static long Block(QuantizedTensor weights, long n, long k)
    {
        if (weights.Options.Granularity != Granularity.Group)
            return n;
        long size = weights.Options.GroupSize;
        return (n * ((weights.Cols + size - 1) / size)) + (k / size);
    }

    private static int Weight(QuantizedTensor weights, long n, long k, long block)
    {
        ReadOnlySpan<byte> row = weights.Codes.AsSpan((int)(n * weights.CodesStrideBytes));
        return Code(weights.Options.Type, row, k) - (weights.ZeroPoints?[block] ?? 0);
    }

    private static (float Scale, int Zero) Parameters(QuantizeOptions options, ReadOnlySpan<float> values)
    {
        bool is8Bit = options.Type.Bits() == 8;
        bool isSigned = options.Type is ElementType.S8 or ElementType.S4;
        float low = 0, high = 0;
        foreach (float value in values)
        {
            low = MathF.Min(low, value);
            high = MathF.Max(high, value);
        }

        float clip = options.ClipRatio == 0 ? 1 : options.ClipRatio;
        if (!options.Asymmetric)
        {
            float range = MathF.Max(-low, high) * clip;
            float symmetricScale = range / (is8Bit ? 127 : 7);
            return (IsTiny(symmetricScale) ? 0 : symmetricScale, isSigned ? 0 : is8Bit ? 128 : 8);
        }

        (int qMin, int qMax) = isSigned ? (is8Bit ? (-128, 127) : (-8, 7)) : (0, is8Bit ? 255 : 15);
        low *= clip;
        high *= clip;
        float scale = (float)(((double)high - low) / (qMax - qMin));
        if (IsTiny(scale))
            return (0, Math.Clamp(qMin, qMin, qMax));
        return (scale, (int)Math.Clamp(qMin - MathF.Round(low * (1 / scale)), qMin, qMax));
    }

    private static int Encode(QuantizeOptions options, float value, float scale, int zero)
    {
        if (scale == 0)
            return zero;
        bool is8Bit = options.Type.Bits() == 8;
        bool isSigned = options.Type is ElementType.S8 or ElementType.S4;
        int half = is8Bit ? 127 : 7;
        (int low, int high) = !options.Asymmetric ? (zero - half, zero + half)
            : isSigned ? (-half - 1, half)
            : (0, (2 * half) + 1);
        return (int)MathF.Round(Math.Clamp(value * (1 / scale), low - zero, high - zero)) + zero;
    }

    private static void Store(QuantizeOptions options, byte[] codes, long element, int code)
    {
        if (options.Type.Bits() == 8)
            codes[element] = (byte)code;
        else
            codes[element / 2] |= (byte)((code & 15) << (int)(element % 2 * 4));
    }

    private static bool IsTiny(float scale) => scale < 1.17549435e-38f;

    private static int Nibble(ReadOnlySpan<byte> row, long index) => (row[(int)(index / 2)] >> (int)(index % 2 * 4)) & 15;
}
