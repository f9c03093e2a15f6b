using System.Runtime.InteropServices;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>Fused steps: on a device the bits of the CPU's reference.</summary>
internal sealed class FusedOp : CudaOp
{
    private const ulong Seed = 17;
    private const long CaseRows = 4096, CaseCols = 4096;

    private static readonly string[] s_schemes =
    [
        "rmsnorm-quantize-s8", "residual-rmsnorm-quantize-s8-bf16", "layernorm-quantize-u8", "layernorm-bias-quantize-s8-f16", "silu-mul-quantize-s8",
        "silu-mul-quantize-s4g32-bf16", "gelu-mul-quantize-s8", "gelu-tanh-mul-quantize-s8-bf16", "smooth-quantize-s8", "hadamard-quantize-s4",
        "rmsnorm-hadamard-quantize-s4", "silu-mul-hadamard-quantize-s4-bf16",
    ];

    private static readonly (long Rows, long Cols)[] s_checkShapes = [(3, 64), (2, 1152)];
    private static readonly string[] s_caseSchemes = ["rmsnorm-quantize-s8-bf16", "silu-mul-quantize-s8-bf16", "rmsnorm-hadamard-quantize-s4-bf16"];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from scheme in s_schemes
        from shape in s_checkShapes
        let spec = new FusedSpec(FusedScheme.Parse(scheme), shape.Rows, shape.Cols)
        select new CudaCheck($"{FusedSpec.OpName}/{scheme}/{spec.Shape}", shape.Rows * shape.Cols, context => spec.Way.Source switch
        {
            ElementType.F32 => Check<float>(context, spec),
            ElementType.F16 => Check<Half>(context, spec),
            _ => Check<BFloat16>(context, spec),
        });

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        let spec = new FusedSpec(FusedScheme.Parse(scheme), CaseRows, CaseCols)
        select new CudaCase(
            FusedSpec.OpName, scheme, new Dictionary<string, long> { ["rows"] = CaseRows, ["n"] = CaseCols }, 0,
            CaseRows * ((CaseCols * sizeof(short) * (spec.Way.HasSecond ? 2 : 1)) + spec.Way.Type.RowBytes(CaseCols) + sizeof(float)),
            (context, rotations) => new Calls(context, spec, rotations));

    private static string? Check<T>(CudaContext context, FusedSpec spec)
        where T : unmanaged
    {
        FusedScheme way = spec.Way;
        long rows = spec.Rows, cols = spec.Cols;
        QuantizeOptions options = way.ToOptions();
        byte[] source = Matrix(way.Source, rows * cols, 1), second = Matrix(way.Source, rows * cols, 2);
        float[] weight = Values(cols, 3), bias = Values(cols, 4);
        long count = Quantizer.ScaleCount(options, rows, cols);
        byte[] codes = new byte[rows * options.Type.RowBytes(cols)], sum = new byte[source.Length];
        float[] scales = new float[count];
        int[] zeroPoints = new int[count];
        bool hasBias = way.Step == FusedStep.LayerNormBias;
        using (var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 }))
        {
            new FusedOperands
            {
                Source = source,
                Second = way.HasSecond ? second : default,
                Sum = sum,
                Weight = weight,
                Bias = hasBias ? bias : default,
                Codes = codes,
                Scales = scales,
                ZeroPoints = options.Asymmetric ? zeroPoints : default,
            }.Run(way, host, rows, cols);
        }

        using var there = new Operands<T>(context, spec, MemoryMarshal.Cast<byte, T>(source), MemoryMarshal.Cast<byte, T>(second), weight, bias);
        there.Flags.Fill(0);
        there.Sum.Fill(0);
        there.Run(context, spec, null);
        int[] flag = new int[1], madeZeros = new int[count];
        byte[] madeCodes = new byte[codes.Length];
        float[] madeScales = new float[count];
        T[] madeSum = new T[rows * cols];
        there.Flags.CopyTo(flag);
        there.Codes.CopyTo(madeCodes);
        there.Scales.CopyTo(madeScales);
        there.ZeroPoints.CopyTo(madeZeros);
        there.Sum.CopyTo(madeSum);
        if (flag[0] != 0)
            return "the device says that the input is not finite";
        if (!MemoryMarshal.AsBytes(madeScales.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(scales.AsSpan())))
            return "a scale differs from the CPU's";
        if (options.Asymmetric && !madeZeros.AsSpan().SequenceEqual(zeroPoints))
            return "a zero point differs from the CPU's";
        if (way.Step == FusedStep.ResidualRmsNorm && !MemoryMarshal.AsBytes(madeSum.AsSpan()).SequenceEqual(sum))
            return "the sum with the residual differs from the CPU's";
        int differs = madeCodes.AsSpan().CommonPrefixLength(codes);
        return differs == codes.Length ? null : $"byte {differs} of the codes is {madeCodes[differs]}, the CPU's {codes[differs]}";
    }

    private static byte[] Matrix(ElementType type, long count, ulong stream)
    {
        byte[] bytes = new byte[type.RowBytes(count)];
        FloatConvert.FromSingle(type, Values(count, stream), bytes);
        return bytes;
    }

    private static float[] Values(long count, ulong stream)
    {
        var random = new Xoshiro256(Seed, stream);
        float[] values = new float[count];
        for (long i = 0; i < count; i++)
            values[i] = (float)random.NextNormal() * (i % 37 == 36 ? 12 : 1);
        return values;
    }

    private sealed class Operands<T> : IDisposable
        where T : unmanaged
    {
        private readonly CudaBuffer<T> _source;
        private readonly CudaBuffer<T> _second;
        private readonly CudaBuffer<float> _weight;
        private readonly CudaBuffer<float> _bias;

        // Matrices may be given as one row, which is repeated.
        public Operands(CudaContext context, FusedSpec spec, ReadOnlySpan<T> source, ReadOnlySpan<T> second, float[] weight, float[] bias)
        {
            QuantizeOptions options = spec.Way.ToOptions();
            long elements = spec.Rows * spec.Cols, count = Quantizer.ScaleCount(options, spec.Rows, spec.Cols);
            _source = Filled(context, elements, source);
            _second = Filled(context, elements, second);
            _weight = Filled<float>(context, weight.Length, weight);
            _bias = Filled<float>(context, bias.Length, bias);
            Sum = new CudaBuffer<T>(context, elements);
            Codes = new CudaBuffer<byte>(context, spec.Rows * options.Type.RowBytes(spec.Cols));
            Scales = new CudaBuffer<float>(context, count);
            ZeroPoints = new CudaBuffer<int>(context, count);
            Flags = new CudaBuffer<int>(context, 1);
        }

        public CudaBuffer<T> Sum { get; }

        public CudaBuffer<byte> Codes { get; }

        public CudaBuffer<float> Scales { get; }

        public CudaBuffer<int> ZeroPoints { get; }

        public CudaBuffer<int> Flags { get; }

        public void Run(CudaContext context, FusedSpec spec, CudaStream? stream)
        {
            FusedScheme way = spec.Way;
            long rows = spec.Rows, cols = spec.Cols;
            QuantizeOptions options = way.ToOptions();
            bool hasResidual = way.Step == FusedStep.ResidualRmsNorm;
            var codes = new CudaFusedCodes(options, Codes, Scales, options.Asymmetric ? ZeroPoints : null);
            var norm = new CudaNormInput<T>(_source) { Residual = hasResidual ? _second : null, Sum = hasResidual ? Sum : null };
            CudaNormWeights weights = CudaNormWeights.Of(_weight, FusedOperands.Epsilon, way.Step == FusedStep.LayerNormBias ? _bias : null);
            CudaGateInput<T> gate = CudaGateInput.Separate(_source, _second);
            var rotation = new CudaHadamardOptions(FusedOperands.RotationOf(cols));
            switch (way.Step)
            {
                case FusedStep.RmsNorm or FusedStep.ResidualRmsNorm:
                    Fused.RmsNormQuantize(context, rows, cols, norm, weights, codes, Flags, stream);
                    break;
                case FusedStep.LayerNorm or FusedStep.LayerNormBias:
                    Fused.LayerNormQuantize(context, rows, cols, norm, weights, codes, Flags, stream);
                    break;
                case FusedStep.SiluMul:
                    Fused.SiluMulQuantize(context, rows, cols, gate, codes, Flags, stream);
                    break;
                case FusedStep.GeluMul or FusedStep.GeluTanhMul:
                    Fused.GeluMulQuantize(context, rows, cols, gate, codes, way.Step == FusedStep.GeluTanhMul, Flags, stream);
                    break;
                case FusedStep.Smooth:
                    Fused.SmoothQuantize(context, rows, cols, _source, _weight, codes, 0, Flags, stream);
                    break;
                case FusedStep.Hadamard:
                    Fused.HadamardQuantize(context, rows, cols, _source, rotation, codes, 0, Flags, stream);
                    break;
                case FusedStep.RmsNormHadamard:
                    Fused.RmsNormHadamardQuantize(context, rows, cols, norm, weights, rotation, codes, Flags, stream);
                    break;
                default:
                    Fused.SiluMulHadamardQuantize(context, rows, cols, gate, rotation, codes, Flags, stream);
                    break;
            }
        }

        public void Dispose()
        {
            _source.Dispose();
            _second.Dispose();
            _weight.Dispose();
            _bias.Dispose();
            Sum.Dispose();
            Codes.Dispose();
            Scales.Dispose();
            ZeroPoints.Dispose();
            Flags.Dispose();
        }

        private static CudaBuffer<TElement> Filled<TElement>(CudaContext context, long elements, ReadOnlySpan<TElement> values)
            where TElement : unmanaged
        {
            var buffer = new CudaBuffer<TElement>(context, elements);
            for (long at = 0; at < elements; at += values.Length)
                buffer.CopyFrom(values, at);
            return buffer;
        }
    }

    private sealed class Calls : ICudaCalls
    {
        private readonly CudaContext _context;
        private readonly FusedSpec _spec;
        private readonly List<Operands<BFloat16>> _operands = [];

        public Calls(CudaContext context, FusedSpec spec, int rotations)
        {
            _context = context;
            _spec = spec;
            BFloat16[] row = Array.ConvertAll(Values(spec.Cols, 1), value => (BFloat16)value);
            float[] weight = Values(spec.Cols, 3), bias = Values(spec.Cols, 4);
            for (int i = 0; i < rotations; i++)
                _operands.Add(new Operands<BFloat16>(context, spec, row, row, weight, bias));
        }

        public void Call(int rotation, CudaStream stream) => _operands[rotation].Run(_context, _spec, stream);

        public void Dispose()
        {
            foreach (Operands<BFloat16> operands in _operands)
                operands.Dispose();
        }
    }
}
