using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Devices;

/// <summary>Rotation: on a device the bits of the CPU's reference; in schemes that end in <c>-mma</c>, where tensor cores may take part, results
/// within their bound of float64.</summary>
internal sealed class HadamardOp : CudaOp
{
    private const ulong Seed = 13;
    private const ulong SignSeed = 5;
    private const long CaseRows = 4096;
    private const string MatrixSuffix = "-mma";

    private static readonly string[] s_schemes = ["f32-out", "f16-out", "bf16-out", "f32h32-out"];
    private static readonly (long Rows, long Cols)[] s_checkShapes = [(3, 64), (2, 192), (1, 1280)];
    private static readonly string[] s_matrixSchemes = ["f16-out", "bf16-out"];
    private static readonly (long Rows, long Cols)[] s_matrixShapes = [(3, 64), (2, 512), (1, 1280)];
    private static readonly string[] s_caseSchemes = ["f32-out", "bf16-out", "bf16-out-mma", "bf16h128-out", "bf16h128-out-mma"];
    private static readonly long[] s_caseCols = [4096, 8192];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() => ExactChecks().Concat(
        from scheme in s_matrixSchemes
        from shape in s_matrixShapes
        let spec = SpecOf(scheme, shape.Rows, shape.Cols)
        select new CudaCheck($"{HadamardSpec.OpName}/{scheme}{MatrixSuffix}/rows{shape.Rows}-n{shape.Cols}", shape.Rows * shape.Cols, context =>
        {
            float[] values = DeviceMemory.WithOutliers(spec.Rows * spec.Cols, Seed);
            return spec.Type == ElementType.F16
                ? CheckMatrices(context, spec, Array.ConvertAll(values, value => (Half)value), value => (double)value)
                : CheckMatrices(context, spec, Array.ConvertAll(values, value => (BFloat16)value), value => (float)value);
        })
        {
            IsExact = false,
        });

    private static IEnumerable<CudaCheck> ExactChecks() =>
        from scheme in s_schemes
        from shape in s_checkShapes
        let spec = SpecOf(scheme, shape.Rows, shape.Cols)
        select new CudaCheck($"{HadamardSpec.OpName}/{scheme}/rows{shape.Rows}-n{shape.Cols}", shape.Rows * shape.Cols, context => spec.Type switch
        {
            ElementType.F32 => Check(context, spec, DeviceMemory.WithOutliers(spec.Rows * spec.Cols, Seed)),
            ElementType.F16 => Check(context, spec, Array.ConvertAll(DeviceMemory.WithOutliers(spec.Rows * spec.Cols, Seed), value => (Half)value)),
            _ => Check(context, spec, Array.ConvertAll(DeviceMemory.WithOutliers(spec.Rows * spec.Cols, Seed), value => (BFloat16)value)),
        });

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        from cols in s_caseCols
        let hasMatrices = scheme.EndsWith(MatrixSuffix, StringComparison.Ordinal)
        let spec = SpecOf(hasMatrices ? scheme[..^MatrixSuffix.Length] : scheme, CaseRows, cols)
        select new CudaCase(
            HadamardSpec.OpName, scheme, new Dictionary<string, long> { ["rows"] = CaseRows, ["n"] = cols }, 0,
            2 * CaseRows * cols * spec.Type.Bits() / 8,
            (context, rotations) => spec.Type == ElementType.F32
                ? new Calls<float>(context, spec, hasMatrices, DeviceMemory.WithOutliers(cols, Seed), rotations)
                : new Calls<BFloat16>(context, spec, hasMatrices, Array.ConvertAll(DeviceMemory.WithOutliers(cols, Seed), value => (BFloat16)value), rotations));

    private static HadamardSpec SpecOf(string scheme, long rows, long cols) =>
        HadamardSpec.TryParse(scheme, rows, cols) ?? throw new FormatException($"'{scheme}' is not a rotation.");

    private static string? Check<T>(CudaContext context, HadamardSpec spec, T[] values)
        where T : unmanaged
    {
        long block = spec.ToOptions().N;
        byte[] signs = Hadamard.RandomSigns(SignSeed, block);
        T[] expected = new T[values.Length];
        using var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
        Hadamard.Rotate<T>(host, spec.ToOptions() with { SignsBefore = signs }, spec.Rows, spec.Cols, values, expected);
        T[] made = Rotate(context, spec, values, signs, hasMatrices: false);
        int bytes = MemoryMarshal.AsBytes(made.AsSpan()).CommonPrefixLength(MemoryMarshal.AsBytes(expected.AsSpan()));
        int differs = bytes * 8 / spec.Type.Bits();
        return differs == made.Length ? null : $"element {differs} is {made[differs]}, the CPU's {expected[differs]}";
    }

    private static T[] Rotate<T>(CudaContext context, HadamardSpec spec, T[] values, byte[] signs, bool hasMatrices)
        where T : unmanaged
    {
        using var source = new CudaBuffer<T>(context, values.Length);
        using var target = new CudaBuffer<T>(context, values.Length);
        using var signsThere = new CudaBuffer<byte>(context, signs.Length);
        source.CopyFrom(values);
        signsThere.CopyFrom(signs);
        var options = new CudaHadamardOptions(spec.ToOptions().N) { SignsBefore = signsThere, TensorCores = hasMatrices };
        Hadamard.Rotate(context, options, spec.Rows, spec.Cols, source, target);
        var made = new T[values.Length];
        target.CopyTo(made);
        return made;
    }

    /// <summary>Rounding to the type explains half a step of an element; what is left of the errors of a block is a vector within the bound of
    /// cuda_hadamard.h.</summary>
    private static string? CheckMatrices<T>(CudaContext context, HadamardSpec spec, T[] values, Func<T, double> widen)
        where T : unmanaged
    {
        int block = (int)spec.ToOptions().N;
        byte[] signs = Hadamard.RandomSigns(SignSeed, block);
        var oracle = new HadamardOracle(block);
        T[] made = Rotate(context, spec, values, signs, hasMatrices: true);
        var x = new double[block];
        for (int first = 0; first < made.Length; first += block)
        {
            double norm = 0, excess = 0;
            for (int i = 0; i < block; i++)
            {
                x[i] = widen(values[first + i]) * ((signs[i / 8] >> (i % 8) & 1) == 0 ? 1 : -1);
                norm += x[i] * x[i];
            }

            double[] y = oracle.Rotate(x);
            for (int i = 0; i < block; i++)
            {
                double result = widen(made[first + i]), beyond = Math.Abs(result - y[i]) - HalfStep(spec.Type, result);
                excess += double.IsNaN(beyond) ? beyond : Math.Pow(Math.Max(beyond, 0), 2);
            }

            double bound = oracle.MatrixBound * Math.Sqrt(norm);
            if (!(Math.Sqrt(excess) <= bound))
                return $"the block from element {first} on is off by {Math.Sqrt(excess)}, more than {bound}";
        }

        return null;
    }

    /// <summary>Half the distance of a number to its neighbours.</summary>
    private static double HalfStep(ElementType type, double value) =>
        type == ElementType.F16 ? Math.ScaleB(1, Math.Max(Exponent(value), -14) - 11) : Math.ScaleB(1, Math.Max(Exponent(value), -126) - 8);

    private static int Exponent(double value) => value == 0 ? int.MinValue / 2 : Math.ILogB(value);

    private sealed class Calls<T> : ICudaCalls
        where T : unmanaged
    {
        private readonly CudaContext _context;
        private readonly HadamardSpec _spec;
        private readonly CudaHadamardOptions _options;
        private readonly List<(CudaBuffer<T> Source, CudaBuffer<T> Target)> _operands = [];

        public Calls(CudaContext context, HadamardSpec spec, bool hasMatrices, T[] row, int rotations)
        {
            _context = context;
            _spec = spec;
            _options = new CudaHadamardOptions(spec.ToOptions().N) { TensorCores = hasMatrices };
            for (int i = 0; i < rotations; i++)
            {
                var source = new CudaBuffer<T>(context, spec.Rows * spec.Cols);
                for (long at = 0; at < spec.Rows; at++)
                    source.CopyFrom(row, at * spec.Cols);
                _operands.Add((source, new CudaBuffer<T>(context, spec.Rows * spec.Cols)));
            }
        }

        public void Call(int rotation, CudaStream stream) =>
            Hadamard.Rotate(_context, _options, _spec.Rows, _spec.Cols, _operands[rotation].Source, _operands[rotation].Target, stream: stream);

        public void Dispose()
        {
            foreach ((CudaBuffer<T> source, CudaBuffer<T> target) in _operands)
            {
                source.Dispose();
                target.Dispose();
            }
        }
    }
}
