namespace Kernels.Harness.Cases;

/// <summary>What a case computes, without the machine: an op, a scheme and a shape, the first three parts of an id.</summary>
internal abstract record CaseSpec
{
    /// <summary>The op, such as "gemm".</summary>
    public abstract string Op { get; }

    /// <summary>The scheme as ids write it.</summary>
    public abstract string Scheme { get; }

    /// <summary>The shape as ids write it.</summary>
    public abstract string Shape { get; }

    /// <summary>The id of this work on so many threads by a variant.</summary>
    public CaseId ToId(int threads, string variant) => new(this, threads, variant);

    /// <inheritdoc/>
    public sealed override string ToString() => $"{Op}/{Scheme}/{Shape}";
}

/// <summary>Y[M,N] = X[M,K] . W[N,K]^T.</summary>
internal sealed record GemmSpec(GemmScheme Cell, long M, long N, long K) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "gemm";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => Cell.ToString();

    /// <inheritdoc/>
    public override string Shape => $"m{M}-n{N}-k{K}";

    /// <summary>Operations: a multiplication and an addition for each product of X and W. Those of an adapter are not counted: it is what they cost
    /// that figures should show.</summary>
    public double Operations => 2.0 * M * N * K;
}

/// <summary>Float [Rows, Cols] to codes and scales.</summary>
internal sealed record QuantizeSpec(QuantizeScheme Way, long Rows, long Cols) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "quantize";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => Way.ToString();

    /// <inheritdoc/>
    public override string Shape => $"rows{Rows}-n{Cols}";
}

/// <summary>A step between two GEMMs, from float [Rows, Cols] to codes and scales.</summary>
internal sealed record FusedSpec(FusedScheme Way, long Rows, long Cols) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "fused";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => Way.ToString();

    /// <inheritdoc/>
    public override string Shape => $"rows{Rows}-n{Cols}";
}

/// <summary>Codes and scales [Rows, Cols] to float.</summary>
internal sealed record DequantizeSpec(WeightScheme Weights, ElementType Target, long Rows, long Cols) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "dequantize";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => $"{Weights}-{ElementNames.NameOf(Target)}";

    /// <inheritdoc/>
    public override string Shape => $"rows{Rows}-n{Cols}";
}

/// <summary>A Hadamard rotation of [Rows, Cols]. Ids write the scheme <c>f32</c>, with <c>h128</c> behind it for blocks of 128, a head each,
/// and <c>-out</c> for a result in memory of its own; otherwise a row is a block, and the rotation is in place.</summary>
internal sealed record HadamardSpec(ElementType Type, long Block, bool IsOutOfPlace, long Rows, long Cols) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "hadamard";

    private const string OutSuffix = "-out";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => $"{ElementNames.NameOf(Type)}{(Block == Cols ? "" : $"h{Block}")}{(IsOutOfPlace ? OutSuffix : "")}";

    /// <inheritdoc/>
    public override string Shape => $"rows{Rows}-n{Cols}";

    /// <summary>The rotation.</summary>
    public HadamardOptions ToOptions() => new(Block);

    /// <summary>Reads a scheme for rows of a width; null when it is none, or not as <see cref="Scheme"/> writes it.</summary>
    public static HadamardSpec? TryParse(string scheme, long rows, long cols)
    {
        bool isOutOfPlace = scheme.EndsWith(OutSuffix, StringComparison.Ordinal);
        ReadOnlySpan<char> name = isOutOfPlace ? scheme.AsSpan(0, scheme.Length - OutSuffix.Length) : scheme;
        long block = cols;
        int head = name.IndexOf('h');
        if (head >= 0)
        {
            if (!WeightScheme.TryParseNumber(name[(head + 1)..], out block) || block == cols || block < 1 || cols % block != 0)
                return null;
            name = name[..head];
        }

        return ElementNames.TryParseFloat(name, out ElementType type) ? new HadamardSpec(type, block, isOutOfPlace, rows, cols) : null;
    }
}


/// <summary>Tokens to the end of one sequence, which has <paramref name="Context"/> of them then.</summary>
internal sealed record KvAppendSpec(KvScheme Way, long KvHeads, long HeadDim, long Context, long Tokens) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "kv_append";

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => Way.ToString();

    /// <inheritdoc/>
    public override string Shape => $"h{KvHeads}-d{HeadDim}-c{Context}-q{Tokens}";
}

/// <summary>Attention of the last <paramref name="Queries"/> tokens of every sequence of a batch, causal. The longest sequence has
/// <paramref name="Context"/> tokens, the others ever fewer (<see cref="LengthOf"/>).</summary>
internal sealed record AttentionSpec(AttentionScheme Way, long Heads, long KvHeads, long HeadDim, long Context, long Queries, int Batch = 1) : CaseSpec
{
    /// <summary>The op of these cases.</summary>
    public const string OpName = "attention";

    /// <summary>The most sequences of a batch.</summary>
    public const int MaxBatch = 64;

    // No multiple of a block or a page.
    private const long RaggedTokens = 5;

    /// <inheritdoc/>
    public override string Op => OpName;

    /// <inheritdoc/>
    public override string Scheme => Way.ToString();

    /// <inheritdoc/>
    public override string Shape => $"h{Heads}-g{KvHeads}-d{HeadDim}{(Batch == 1 ? "" : $"-b{Batch}")}-c{Context}-q{Queries}";

    /// <summary>Tokens of all sequences.</summary>
    public long Tokens => Enumerable.Range(0, Batch).Sum(LengthOf);

    /// <summary>Multiplications and additions of both products, over the pairs of query and token that see each other.</summary>
    public double Operations => 4.0 * Heads * HeadDim * ((Tokens * (double)Queries) - (Batch * Queries * (Queries - 1) / 2.0));

    /// <summary>Tokens of a sequence: each is shorter than the one before by an even share of the context and five tokens, but holds the queries.</summary>
    public long LengthOf(int sequence) => Math.Max(Queries, (Context * (Batch - sequence) / Batch) - (RaggedTokens * sequence));
}
