namespace Kernels;

/// <summary>A quantized matrix: codes, scales and, if the quantization is asymmetric, zero points.</summary>
public sealed class QuantizedTensor
{
    /// <summary>Makes a tensor of arrays, which it keeps.</summary>
    /// <param name="options">How the codes are to be read.</param>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="cols">Elements of a row, at least 0.</param>
    /// <param name="codes">The rows, without padding between them.</param>
    /// <param name="scales">As many as <see cref="Quantizer.ScaleCount"/> says.</param>
    /// <param name="zeroPoints">As many; required with <see cref="QuantizeOptions.Asymmetric"/>, else null or the zero points that apply.</param>
    /// <exception cref="ArgumentException">An array is too short, or an argument lies outside its range.</exception>
    public QuantizedTensor(QuantizeOptions options, long rows, long cols, byte[] codes, float[] scales, int[]? zeroPoints = null)
    {
        ArgumentNullException.ThrowIfNull(codes);
        ArgumentNullException.ThrowIfNull(scales);
        long count = Quantizer.ScaleCount(options, rows, cols);
        CodesStrideBytes = options.Type.RowBytes(cols);
        Guard.Holds(codes.Length, rows, CodesStrideBytes, CodesStrideBytes, nameof(codes));
        Guard.Holds(scales.Length, count, nameof(scales));
        if (options.Asymmetric)
            ArgumentNullException.ThrowIfNull(zeroPoints);
        if (zeroPoints is not null)
            Guard.Holds(zeroPoints.Length, count, nameof(zeroPoints));

        Options = options;
        Rows = rows;
        Cols = cols;
        Codes = codes;
        Scales = scales;
        ZeroPoints = zeroPoints;
    }

    /// <summary>How the codes are to be read.</summary>
    public QuantizeOptions Options { get; }

    /// <summary>Rows: output channels of weights, tokens of activations.</summary>
    public long Rows { get; }

    /// <summary>Elements of a row.</summary>
    public long Cols { get; }

    /// <summary>Bytes from one row of codes to the next.</summary>
    public long CodesStrideBytes { get; }

    /// <summary>The codes, row by row.</summary>
    public byte[] Codes { get; }

    /// <summary>One scale per block.</summary>
    public float[] Scales { get; }

    /// <summary>One zero point per block; null if the fixed zero point of the type applies.</summary>
    public int[]? ZeroPoints { get; }
}
