using System.Runtime.InteropServices;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Devices;

/// <summary>Rotation: on a device the bits of the CPU's reference.</summary>
internal sealed class HadamardOp : CudaOp
{
    private const ulong Seed = 13;
    private const ulong SignSeed = 5;
    private const long CaseRows = 4096;

    private static readonly string[] s_schemes = ["f32-out", "f16-out", "bf16-out", "f32h32-out"];
    private static readonly (long Rows, long Cols)[] s_checkShapes = [(3, 64), (2, 192), (1, 1280)];
    private static readonly string[] s_caseSchemes = ["f32-out", "bf16-out", "bf16h128-out"];
    private static readonly long[] s_caseCols = [4096, 8192];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
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
        let spec = SpecOf(scheme, CaseRows, cols)
        select new CudaCase(
            HadamardSpec.OpName, scheme, new Dictionary<string, long> { ["rows"] = CaseRows, ["n"] = cols }, 0,
            2 * CaseRows * cols * spec.Type.Bits() / 8,
            (context, rotations) => spec.Type == ElementType.F32
                ? new Calls<float>(context, spec, DeviceMemory.WithOutliers(cols, Seed), rotations)
                : new Calls<BFloat16>(context, spec, Array.ConvertAll(DeviceMemory.WithOutliers(cols, Seed), value => (BFloat16)value), rotations));

    private static HadamardSpec SpecOf(string scheme, long rows, long cols) =>
        HadamardSpec.TryParse(scheme, rows, cols) ?? throw new FormatException($"'{scheme}' is not a rotation.");

    private static string? Check<T>(CudaContext context, HadamardSpec spec, T[] values)
        where T : unmanaged
    {
        long block = spec.ToOptions().N;
        byte[] signs = Hadamard.RandomSigns(SignSeed, block);
        T[] expected = new T[values.Length], made = new T[values.Length];
        using var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
        Hadamard.Rotate<T>(host, spec.ToOptions() with { SignsBefore = signs }, spec.Rows, spec.Cols, values, expected);
        using var source = new CudaBuffer<T>(context, values.Length);
        using var target = new CudaBuffer<T>(context, values.Length);
        using var signsThere = new CudaBuffer<byte>(context, signs.Length);
        source.CopyFrom(values);
        signsThere.CopyFrom(signs);
        Hadamard.Rotate(context, new CudaHadamardOptions(block) { SignsBefore = signsThere }, spec.Rows, spec.Cols, source, target);
        target.CopyTo(made);
        int bytes = MemoryMarshal.AsBytes(made.AsSpan()).CommonPrefixLength(MemoryMarshal.AsBytes(expected.AsSpan()));
        int differs = bytes * 8 / spec.Type.Bits();
        return differs == made.Length ? null : $"element {differs} is {made[differs]}, the CPU's {expected[differs]}";
    }

    private sealed class Calls<T> : ICudaCalls
        where T : unmanaged
    {
        private readonly CudaContext _context;
        private readonly HadamardSpec _spec;
        private readonly CudaHadamardOptions _options;
        private readonly List<(CudaBuffer<T> Source, CudaBuffer<T> Target)> _operands = [];

        public Calls(CudaContext context, HadamardSpec spec, T[] row, int rotations)
        {
            _context = context;
            _spec = spec;
            _options = new CudaHadamardOptions(spec.ToOptions().N);
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
