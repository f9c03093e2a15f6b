using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Rotation against float64; and every variant against the golden vectors, bit for bit.</summary>
internal sealed class HadamardCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>The features that a check can have: the inverse, signs on both sides, strides above the widths.</summary>
    public const string Inverse = "inverse", Signs = "signs", Wide = "ld";

    private const int WidePadding = 3;

    private readonly HadamardSpec _spec = (HadamardSpec)id.Spec;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int rows = (int)_spec.Rows, cols = (int)_spec.Cols, ld = cols + (Has(Wide) ? WidePadding : 0), n = (int)_spec.Block;
        HadamardOptions options = _spec.ToOptions() with { Inverse = Has(Inverse) };
        if (Has(Signs))
            options = options with { SignsBefore = Hadamard.RandomSigns(1, n), SignsAfter = Hadamard.RandomSigns(2, n) };
        byte[] source = MakeSource(rows * ld, ld);
        byte[] target = GemmOperands.Filled(source.Length);
        if (!_spec.IsOutOfPlace)
            source.CopyTo(target, 0);
        KernelContext context = contexts.Get(Level, Case.Threads);
        switch (_spec.Type)
        {
            case ElementType.F32:
                Rotate<float>(context, options, source, target, ld);
                break;
            case ElementType.F16:
                Rotate<Half>(context, options, source, target, ld);
                break;
            default:
                Rotate<BFloat16>(context, options, source, target, ld);
                break;
        }

        var meter = new KernelErrorMeter("bound", _spec.Type == ElementType.F32);
        string? failure = Compare(options, source, target, ld, meter);
        return new CheckOutcome(meter.Result(_spec.Rows * _spec.Cols), failure ?? meter.FirstMismatch, Hash(source), Hash(target));
    }

    private void Rotate<T>(KernelContext context, HadamardOptions options, byte[] source, byte[] target, int ld)
        where T : unmanaged
    {
        Span<T> to = MemoryMarshal.Cast<byte, T>(target.AsSpan());
        Hadamard.Rotate(context, options, _spec.Rows, _spec.Cols, _spec.IsOutOfPlace ? MemoryMarshal.Cast<byte, T>(source) : to, to, ld, ld);
    }

    // Ordinary values with outliers, and rows of small integers, whose sums cancel.
    private byte[] MakeSource(int elements, int ld)
    {
        Xoshiro256 random = RandomOf(0);
        var values = new float[elements];
        for (int i = 0; i < elements; i++)
        {
            float value = (float)random.NextNormal();
            values[i] = i / ld % 3 == 2 ? MathF.Round(value) : i % 37 == 36 ? value * 30 : value;
        }

        var bytes = new byte[elements * (_spec.Type.Bits() / 8)];
        FloatConvert.FromSingle(_spec.Type, values, bytes);
        return bytes;
    }

    private string? Compare(HadamardOptions options, byte[] source, byte[] target, int ld, KernelErrorMeter meter)
    {
        int cols = (int)_spec.Cols, n = (int)_spec.Block, size = _spec.Type.Bits() / 8;
        var oracle = new HadamardOracle(n);
        ReadOnlySpan<byte> before = (options.Inverse ? options.SignsAfter : options.SignsBefore).Span;
        ReadOnlySpan<byte> after = (options.Inverse ? options.SignsBefore : options.SignsAfter).Span;
        var x = new float[ld];
        var y = new float[ld];
        for (int row = 0; row < _spec.Rows; row++)
        {
            FloatConvert.ToSingle(_spec.Type, source.AsSpan(row * ld * size, ld * size), x);
            FloatConvert.ToSingle(_spec.Type, target.AsSpan(row * ld * size, ld * size), y);
            for (int first = 0; first < cols; first += n)
            {
                double[] block = Signed(x.AsSpan(first, n), before);
                double[] exact = oracle.Rotate(block, options.Inverse);
                double bound = oracle.BoundFor(block);
                for (int i = 0; i < n; i++)
                {
                    double expected = IsNegative(after, i) ? -exact[i] : exact[i];
                    double rounding = HadamardCase.RoundingOf(_spec.Type, Math.Abs(expected) + bound);
                    int r = row, c = first + i;
                    meter.AddBounded(y[first + i], expected, bound + rounding, () => $"the value at [{r},{c}]");
                }
            }

            int end = (row * ld + cols) * size, length = (ld - cols) * size;
            bool isUntouched = _spec.IsOutOfPlace
                ? GemmOperands.IsUntouched(target.AsSpan(end, length))
                : target.AsSpan(end, length).SequenceEqual(source.AsSpan(end, length));
            if (!isUntouched)
                return $"something was written behind row {row}";
        }

        return null;
    }

    private static double[] Signed(ReadOnlySpan<float> values, ReadOnlySpan<byte> signs)
    {
        var signed = new double[values.Length];
        for (int i = 0; i < signed.Length; i++)
            signed[i] = IsNegative(signs, i) ? -values[i] : values[i];
        return signed;
    }

    private static bool IsNegative(ReadOnlySpan<byte> signs, int i) => !signs.IsEmpty && (signs[i / 8] >> (i % 8) & 1) != 0;
}
