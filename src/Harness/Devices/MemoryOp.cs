using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Devices;

/// <summary>The loops over memory that other ops are held against.</summary>
internal sealed class MemoryOp : CudaOp
{
    private const string Name = "memory";
    private const ulong Seed = 20261121;
    private static readonly long[] s_checkElements = [4, 1028, 100_000];
    private static readonly long[] s_caseMegabytes = [256, 32];

    /// <summary>The id of the case that gives a ceiling, without device and class.</summary>
    public static string CeilingId(CudaCeiling ceiling) => $"{Name}/{NameOf(ceiling)}/mb{s_caseMegabytes[0]}";

    /// <inheritdoc/>
    public override IEnumerable<CudaCheck> Checks() =>
        from ceiling in Enum.GetValues<CudaCeiling>()
        from elements in s_checkElements
        select new CudaCheck($"{Name}/{NameOf(ceiling)}/n{elements}", elements, context => Check(context, ceiling, elements));

    /// <inheritdoc/>
    public override IEnumerable<CudaCase> Cases() =>
        from megabytes in s_caseMegabytes
        from ceiling in Enum.GetValues<CudaCeiling>()
        let bytes = megabytes << 20
        select new CudaCase(
            Name, NameOf(ceiling), new Dictionary<string, long> { ["mb"] = megabytes }, 0, bytes * AccessesOf(ceiling),
            (context, rotations) => new Calls(context, ceiling, bytes / sizeof(float), rotations));

    /// <summary>The name of a loop in ids.</summary>
    public static string NameOf(CudaCeiling ceiling) => ceiling.ToString().ToLowerInvariant();

    private static int AccessesOf(CudaCeiling ceiling) => (int)ceiling;

    private static string? Check(CudaContext context, CudaCeiling ceiling, long elements)
    {
        float[] a = Values(elements, 1), b = Values(elements, 2);
        long outputs = ceiling == CudaCeiling.Read ? CudaCeilings.ReadElements : elements;
        float[] made = new float[outputs];
        using var to = new CudaBuffer<float>(context, outputs);
        using var from = new CudaBuffer<float>(context, elements);
        using var other = new CudaBuffer<float>(context, elements);
        to.Fill(0);
        from.CopyFrom(a);
        other.CopyFrom(b);
        CudaCeilings.Run(ceiling, to, from, other);
        to.CopyTo(made);
        if (ceiling == CudaCeiling.Read)
            return Or(made) == Or(a) ? null : "the bits that were read are not those of the input";
        for (long i = 0; i < elements; i++)
        {
            float expected = ceiling == CudaCeiling.Copy ? a[i] : MathF.FusedMultiplyAdd(b[i], 3, a[i]);
            if (BitConverter.SingleToInt32Bits(made[i]) != BitConverter.SingleToInt32Bits(expected))
                return $"element {i} is {made[i]:R}, not {expected:R}";
        }

        return null;
    }

    private static int Or(float[] values) => values.Aggregate(0, (bits, value) => bits | BitConverter.SingleToInt32Bits(value));

    private static float[] Values(long elements, int stream)
    {
        var random = new Xoshiro256(Seed, (ulong)stream);
        float[] values = new float[elements];
        for (long i = 0; i < elements; i++)
            values[i] = (float)random.NextNormal();
        return values;
    }

    private sealed class Calls : ICudaCalls
    {
        private const int ValuesInAll = 1 << 18;

        private readonly CudaCeiling _ceiling;
        private readonly List<(CudaBuffer<float> To, CudaBuffer<float> A, CudaBuffer<float> B)> _operands = [];

        public Calls(CudaContext context, CudaCeiling ceiling, long elements, int rotations)
        {
            _ceiling = ceiling;
            float[] values = Values(ValuesInAll, 3);
            for (int i = 0; i < rotations; i++)
                _operands.Add((Filled(context, elements, values), Filled(context, elements, values), Filled(context, elements, values)));
        }

        public void Call(int rotation, CudaStream stream) =>
            CudaCeilings.Run(_ceiling, _operands[rotation].To, _operands[rotation].A, _operands[rotation].B, stream);

        public void Dispose()
        {
            foreach ((CudaBuffer<float> to, CudaBuffer<float> a, CudaBuffer<float> b) in _operands)
            {
                to.Dispose();
                a.Dispose();
                b.Dispose();
            }
        }

        private static CudaBuffer<float> Filled(CudaContext context, long elements, float[] values)
        {
            var buffer = new CudaBuffer<float>(context, elements);
            for (long at = 0; at < elements; at += values.Length)
                buffer.CopyFrom(values.AsSpan(0, (int)Math.Min(values.Length, elements - at)), at);
            return buffer;
        }
    }
}
