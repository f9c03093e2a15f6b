namespace Kernels.Harness.Peers;

/// <summary>One way to compute a cell with ONNX Runtime: a model with the weights in it.</summary>
/// <param name="Function">The op and its level of accuracy.</param>
/// <param name="Model">The model.</param>
/// <param name="WeightBytes">Bytes of codes and scales.</param>
/// <param name="Traits">What it takes and includes.</param>
internal sealed record OrtRecipe(string Function, OnnxModel Model, long WeightBytes, PeerTraits Traits)
{
    private const string ContribDomain = "com.microsoft";

    // MatMulNBits knows scales in blocks alone. A channel's scale is repeated for each of these: what its users take most, and the
    // best compromise of speed among the sizes that it has.
    private const int BlockForChannels = 128;

    private const byte SignedShift = 0x80;

    /// <summary>What the bytes of 8-bit activations are combined with (exclusive or) before the call.</summary>
    public byte InputShift { get; private init; }

    // What its kernels are written for.
    private const int SmallestBlock = 16, LargestBlock = 256;

    /// <summary>What a user of the cell would try, whether or not the library has it.</summary>
    public static IEnumerable<OrtRecipe> For(PeerProblem problem)
    {
        ElementType activations = problem.Spec.Cell.Activations;
        PeerWeights weights = problem.Weights;
        // What our call computes with: its activations, or what it quantizes them to.
        ElementType? integers = activations.IsQuantized() ? activations : problem.Spec.Cell.Compute;
        bool isNf4 = problem.Spec.Cell.Weights is { Format: ElementType.C4, IsOrdered: false } && problem.K % weights.GroupLength == 0;
        if (isNf4 && activations == ElementType.F32 && integers is null)
            yield return Bnb4(problem);
        if (!weights.IsPlain)
            yield break;
        int block = weights.IsPerChannel ? BlockForChannels : weights.GroupLength;
        bool hasBlocks = int.IsPow2(block) && block is >= SmallestBlock and <= LargestBlock;
        bool isW8PerChannel = weights.Format == ElementType.S8 && weights.IsPerChannel;
        if (integers is ElementType.S8 or ElementType.U8)
        {
            if (hasBlocks)
                yield return NBits(problem, block, accuracyLevel: 4);
            if (isW8PerChannel && activations.IsQuantized())
                yield return Integer(problem, activations);
            if (isW8PerChannel)
                yield return DynamicQuantize(problem);
        }
        else if (integers is null && activations == ElementType.F32 && hasBlocks)
        {
            yield return NBits(problem, block, accuracyLevel: 1);
        }
    }

    private static OrtRecipe NBits(PeerProblem problem, int block, int accuracyLevel)
    {
        PeerWeights weights = problem.Weights;
        int n = problem.N, k = problem.K, bits = weights.Format == ElementType.S8 ? 8 : 4;
        int blocks = (k + block - 1) / block;
        byte[] codes = BlockCodes(weights, n, k, block, bits);
        var scales = new float[n * blocks];
        for (int i = 0; i < scales.Length; i++)
            scales[i] = weights.IsPerChannel ? weights.Scales[i / blocks] : weights.Scales[i];
        var constants = new List<OnnxConstant>
        {
            new("B", OnnxType.U8, [n, blocks, block * bits / 8], codes),
            OnnxConstant.Of("scales", [n, blocks], scales),
        };
        // Without zero points the op takes the middle of the codes' range.
        if (weights.ZeroPoints is { } points)
            constants.Add(new OnnxConstant("zero_points", OnnxType.U8, [n, (blocks + 1) / 2], PackZeroPoints(points, weights, n, blocks)));
        var model = new OnnxModel(
            "MatMulNBits", ContribDomain, OnnxType.F32, OnnxType.F32,
            [("K", k), ("N", n), ("bits", bits), ("block_size", block), ("accuracy_level", accuracyLevel)], constants);
        string? note = weights.IsPerChannel ? $"channel scales repeated for blocks of {block}" : null;
        PeerTraits traits = accuracyLevel == 4
            ? new PeerTraits(PeerInput.Floats, PeerQuantization.PerBlock, block, Note: note)
            : new PeerTraits(PeerInput.Floats, Note: note);
        return new OrtRecipe($"MatMulNBits {bits}-bit b{block} acc{accuracyLevel}", model, codes.Length + scales.Length * sizeof(float), traits);
    }

    private static OrtRecipe Integer(PeerProblem problem, ElementType activations)
    {
        byte[] weights = problem.Weights.SignedByInput();
        var constants = new List<OnnxConstant> { new("B", OnnxType.S8, [problem.K, problem.N], weights) };
        // Its fast kernels take unsigned activations: signed ones are shifted, and one zero point for all of them shifts them back.
        bool isShifted = activations == ElementType.S8;
        if (isShifted)
            constants.Add(new OnnxConstant("a_zero_point", OnnxType.U8, [], new[] { SignedShift }));
        var model = new OnnxModel("MatMulInteger", "", OnnxType.U8, OnnxType.S32, [], constants);
        string left = isShifted ? "all scales left out, activations shifted to u8 before" : "all scales and zero points left out";
        return new OrtRecipe("MatMulInteger u8 x s8", model, weights.Length, new PeerTraits(PeerInput.OfCell, Note: left))
        {
            InputShift = isShifted ? SignedShift : (byte)0,
        };
    }

    private static OrtRecipe DynamicQuantize(PeerProblem problem)
    {
        byte[] weights = problem.Weights.SignedByInput();
        var model = new OnnxModel(
            "DynamicQuantizeMatMul", ContribDomain, OnnxType.F32, OnnxType.F32, [],
            [new OnnxConstant("B", OnnxType.S8, [problem.K, problem.N], weights), OnnxConstant.Of("scales", [problem.N], problem.Weights.Scales)]);
        return new OrtRecipe(
            "DynamicQuantizeMatMul", model, weights.Length,
            new PeerTraits(PeerInput.Floats, PeerQuantization.PerTensor, Note: "one scale for all tokens"));
    }

    private static OrtRecipe Bnb4(PeerProblem problem)
    {
        const int Nf4 = 1;
        PeerWeights weights = problem.Weights;
        // bitsandbytes has the first code of a byte above.
        byte[] codes = Array.ConvertAll(weights.Codes.ToArray(), pair => (byte)(pair << 4 | pair >> 4));
        var model = new OnnxModel(
            "MatMulBnb4", ContribDomain, OnnxType.F32, OnnxType.F32,
            [("K", problem.K), ("N", problem.N), ("block_size", weights.GroupLength), ("quant_type", Nf4)],
            [new OnnxConstant("B", OnnxType.U8, [codes.Length], codes), OnnxConstant.Of("absmax", [weights.Scales.Length], weights.Scales)]);
        return new OrtRecipe("MatMulBnb4 NF4", model, codes.Length + weights.Scales.Length * sizeof(float), new PeerTraits(PeerInput.Floats));
    }

    // Codes above 0, the middle standing for 0 where they are signed; rows are padded with it to whole blocks.
    private static byte[] BlockCodes(PeerWeights weights, int n, int k, int block, int bits)
    {
        int blocks = (k + block - 1) / block, row = blocks * block * bits / 8, own = (int)weights.Format.RowBytes(k);
        byte middle = bits == 8 ? (byte)0x80 : (byte)0x88, flip = weights.Format == ElementType.U4 ? (byte)0 : middle;
        var codes = new byte[n * row];
        codes.AsSpan().Fill(middle);
        Parallel.For(0, n, channel =>
        {
            ReadOnlySpan<byte> source = weights.Codes.Slice(channel * own, own);
            Span<byte> target = codes.AsSpan(channel * row, row);
            for (int i = 0; i < own; i++)
                target[i] = (byte)(source[i] ^ flip);
        });
        return codes;
    }

    private static byte[] PackZeroPoints(int[] points, PeerWeights weights, int n, int blocks)
    {
        int row = (blocks + 1) / 2;
        var packed = new byte[n * row];
        for (int channel = 0; channel < n; channel++)
        {
            for (int b = 0; b < blocks; b++)
            {
                int point = points[weights.IsPerChannel ? channel : channel * blocks + b];
                packed[channel * row + b / 2] |= (byte)(point << (4 * (b % 2)));
            }
        }

        return packed;
    }
}
