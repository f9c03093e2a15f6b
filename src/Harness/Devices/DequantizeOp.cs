using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>Dequantization: on a device the bits of the CPU's reference.</summary>
internal sealed class DequantizeOp : CudaOp
{
    private const ulong Seed = 31;
    private const long CaseCols = 4096;

    private static readonly (string Weights, ElementType Target)[] s_schemes =
    [
        ("w8", ElementType.F32), ("w8g128", ElementType.BF16), ("w4g128", ElementType.F16), ("w4zg32", ElementType.F32), ("w4", ElementType.BF16),
        ("nf4b64", ElementType.F32),
    ];

    private static readonly (long Rows, long Cols)[] s_checkShapes = [(1, 1), (3, 515), (5, 256)];
    private static readonly (string Weights, ElementType Target)[] s_caseSchemes = [("w8", ElementType.BF16), ("w4g128", ElementType.BF16)];
    private static readonly long[] s_caseRows = [4096, 16384];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from scheme in s_schemes
        from shape in s_checkShapes
        let spec = new DequantizeSpec(WeightScheme.Parse(scheme.Weights), scheme.Target, shape.Rows, shape.Cols)
        select new CudaCheck(spec.ToString(), shape.Rows * shape.Cols, context => spec.Target switch
        {
            ElementType.F32 => Check<float>(context, spec),
            ElementType.F16 => Check<Half>(context, spec),
            _ => Check<BFloat16>(context, spec),
        });

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        from rows in s_caseRows
        let spec = new DequantizeSpec(WeightScheme.Parse(scheme.Weights), scheme.Target, rows, CaseCols)
        select new CudaCase(
            DequantizeSpec.OpName, spec.Scheme, new Dictionary<string, long> { ["rows"] = rows, ["n"] = CaseCols }, 0,
            (rows * (spec.Weights.Format.RowBytes(CaseCols) + (CaseCols * sizeof(short)))) + (spec.Weights.ScalesOf(rows, CaseCols) * sizeof(float)),
            (context, rotations) => new Calls(context, spec, rotations));

    private static QuantizeOptions OptionsOf(DequantizeSpec spec) => spec.Weights.ToShape(spec.Rows, spec.Cols).ToQuantizeOptions();

    private static string? Check<T>(CudaContext context, DequantizeSpec spec)
        where T : unmanaged
    {
        QuantizeOptions options = OptionsOf(spec);
        var random = new Xoshiro256(Seed, (ulong)spec.Cols);
        byte[] codes = new byte[spec.Rows * options.Type.RowBytes(spec.Cols)];
        float[] scales = new float[Quantizer.ScaleCount(options, spec.Rows, spec.Cols)];
        int[]? zeroPoints = options.Asymmetric ? new int[scales.Length] : null;
        for (int i = 0; i < codes.Length; i++)
            codes[i] = (byte)random.NextBelow(256);
        for (int i = 0; i < scales.Length; i++)
            scales[i] = i % 13 == 12 ? 0 : (float)(0.001 + random.NextUniform()) * (i % 7 == 6 ? -1 : 1);
        for (int i = 0; zeroPoints is not null && i < zeroPoints.Length; i++)
            zeroPoints[i] = (int)random.NextBelow(16);
        T[] expected = new T[spec.Rows * spec.Cols], made = new T[expected.Length];
        using (var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 }))
            Quantizer.Dequantize<T>(host, options, spec.Rows, spec.Cols, codes, scales, zeroPoints, expected);

        using CudaBuffer<byte> codesThere = DeviceMemory.Copy<byte>(context, codes);
        using CudaBuffer<float> scalesThere = DeviceMemory.Copy<float>(context, scales);
        using CudaBuffer<int> zeroPointsThere = DeviceMemory.Copy<int>(context, zeroPoints);
        using CudaBuffer<T> target = DeviceMemory.Zeros<T>(context, expected.Length);
        Quantizer.Dequantize(
            context, options, spec.Rows, spec.Cols, codesThere, scalesThere, zeroPoints is null ? null : zeroPointsThere, target);
        target.CopyTo(made);
        int differs = MemoryMarshal.AsBytes(made.AsSpan()).CommonPrefixLength(MemoryMarshal.AsBytes(expected.AsSpan())) / Unsafe.SizeOf<T>();
        return differs == made.Length ? null : $"value {differs} is {made[differs]}, the CPU's {expected[differs]}";
    }

    private sealed class Calls : ICudaCalls
    {
        private readonly CudaContext _context;
        private readonly DequantizeSpec _spec;
        private readonly QuantizeOptions _options;
        private readonly List<(CudaBuffer<byte> Codes, CudaBuffer<float> Scales, CudaBuffer<BFloat16> Target)> _operands = [];

        public Calls(CudaContext context, DequantizeSpec spec, int rotations)
        {
            _context = context;
            _spec = spec;
            _options = OptionsOf(spec);
            float[] scales = new float[Quantizer.ScaleCount(_options, spec.Rows, spec.Cols)];
            Array.Fill(scales, 0.01f);
            for (int i = 0; i < rotations; i++)
            {
                _operands.Add((
                    DeviceMemory.RandomBytes(context, spec.Rows * _options.Type.RowBytes(spec.Cols), Seed), DeviceMemory.Copy<float>(context, scales),
                    new CudaBuffer<BFloat16>(context, spec.Rows * spec.Cols)));
            }
        }

        public void Call(int rotation, CudaStream stream) =>
            Quantizer.Dequantize(
                _context, _options, _spec.Rows, _spec.Cols, _operands[rotation].Codes, _operands[rotation].Scales, null, _operands[rotation].Target, stream);

        public void Dispose()
        {
            foreach ((CudaBuffer<byte> codes, CudaBuffer<float> scales, CudaBuffer<BFloat16> target) in _operands)
            {
                codes.Dispose();
                scales.Dispose();
                target.Dispose();
            }
        }
    }
}
