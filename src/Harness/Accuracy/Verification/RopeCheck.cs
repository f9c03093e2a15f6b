using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Rotary embedding against the contract, bit for bit, with a table that is checked against float64.</summary>
internal sealed class RopeCheck(CaseId id, Isa level, IReadOnlyList<string> features) : VerifyCheck(id, level, features)
{
    /// <summary>The features that a check can have: strides above the widths, in place, a scaling, another type of
    /// the target.</summary>
    public const string Wide = "ld", InPlace = "inplace", Linear = "linear", Llama3 = "llama3", ToF32 = "f32", ToBf16 = "bf16";

    private const int WidePadding = 3, Positions = 20;

    private readonly RopeSpec _spec = (RopeSpec)id.Spec;

    private ElementType TargetType => Has(ToF32) ? ElementType.F32 : Has(ToBf16) ? ElementType.BF16 : _spec.Way.Type;

    /// <inheritdoc/>
    public override CheckOutcome Run(ContextPool contexts)
    {
        int rows = (int)_spec.Rows, width = (int)(_spec.Heads * _spec.HeadDim), ld = width + (Has(Wide) ? WidePadding : 0);
        ElementType type = _spec.Way.Type;
        Xoshiro256 random = RandomOf(0);
        var table = new RopeTable(OptionsOf(), (int)random.NextBelow(100_000), Positions);
        var positions = new int[rows];
        for (int row = 0; row < rows; row++)
            positions[row] = (int)(table.FirstPosition + random.NextBelow(Positions));
        var values = new float[rows * ld];
        for (int i = 0; i < values.Length; i++)
            values[i] = i % 11 == 10 ? -0f : (float)random.NextNormal() * (i % 37 == 36 ? 30 : 1);
        var source = new byte[values.Length * (type.Bits() / 8)];
        FloatConvert.FromSingle(type, values, source);
        FloatConvert.ToSingle(type, source, values);

        byte[] target = Has(InPlace) ? [.. source] : GemmOperands.Filled(values.Length * (TargetType.Bits() / 8));
        Rotate(contexts.Get(Level, Case.Threads), table, positions, source, target, ld);
        var meter = new KernelErrorMeter("exact");
        string? failure = RopeOracle.CheckTable(table) ?? Compare(table, positions, values, source, target, ld, meter);
        return new CheckOutcome(
            meter.Result((long)rows * width), failure ?? meter.FirstMismatch, Hash(source, MemoryMarshal.AsBytes(positions.AsSpan()).ToArray()),
            Hash(target));
    }

    private RopeOptions OptionsOf()
    {
        RopeOptions options = _spec.Way.ToOptions(_spec.HeadDim);
        if (Has(Linear))
            return options with { Scaling = RopeScaling.Linear, Factor = 4 };
        return Has(Llama3)
            ? options with
            {
                ThetaBase = 500_000,
                Scaling = RopeScaling.Llama3,
                Factor = 8,
                LowFreqFactor = 1,
                HighFreqFactor = 4,
                OriginalContext = 8192,
            }
            : options;
    }

    private void Rotate(KernelContext context, RopeTable table, int[] positions, byte[] source, byte[] target, int ld)
    {
        switch (_spec.Way.Type)
        {
            case ElementType.F32:
                RotateFrom<float>(context, table, positions, source, target, ld);
                break;
            case ElementType.F16:
                RotateFrom<Half>(context, table, positions, source, target, ld);
                break;
            default:
                RotateFrom<BFloat16>(context, table, positions, source, target, ld);
                break;
        }
    }

    private void RotateFrom<T>(KernelContext context, RopeTable table, int[] positions, byte[] source, byte[] target, int ld)
        where T : unmanaged
    {
        if (Has(InPlace))
        {
            Rope.RotateInPlace(context, table, _spec.Heads, positions, MemoryMarshal.Cast<byte, T>(target.AsSpan()), ld);
            return;
        }

        ReadOnlySpan<T> from = MemoryMarshal.Cast<byte, T>(source);
        switch (TargetType)
        {
            case ElementType.F32:
                Rope.Rotate(context, table, _spec.Heads, positions, from, MemoryMarshal.Cast<byte, float>(target.AsSpan()), ld, ld);
                break;
            case ElementType.F16:
                Rope.Rotate(context, table, _spec.Heads, positions, from, MemoryMarshal.Cast<byte, Half>(target.AsSpan()), ld, ld);
                break;
            default:
                Rope.Rotate(context, table, _spec.Heads, positions, from, MemoryMarshal.Cast<byte, BFloat16>(target.AsSpan()), ld, ld);
                break;
        }
    }

    private string? Compare(RopeTable table, int[] positions, float[] values, byte[] source, byte[] target, int ld, KernelErrorMeter meter)
    {
        int dim = (int)_spec.HeadDim, width = (int)_spec.Heads * dim, bytes = TargetType.Bits() / 8;
        int rotated = table.CosSin.Length / Positions;
        var actual = new float[width];
        for (int row = 0; row < positions.Length; row++)
        {
            Span<float> expected = values.AsSpan(row * ld, width);
            FloatConvert.ToSingle(TargetType, target.AsSpan(row * ld * bytes), actual);
            for (int start = 0; start < width; start += dim)
            {
                RopeOracle.Rotate(
                    table.Options, table.CosSin.Slice((int)(positions[row] - table.FirstPosition) * rotated, rotated), expected.Slice(start, dim));
            }

            for (int col = 0; col < width; col++)
            {
                int r = row, c = col;
                float value = FloatConvert.Round(TargetType, expected[col]);
                meter.AddExact(actual[col], value, value, 0, () => $"[{r},{c}]");
            }

            Span<byte> padding = target.AsSpan((row * ld + width) * bytes, (ld - width) * bytes);
            bool isUntouched = Has(InPlace)
                ? padding.SequenceEqual(source.AsSpan((row * ld + width) * bytes, padding.Length))
                : GemmOperands.IsUntouched(padding);
            if (!isUntouched)
                return $"something was written behind row {row} of the result";
        }

        return null;
    }
}
