using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>A fused step against float64, within the bound of its operations; and that it names a row that is not finite and marks its
/// scales. The bits are prescribed: golden vectors hold every variant to them.</summary>
internal sealed class FusedCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>The feature of a norm with a bias.</summary>
    public const string Bias = "bias";

    private readonly FusedSpec _spec = (FusedSpec)id.Spec;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int rows = (int)_spec.Rows, cols = (int)_spec.Cols;
        QuantizeOptions options = _spec.Way.ToOptions();
        Xoshiro256 random = RandomOf(0);
        byte[] source = Matrix(random, rows * cols), second = _spec.Way.HasSecond ? Matrix(random, rows * cols) : [];
        float[] weight = Vector(random, cols, 1), bias = Has(Bias) ? Vector(random, cols, 0) : [];
        var sum = new byte[_spec.Way.Step == FusedStep.ResidualRmsNorm ? source.Length : 0];
        int stride = (int)options.Type.RowBytes(cols), blocks = (int)Quantizer.ScaleCount(options, rows, cols);
        byte[] codes = GemmOperands.Filled(rows * stride), scales = GemmOperands.Filled(blocks * sizeof(float));
        byte[] zeroPoints = GemmOperands.Filled(options.Asymmetric ? blocks * sizeof(int) : 0);
        KernelContext context = contexts.Get(Level, Case.Threads);
        Invoke(context, source, second, sum, weight, bias, codes, scales, zeroPoints);

        var meter = new KernelErrorMeter("bound");
        ReadOnlySpan<float> made = MemoryMarshal.Cast<byte, float>(scales);
        ReadOnlySpan<int> zeros = MemoryMarshal.Cast<byte, int>(zeroPoints);
        var line = new int[cols];
        for (int row = 0; row < rows; row++)
        {
            FusedRow exact = FusedRow.Of(
                _spec.Way, Row(sum.Length > 0 ? sum : source, row, cols), _spec.Way.IsGate ? Row(second, row, cols) : default, weight, bias);
            CodeReader.Widen(options.Type, codes.AsSpan(row * stride, stride), line);
            for (int col = 0; col < cols; col++)
            {
                int block = row * (blocks / rows) + (options.GroupSize == 0 ? 0 : col / (int)options.GroupSize);
                float actual = QuantizeOracle.Dequantize(options, line[col], options.Asymmetric ? zeros[block] : 0, made[block]);
                int r = row, c = col;
                meter.AddBounded(actual, exact.Values[col], exact.BoundOfCode(col, made[block], options.Asymmetric), () => $"the value at [{r},{c}]");
            }
        }

        string? failure = meter.FirstMismatch ?? CheckRefusal(context, source, second, weight, bias, codes.Length, blocks, rows, cols);
        return new CheckOutcome(
            meter.Result((long)rows * cols), failure, Hash(source, second, MemoryMarshal.AsBytes<float>(weight).ToArray(), MemoryMarshal.AsBytes<float>(bias).ToArray()),
            Hash(codes, scales, zeroPoints, sum));
    }

    private static float[] Vector(Xoshiro256 random, int length, float middle)
    {
        var values = new float[length];
        for (int i = 0; i < length; i++)
            values[i] = middle + 0.25f * (float)random.NextNormal();
        return values;
    }

    private byte[] Matrix(Xoshiro256 random, int elements)
    {
        var values = new float[elements];
        for (int i = 0; i < elements; i++)
            values[i] = (float)random.NextNormal() * (i % 37 == 36 ? 12 : 1);
        var bytes = new byte[elements * (_spec.Way.Source.Bits() / 8)];
        FloatConvert.FromSingle(_spec.Way.Source, values, bytes);
        return bytes;
    }

    private float[] Row(byte[] matrix, int row, int cols)
    {
        int bytes = (int)_spec.Way.Source.RowBytes(cols);
        var values = new float[cols];
        FloatConvert.ToSingle(_spec.Way.Source, matrix.AsSpan(row * bytes, bytes), values);
        return values;
    }

    private void Invoke(
        KernelContext context, byte[] source, byte[] second, byte[] sum, float[] weight, float[] bias, byte[] codes, byte[] scales, byte[] zeroPoints) =>
        new FusedOperands
        {
            Source = source,
            Second = second,
            Sum = sum,
            Weight = weight,
            Bias = bias,
            Codes = codes,
            Scales = MemoryMarshal.Cast<byte, float>(scales.AsSpan()),
            ZeroPoints = MemoryMarshal.Cast<byte, int>(zeroPoints.AsSpan()),
            Between = new float[_spec.Way.IsUnfused ? _spec.Rows * _spec.Cols : 0],
        }.Run(_spec.Way, context, _spec.Rows, _spec.Cols);

    private string? CheckRefusal(
        KernelContext context, byte[] source, byte[] second, float[] weight, float[] bias, int codeBytes, int blocks, int rows, int cols)
    {
        if (rows == 0 || cols == 0 || _spec.Way.IsUnfused)
            return null;
        byte[] bad = [.. source];
        int bytes = _spec.Way.Source.Bits() / 8;
        FloatConvert.FromSingle(_spec.Way.Source, [float.NaN], bad.AsSpan((rows * cols - 1) * bytes, bytes));
        var scales = new byte[blocks * sizeof(float)];
        try
        {
            Invoke(
                context, bad, second, new byte[_spec.Way.Step == FusedStep.ResidualRmsNorm ? source.Length : 0], weight, bias, new byte[codeBytes], scales,
                new byte[_spec.Way.ToOptions().Asymmetric ? blocks * sizeof(int) : 0]);
        }
        catch (KernelException exception) when (exception.Status == KernelStatus.NonFinite)
        {
            if (!exception.Message.Contains($"row {rows - 1} ", StringComparison.Ordinal))
                return $"a NaN in row {rows - 1} is reported as: {exception.Message}";
            ReadOnlySpan<float> made = MemoryMarshal.Cast<byte, float>(scales);
            return float.IsNaN(made[^1]) && (rows == 1 || !float.IsNaN(made[0])) ? null : "a row that is not finite is not marked in the scales";
        }

        return "NaN was taken without complaint";
    }
}
