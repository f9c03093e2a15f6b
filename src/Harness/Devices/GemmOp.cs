using System.Runtime.InteropServices;
using Kernels.Harness.Accuracy;
using Kernels.Harness.Accuracy.Verification;
using Kernels.Harness.Cases;
using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>GEMM: on integers a device has the bits of the CPU's reference, on floats an error within the bound of cuda_gemm.h.</summary>
internal sealed class GemmOp : CudaOp
{
    private const ulong Seed = 11;
    private const int WidePadding = 16;

    // Every format, way of activations and kind of scales once; formats that checkpoints have in more shapes.
    private static readonly string[] s_schemes =
    [
        "w8-a8", "w4g128-a8", "w8g128-a8", "w8-u8", "w4-a4", "w4zg32-a8", "w4zfg128sf16-a8", "w4g128o-a8", "w8-dyn8-bf16", "w4g128-dyn4",
        "w8-a8-outlier1pct", "w8x1pct-dyn8", "w4g128-bf16", "w4g128-f16", "w8-bf16", "w8-f16", "nf4b64-bf16", "nf4b64-f16", "w4zg32-bf16",
        "w4zfg128sf16-f16", "w4g128o-bf16", "w8-dyn8-lora5", "w4g128-dyn4-bf16-lora16",
    ];

    private static readonly (long M, long N, long K)[] s_checkShapes = [(1, 40, 192), (19, 33, 150)];

    // Many tokens; and so few channels with so long a K that blocks share it.
    private static readonly (long M, long N, long K)[] s_mainShapes = [(70, 136, 256), (2, 20, 28672)];
    private static readonly string[] s_caseSchemes = ["w8-a8", "w4g128-a8", "w4-a8", "w4g128-a4", "w4g128-bf16", "w8-bf16", "nf4b64-bf16", "w4g128-f16"];
    private static readonly long[] s_caseRows = [1, 16, 512, 8192];
    private static readonly (long N, long K)[] s_caseWeights = [(4096, 4096), (8192, 8192)];

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from scheme in s_schemes
        from shape in scheme is "w8-a8" or "w4g128-a8" or "w4g128-bf16" ? [.. s_checkShapes, .. s_mainShapes] : s_checkShapes
        let spec = new GemmSpec(GemmScheme.Parse(scheme), shape.M, shape.N, shape.K)
        select new CudaCheck($"{GemmSpec.OpName}/{scheme}/{spec.Shape}", shape.M * shape.N, context => Check(context, spec)) { IsExact = spec.Cell.IsInteger };

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from scheme in s_caseSchemes
        from weights in s_caseWeights
        from m in s_caseRows
        let spec = new GemmSpec(GemmScheme.Parse(scheme), m, weights.N, weights.K)
        select new CudaCase(
            GemmSpec.OpName, scheme, new Dictionary<string, long> { ["m"] = m, ["n"] = spec.N, ["k"] = spec.K }, spec.Operations, BytesOf(spec),
            (context, rotations) => spec.Cell.Activations == ElementType.F16
                ? new Calls<Half>(context, spec, rotations, value => (Half)value)
                : new Calls<BFloat16>(context, spec, rotations, value => (BFloat16)value))
        { Product = new MatrixShape(m, spec.N, spec.K), IsInteger = spec.Cell.IsInteger };

    // Weights and activations with their scales, and a result in 16 bits.
    private static long BytesOf(GemmSpec spec)
    {
        WeightScheme weights = spec.Cell.Weights;
        return (spec.N * weights.Format.RowBytes(spec.K)) + (weights.ScalesOf(spec.N, spec.K) * sizeof(float))
            + (spec.M * (spec.Cell.Activations.RowBytes(spec.K) + (spec.Cell.Activations.IsQuantized() ? sizeof(float) : 0)))
            + (spec.M * spec.N * sizeof(short));
    }

    private static string? Check(CudaContext context, GemmSpec spec)
    {
        using var host = new KernelContext(new KernelContextOptions { Isa = Isa.Reference, Threads = 1 });
        var operands = new GemmOperands(spec, ElementType.F32, WidePadding, isExtreme: false, new Xoshiro256(Seed, (ulong)spec.M));
        using PackedWeights weights = WeightStorage.Pack(host, operands.Weights);
        return spec.Cell.Activations switch
        {
            ElementType.F16 => Check<Half>(context, host, weights, spec, operands),
            ElementType.BF16 => Check<BFloat16>(context, host, weights, spec, operands),
            _ => Check<float>(context, host, weights, spec, operands),
        };
    }

    // The type of floats, where activations are floats.
    private static string? Check<T>(CudaContext context, KernelContext host, PackedWeights weights, GemmSpec spec, GemmOperands operands)
        where T : unmanaged
    {
        ElementType type = spec.Cell.Activations;
        var options = new GemmOptions
        {
            Compute = spec.Cell.Compute,
            OutlierThreshold = spec.Cell.HasOutliers ? GemmOptions.DefaultOutlierThreshold : 0,
            Lora = operands.Lora is { } adapter ? LoraAdapter.Of<float>(adapter.A, adapter.B, adapter.Rank, adapter.Scale) : default,
        };
        LoraOperand? lora = operands.Lora;
        using CudaBuffer<float> a = DeviceMemory.Copy<float>(context, lora?.A), b = DeviceMemory.Copy<float>(context, lora?.B);
        var optionsThere = new CudaGemmOptions
        {
            Compute = options.Compute,
            OutlierThreshold = options.OutlierThreshold,
            Lora = lora is null ? default : CudaLoraAdapter.Of(a, b, lora.Rank, lora.Scale),
        };
        ReadOnlySpan<T> floats = type.IsFloat() ? MemoryMarshal.Cast<byte, T>(operands.X) : default;
        float[] residual = MemoryMarshal.Cast<byte, float>(operands.Residual).ToArray();
        float[] expected = MemoryMarshal.Cast<byte, float>(GemmOperands.Filled((int)spec.M * operands.YLd * sizeof(float))).ToArray();
        float[] made = [.. expected];
        Activations x = type switch
        {
            ElementType.S8 => Activations.S8(operands.X, operands.XScales, operands.XLd),
            ElementType.S4 => Activations.S4(operands.X, operands.XScales, operands.XLd),
            ElementType.U8 => Activations.U8(operands.X, operands.XScales, operands.XZeroPoints, operands.XLd),
            _ => Activations.Of(floats, operands.XLd),
        };
        if (spec.Cell.IsInteger)
        {
            Gemm.Run(
                host, weights, spec.M, x,
                new GemmOutput<float>(expected, operands.YLd) { Bias = operands.Bias, Residual = residual, ResidualLd = operands.ResidualLd }, options);
        }

        using var deviceWeights = new CudaPackedWeights(context, host, weights);
        using CudaBuffer<byte> codes = DeviceMemory.Copy<byte>(context, operands.X);
        using CudaBuffer<T> source = DeviceMemory.Copy(context, floats);
        using CudaBuffer<float> scales = DeviceMemory.Copy<float>(context, operands.XScales), bias = DeviceMemory.Copy<float>(context, operands.Bias);
        using CudaBuffer<int> zeroPoints = DeviceMemory.Copy<int>(context, operands.XZeroPoints);
        using CudaBuffer<float> added = DeviceMemory.Copy<float>(context, residual), y = DeviceMemory.Copy<float>(context, made);
        using var workspace = new CudaBuffer<byte>(context, Gemm.WorkspaceBytes(context, deviceWeights, type, spec.M, optionsThere));
        using CudaBuffer<int> flags = DeviceMemory.Copy<int>(context, [0]);
        CudaActivations there = type switch
        {
            ElementType.S8 => CudaActivations.S8(codes, scales, operands.XLd),
            ElementType.S4 => CudaActivations.S4(codes, scales, operands.XLd),
            ElementType.U8 => CudaActivations.U8(codes, scales, zeroPoints, operands.XLd),
            _ => CudaActivations.Of(source, operands.XLd),
        };
        var result = new CudaGemmOutput<float>(y, operands.YLd) { Bias = bias, Residual = added, ResidualLd = operands.ResidualLd };
        Gemm.Run(context, deviceWeights, spec.M, there, result, optionsThere, workspace, flags);
        y.CopyTo(made);
        int[] flag = [0];
        flags.CopyTo(flag);
        if (flag[0] != 0)
            return "the device says that the input is not finite";

        if (!spec.Cell.IsInteger)
        {
            float[] alone = expected[..operands.YLd];
            y.CopyFrom(alone);
            Gemm.Run(context, deviceWeights, 1, there, result, optionsThere, workspace, flags);
            y.CopyTo(alone);
            return CompareFloats(context, spec, operands, made, alone);
        }

        // What lies behind the rows has to be as it was, so the whole buffers are compared.
        int differs = MemoryMarshal.Cast<float, int>(made).CommonPrefixLength(MemoryMarshal.Cast<float, int>(expected));
        return differs == made.Length
            ? null
            : $"element {differs % operands.YLd} of row {differs / operands.YLd} is {made[differs]:R}, the CPU's {expected[differs]:R}";
    }

    // Every output within the bound, nothing written behind the rows, and with sm80 the first row with the same bits as alone.
    private static string? CompareFloats(CudaContext context, GemmSpec spec, GemmOperands operands, float[] made, ReadOnlySpan<float> alone)
    {
        var meter = new KernelErrorMeter("bound");
        OracleChannel[] channels = [.. Enumerable.Range(0, (int)spec.N).Select(n => operands.Weights.Channel(n, spec.Cell.Activations))];
        ReadOnlySpan<float> residual = MemoryMarshal.Cast<byte, float>(operands.Residual);
        for (int m = 0; m < spec.M; m++)
        {
            float[] x = operands.FloatRow(m);
            for (int n = 0; n < spec.N; n++)
            {
                int row = m, column = n;
                OracleOutput exact = GemmOracle.Float(x, channels[n], operands.Bias[n], residual[(m * operands.ResidualLd) + n]);
                double bound = Roundings(context, spec, channels[n]) * GemmOracle.UnitRoundoff * exact.Magnitude;
                meter.AddBounded(made[(m * operands.YLd) + n], exact.Value, bound + Math.ScaleB(1, -150), () => $"Y[{row},{column}]");
            }

            if (!GemmOperands.IsUntouched(MemoryMarshal.AsBytes(made.AsSpan((m * operands.YLd) + (int)spec.N, operands.YLd - (int)spec.N))))
                return $"something was written behind row {m}";
        }

        // Of sm90a many tokens may take another instruction than few, which may add in another order.
        if (context.Class == CudaClass.Sm80 && !MemoryMarshal.AsBytes(alone).SequenceEqual(MemoryMarshal.AsBytes(made.AsSpan(0, alone.Length))))
            return "the first row has other bits alone than among others";
        return meter.FirstMismatch;
    }

    // The factor of cuda_gemm.h. A matrix instruction of 16 products costs a device 40 roundings; the emulator rounds it once.
    private static double Roundings(CudaContext context, GemmSpec spec, OracleChannel channel)
    {
        const int BlockInputs = 128, StepInputs = 32, MostProducts = 8, DeviceRoundings = 40;
        int product = context.Device.IsEmulator ? 1 : DeviceRoundings;
        long group = Math.Min(channel.GroupLength, spec.K), longest = Math.Min(group, BlockInputs), groups = channel.Scales.Length;
        long products = Math.Min(2 * ((longest + StepInputs - 1) / StepInputs), MostProducts);
        long blocks = groups * ((group + BlockInputs - 1) / BlockInputs);
        return (product * products) + blocks + (channel.Offsets is null ? 0 : groups) + 8;
    }

    // The result, and activations that are floats, in 16 bits.
    private sealed class Calls<T> : ICudaCalls
        where T : unmanaged
    {
        private readonly CudaContext _context;
        private readonly GemmSpec _spec;
        private readonly List<Operands<T>> _operands = [];

        public Calls(CudaContext context, GemmSpec spec, int rotations, Func<float, T> convert)
        {
            _context = context;
            _spec = spec;
            ElementType type = spec.Cell.Activations;
            var random = new Xoshiro256(Seed, (ulong)spec.N);
            using var host = new KernelContext();
            float[] values = new float[spec.N * spec.K];
            for (int i = 0; i < values.Length; i++)
                values[i] = (float)random.NextNormal();
            using PackedWeights weights = PackedWeights.FromFloat<float>(host, spec.Cell.Weights.ToShape(spec.N, spec.K), values);
            float[] scales = new float[spec.M];
            Array.Fill(scales, 0.01f);
            for (int i = 0; i < rotations; i++)
            {
                var there = new CudaPackedWeights(context, host, weights);
                _operands.Add(new Operands<T>(
                    there,
                    DeviceMemory.RandomBytes(context, type.IsFloat() ? 0 : spec.M * type.RowBytes(spec.K), Seed),
                    DeviceMemory.Normal(context, type.IsFloat() ? spec.M * spec.K : 0, Seed, convert),
                    DeviceMemory.Copy<float>(context, scales), new CudaBuffer<T>(context, spec.M * spec.N),
                    new CudaBuffer<byte>(context, Gemm.WorkspaceBytes(context, there, type, spec.M))));
            }
        }

        public void Call(int rotation, CudaStream stream)
        {
            Operands<T> at = _operands[rotation];
            CudaActivations x = _spec.Cell.Activations switch
            {
                ElementType.S8 => CudaActivations.S8(at.Codes, at.Scales),
                ElementType.S4 => CudaActivations.S4(at.Codes, at.Scales),
                _ => CudaActivations.Of(at.Floats),
            };
            Gemm.Run(_context, at.Weights, _spec.M, x, new CudaGemmOutput<T>(at.Y), workspace: at.Workspace, stream: stream);
        }

        public void Dispose()
        {
            foreach (Operands<T> operands in _operands)
                operands.Dispose();
        }
    }

    private sealed record Operands<T>(
        CudaPackedWeights Weights, CudaBuffer<byte> Codes, CudaBuffer<T> Floats, CudaBuffer<float> Scales, CudaBuffer<T> Y, CudaBuffer<byte> Workspace)
        : IDisposable
        where T : unmanaged
    {
        public void Dispose()
        {
            Weights.Dispose();
            Codes.Dispose();
            Floats.Dispose();
            Scales.Dispose();
            Y.Dispose();
            Workspace.Dispose();
        }
    }
}
