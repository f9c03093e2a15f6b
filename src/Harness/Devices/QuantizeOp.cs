using System.Runtime.InteropServices;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Devices;

/// <summary>Quantization: on a device the bits of the CPU's reference.</summary>
internal sealed class QuantizeOp : CudaOp
{
    private const ulong Seed = 7;
    private const long CaseCols = 8192;

    private static readonly string[] s_schemes = ["s8-per-token", "s8-per-token-bf16", "u8-per-token", "s4-per-channel", "s4-g32", "s8-per-tensor"];
    private static readonly (long Rows, long Cols)[] s_checkShapes = [(1, 1), (5, 64), (3, 515), (7, 1000), (0, 8)];
    private static readonly string[] s_caseSchemes = ["s8-per-token", "s8-per-token-bf16"];
    private static readonly long[] s_caseRows = [512, 8192];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from scheme in s_schemes
        from shape in s_checkShapes
        select new CudaCheck(
            $"{QuantizeSpec.OpName}/{scheme}/rows{shape.Rows}-n{shape.Cols}", shape.Rows * shape.Cols,
            context => Check(context, QuantizeScheme.Parse(scheme), shape.Rows, shape.Cols));

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        let way = QuantizeScheme.Parse(scheme)
        from rows in s_caseRows
        select new CudaCase(
            QuantizeSpec.OpName, scheme, new Dictionary<string, long> { ["rows"] = rows, ["n"] = CaseCols }, 0,
            (rows * CaseCols * way.Source.Bits() / 8) + (rows * way.Type.RowBytes(CaseCols)) + (rows * sizeof(float)),
            (context, rotations) => way.Source == ElementType.F32
                ? new Calls<float>(context, way, rows, rotations)
                : new Calls<BFloat16>(context, way, rows, rotations));

    private static string? Check(CudaContext context, QuantizeScheme way, long rows, long cols) => way.Source switch
    {
        ElementType.F32 => Check(context, way, rows, cols, DeviceMemory.WithOutliers(rows * cols, Seed)),
        ElementType.F16 => Check(context, way, rows, cols, Array.ConvertAll(DeviceMemory.WithOutliers(rows * cols, Seed), value => (Half)value)),
        _ => Check(context, way, rows, cols, Array.ConvertAll(DeviceMemory.WithOutliers(rows * cols, Seed), value => (BFloat16)value)),
    };

    private static string? Check<T>(CudaContext context, QuantizeScheme way, long rows, long cols, T[] values)
        where T : unmanaged
    {
        QuantizeOptions options = way.ToOptions();
        using var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
        QuantizedTensor expected = Quantizer.Quantize<T>(host, options, rows, cols, values);
        using var source = new CudaBuffer<T>(context, values.Length);
        using var codes = new CudaBuffer<byte>(context, expected.Codes.Length);
        using var scales = new CudaBuffer<float>(context, expected.Scales.Length);
        using var zeroPoints = new CudaBuffer<int>(context, expected.Scales.Length);
        using var workspace = new CudaBuffer<byte>(context, Quantizer.CudaWorkspaceBytes(options));
        using var flags = new CudaBuffer<int>(context, 1);
        flags.Fill(0);
        source.CopyFrom(values);
        Quantizer.Quantize(context, options, rows, cols, source, codes, scales, options.Asymmetric ? zeroPoints : null, workspace, flags);

        byte[] madeCodes = new byte[expected.Codes.Length];
        float[] madeScales = new float[expected.Scales.Length];
        int[] madeZeros = new int[expected.Scales.Length];
        int[] flag = new int[1];
        codes.CopyTo(madeCodes);
        scales.CopyTo(madeScales);
        zeroPoints.CopyTo(madeZeros);
        flags.CopyTo(flag);
        if (flag[0] != 0)
            return "the device says that the input is not finite";
        if (!MemoryMarshal.AsBytes(madeScales.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(expected.Scales.AsSpan())))
            return "a scale differs from the CPU's";
        if (options.Asymmetric && !madeZeros.AsSpan().SequenceEqual(expected.ZeroPoints))
            return "a zero point differs from the CPU's";
        int differs = madeCodes.AsSpan().CommonPrefixLength(expected.Codes);
        return differs == madeCodes.Length ? null : $"byte {differs} of the codes is {madeCodes[differs]}, the CPU's {expected.Codes[differs]}";
    }

    private sealed class Calls<T> : ICudaCalls
        where T : unmanaged
    {
        private readonly CudaContext _context;
        private readonly QuantizeOptions _options;
        private readonly long _rows;
        private readonly List<(CudaBuffer<T> Source, CudaBuffer<byte> Codes, CudaBuffer<float> Scales)> _operands = [];

        public Calls(CudaContext context, QuantizeScheme way, long rows, int rotations)
        {
            _context = context;
            _options = way.ToOptions();
            _rows = rows;
            float[] row = DeviceMemory.WithOutliers(CaseCols, Seed);
            T[] values = typeof(T) == typeof(float)
                ? (T[])(object)row
                : (T[])(object)Array.ConvertAll(row, value => (BFloat16)value);
            for (int i = 0; i < rotations; i++)
            {
                var source = new CudaBuffer<T>(context, rows * CaseCols);
                for (long at = 0; at < rows; at++)
                    source.CopyFrom(values, at * CaseCols);
                _operands.Add((source, new CudaBuffer<byte>(context, rows * way.Type.RowBytes(CaseCols)), new CudaBuffer<float>(context, rows)));
            }
        }

        public void Call(int rotation, CudaStream stream) =>
            Quantizer.Quantize(
                _context, _options, _rows, CaseCols, _operands[rotation].Source, _operands[rotation].Codes, _operands[rotation].Scales, stream: stream);

        public void Dispose()
        {
            foreach ((CudaBuffer<T> source, CudaBuffer<byte> codes, CudaBuffer<float> scales) in _operands)
            {
                source.Dispose();
                codes.Dispose();
                scales.Dispose();
            }
        }
    }
}
