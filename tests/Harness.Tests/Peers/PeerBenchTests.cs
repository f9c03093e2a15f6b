using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Peers;
using Kernels.Harness.Results;

namespace Kernels.Harness.Tests.Peers;

public sealed class PeerBenchTests
{
    private static readonly InterleaverOptions s_short = new()
    {
        Budget = TimeSpan.FromMilliseconds(3),
        Rounds = 3,
        MinSampleTime = TimeSpan.FromMilliseconds(0.2),
        Pause = TimeSpan.Zero,
    };

    [Theory]
    [InlineData("w8-a8", nameof(PeerInput.OfCell))]
    [InlineData("w4zg32-u8", nameof(PeerInput.OfCell))]
    [InlineData("w4g32-f32", nameof(PeerInput.Floats))]
    public void APeerThatIsRightHasASpeedUp(string cell, string input)
    {
        using var operands = new PeerOperands(cell, m: 3, n: 20, k: 96);
        var peer = new FakePeer(new PeerTraits(Enum.Parse<PeerInput>(input), Note: "a note"), value => value);
        PeerResult result = Assert.Single(Compare(operands, peer));
        Assert.Equal(("Fake product", "1.0", "a note"), (result.Name, result.Version, result.Note));
        Assert.Null(result.Failure);
        Assert.Equal(result.TimeNs / result.OwnTimeNs!.Value, result.Speedup!.Value);
        Assert.InRange(result.RelativeError!.Value, 0, 1e-5);
        Assert.Equal(0, peer.Living);
    }

    [Theory]
    [InlineData(1.002)]
    [InlineData(-1)]
    [InlineData(0)]
    [InlineData(double.NaN)]
    public void APeerThatIsWrongHasNone(double factor)
    {
        using var operands = new PeerOperands("w8-a8", m: 3, n: 20, k: 96);
        PeerResult result = Assert.Single(Compare(operands, new FakePeer(new PeerTraits(PeerInput.OfCell), value => value * factor)));
        Assert.Null(result.Speedup);
        Assert.StartsWith("wrong result: ", result.Failure, StringComparison.Ordinal);
        // JSON has no NaN.
        Assert.True(double.IsFinite(result.RelativeError!.Value));
    }

    [Theory]
    [InlineData(nameof(PeerQuantization.PerBlock), 0, 1.0, true)]
    [InlineData(nameof(PeerQuantization.PerBlock), 0, 1.2, false)]
    [InlineData(nameof(PeerQuantization.PerTensor), 0, 1.0, true)]
    [InlineData(nameof(PeerQuantization.None), PeerTraits.Bf16Roundoff, 1.001, true)]
    [InlineData(nameof(PeerQuantization.None), PeerTraits.Bf16Roundoff, 1.02, false)]
    public void WhatIsAllowedFollowsFromWhatTheCallRounds(string quantizes, double roundoff, double factor, bool isRight)
    {
        using var operands = new PeerOperands("w4g32-f32", m: 3, n: 20, k: 96);
        PeerQuantization quantization = Enum.Parse<PeerQuantization>(quantizes);
        var traits = new PeerTraits(PeerInput.Floats, quantization, BlockSize: 32, WeightRoundoff: roundoff);
        PeerResult result = Assert.Single(Compare(operands, new FakePeer(traits, value => value * factor)));
        Assert.True(isRight == (result.Failure is null), $"{result.RelativeError}: {result.Failure}");
        Assert.Equal(quantization != PeerQuantization.None, result.IncludesQuantization);
    }

    [Fact]
    public void APeerThatFailsIsToldAndLeavesTheOthersAlone()
    {
        using var operands = new PeerOperands("w8-a8", m: 3, n: 20, k: 96);
        var right = new FakePeer(new PeerTraits(PeerInput.OfCell), value => value);
        var failing = new FakePeer(new PeerTraits(PeerInput.OfCell), value => value) { Failure = "no memory" };
        var bench = new PeerBench([failing, right], new Interleaver(s_short), 0);
        for (int i = 0; i < 2; i++)
            Assert.Null(Assert.Single(bench.Compare(operands.Spec, 1, operands.Layer, operands.Own)).Failure);
        Assert.Equal(["Fake 1.0 fails: no memory"], bench.Failures);
        Assert.Equal((0, 0), (failing.Living, right.Living));
    }

    [Fact]
    public void WithoutPeersThereIsNothing()
    {
        using var operands = new PeerOperands("w8-a8", m: 1, n: 16, k: 32);
        Assert.Empty(Compare(operands));
    }

    [Fact]
    public void ContestantsTakeTurns()
    {
        var order = new List<int>();
        var interleaver = new Interleaver(s_short with { SlowCall = TimeSpan.Zero });
        interleaver.Medians([() => order.Add(0), () => order.Add(1), () => order.Add(2)], threads: 1);
        // Once each to see how slow it is, then rounds that begin with another one each time.
        Assert.Equal([0, 1, 2, 0, 1, 2, 1, 2, 0, 2, 0, 1], order);
    }

    [Fact]
    public void TimesAreThoseOfTheCalls()
    {
        double[] medians = new Interleaver(s_short).Medians([() => Thread.Sleep(2), () => Thread.Sleep(8)], threads: 1);
        // A sleep may end late, on a busy machine by much, and hardly early.
        Assert.True(medians[0] >= 1.9e6 && medians[1] >= 7.9e6, $"{medians[0]} and {medians[1]} ns");
    }

    [Theory]
    [InlineData("w4g32-f32-lora16", "")]
    [InlineData("w4g32o-a8", "")]
    [InlineData("w4g32o-bf16", "matmul bf16 x bf16")]
    [InlineData("w4g48-a8", "")]
    [InlineData("w8-dyn8", "")]
    [InlineData("w8-a8", "matmul s8 x s8")]
    [InlineData("w4zg32-a8", "matmul s8 x s8;matmul s8 x u4")]
    [InlineData("w4g32-bf16", "matmul bf16 x bf16;matmul bf16 x s4")]
    public void OneDnnIsAskedForWhatItsInterfaceCanSay(string cell, string functions)
    {
        using var operands = new PeerOperands(cell, m: 2, n: 6, k: 64);
        IEnumerable<string> asked = operands.Problem.IsUsual ? OneDnnPeer.RecipesFor(operands.Problem).Select(recipe => recipe.Function) : [];
        Assert.Equal(functions, string.Join(';', asked));
    }

    [Theory]
    [InlineData("w4g48-a8", "")]
    [InlineData("w4g32o-a8", "")]
    [InlineData("w4g32-a4", "")]
    [InlineData("w8-a8", "MatMulNBits 8-bit b128 acc4;MatMulInteger u8 x s8;DynamicQuantizeMatMul")]
    [InlineData("w8-dyn8", "MatMulNBits 8-bit b128 acc4;DynamicQuantizeMatMul")]
    [InlineData("w4zg32-f32", "MatMulNBits 4-bit b32 acc1")]
    [InlineData("w4g32-bf16", "")]
    [InlineData("nf4b64-f32", "MatMulBnb4 NF4")]
    public void OnnxRuntimeIsAskedForWhatItHasOpsFor(string cell, string functions)
    {
        using var operands = new PeerOperands(cell, m: 2, n: 6, k: 64);
        Assert.Equal(functions, string.Join(';', OrtRecipe.For(operands.Problem).Select(recipe => recipe.Function)));
    }

    [Fact]
    public void OperandsForPeersAreThoseOfTheCell()
    {
        using var operands = new PeerOperands("w4zg32-a8", m: 2, n: 6, k: 96);
        PeerWeights weights = operands.Problem.Weights;
        float[] byGroup = weights.ScalesByGroup();
        byte[] turned = weights.SignedByInput(), codes = weights.CodesByInput();
        for (int n = 0; n < 6; n++)
        {
            for (int k = 0; k < 96; k++)
            {
                int group = k / 32, at = k * 6 + n;
                Assert.Equal(weights.Scales[n * 3 + group], byGroup[group * 6 + n]);
                Assert.Equal(weights.Signed[n * 96 + k], unchecked((sbyte)turned[at]));
                Assert.Equal(weights.Signed[n * 96 + k] + weights.ZeroPoints![n * 3 + group], codes[at / 2] >> (4 * (at % 2)) & 15);
                Assert.Equal(weights.Signed[n * 96 + k] * weights.Scales[n * 3 + group], weights.Dequantized[n * 96 + k]);
            }
        }
    }

    [PeerTheory("OpenBLAS")]
    [InlineData("w8-a8")]
    [InlineData("w4zg32-f32")]
    [InlineData("w4g32o-a8")]
    [InlineData("w4zfg32sf16-bf16")]
    [InlineData("nf4b64sdq-f32")]
    [InlineData("w8-a8-outlier1pct")]
    [InlineData("w4g32-a4")]
    public void OpenBlasIsRight(string cell) => AssertAllRight("OpenBLAS", cell);

    // Not grouped integers: oneDNN 3.7 takes the scales of groups and computes something else, which its results then say.
    [PeerTheory("oneDNN")]
    [InlineData("w8-a8")]
    [InlineData("w8-u8")]
    [InlineData("w4-a8")]
    [InlineData("w8-f32")]
    [InlineData("w8-bf16")]
    [InlineData("w4g32-bf16")]
    [InlineData("w4-a4")]
    [InlineData("nf4b64-bf16")]
    public void OneDnnIsRight(string cell) => AssertAllRight("oneDNN", cell);

    // Odd sizes: rows of 4-bit codes, and of 4-bit zero points, end within a byte.
    [PeerTheory("oneDNN")]
    [InlineData("w4-a8", 63, 320, true)]
    [InlineData("w4zg32-a8", 63, 320, false)]
    [InlineData("w4zg32-bf16", 63, 320, true)]
    [InlineData("w4-bf16", 64, 321, true)]
    [InlineData("w8-a8", 63, 321, true)]
    public void OneDnnTakesOddSizesOrHasNothingForThem(string cell, int n, int k, bool hasAlways)
    {
        IPeer peer = Assert.Single(PeerTheoryAttribute.Search("oneDNN").Found);
        using var operands = new PeerOperands(cell, m: 5, n, k);
        var bench = new PeerBench([peer], new Interleaver(s_short), 0);
        IReadOnlyList<PeerResult> results = bench.Compare(operands.Spec, 1, operands.Layer, operands.Own);
        // Products of floats, and of codes with a scale per channel, are there for every size.
        Assert.True(results.Count > 0 || !hasAlways);
        Assert.Empty(bench.Failures);
    }

    [PeerTheory("ONNX Runtime")]
    [InlineData("w8-a8")]
    [InlineData("w8-u8")]
    [InlineData("w8g32-a8")]
    [InlineData("w4-a8")]
    [InlineData("w4g32-a8")]
    [InlineData("w4zg64-a8")]
    [InlineData("w4zg32-f32")]
    [InlineData("w4g128-f32")]
    [InlineData("nf4b64-f32")]
    [InlineData("w8-dyn8")]
    [InlineData("w4g32-dynu8")]
    public void OnnxRuntimeIsRight(string cell) => AssertAllRight("ONNX Runtime", cell);

    // One sequence and several of different lengths, one query token and several, more tokens than there are keys.
    [PeerTheory("ONNX Runtime")]
    [InlineData("decode-kv8", 1, 1, 0)]
    [InlineData("decode-kvf32", 3, 1, 1 << 16)]
    [InlineData("decode-kv4", 1, 5, 0)]
    [InlineData("prefill-kvbf16", 1, 20, 0)]
    public void OnnxRuntimeAttends(string scheme, int batch, int queries, long coldBytes)
    {
        IPeer peer = Assert.Single(PeerTheoryAttribute.Search("ONNX Runtime").Found);
        AttentionProblem problem = MakeAttention(scheme, batch, queries, coldBytes);
        foreach (int threads in new[] { 1, 2 })
        {
            using IPeerCall call = Assert.Single(peer.PrepareAttention(problem, threads));
            for (int i = 0; i < 3; i++)
                call.Invoke();
            PeerVerdict verdict = PeerCheck.Check(problem, call);
            Assert.True(verdict.IsRight, $"{call.Function}: {verdict}");
        }
    }

    [PeerTheory("ONNX Runtime")]
    [InlineData("decode-kv8", 2, 2)]
    public void OnnxRuntimeIsNotAskedForSeveralTokensOfSeveralSequences(string scheme, int batch, int queries) =>
        Assert.Empty(PeerTheoryAttribute.Search("ONNX Runtime").Found[0].PrepareAttention(MakeAttention(scheme, batch, queries, 0), 1));

    [Theory]
    [InlineData("decode-kv8", 2, 1, 1.0, true)]
    [InlineData("prefill-kv8", 1, 12, 1.0, true)]
    [InlineData("prefill-kv8", 1, 12, 1.001, false)]
    public void AttentionIsHeldAgainstUnquantizedKeysAndValues(string scheme, int batch, int queries, double factor, bool isRight)
    {
        AttentionProblem problem = MakeAttention(scheme, batch, queries, 0);
        using var call = new FakeAttention(problem, factor);
        Assert.Equal(isRight, PeerCheck.Check(problem, call).IsRight);
    }

    private static AttentionProblem MakeAttention(string scheme, int batch, int queries, long coldBytes)
    {
        var spec = new AttentionSpec(AttentionScheme.Parse(scheme), 4, 2, 16, 70, queries, batch);
        return new AttentionProblem(
            spec, LayerData.MakeActivations(40, 32, 1), LayerData.MakeActivations(40, 32, 2), LayerData.MakeActivations(batch * queries, 64, 3), coldBytes);
    }

    private static void AssertAllRight(string name, string cell)
    {
        IPeer peer = Assert.Single(PeerTheoryAttribute.Search(name).Found);
        // One row and several, with weights that are rotated and weights that are not; a K that ends within a block of 128.
        foreach ((long m, long coldBytes, int threads) in new[] { (1L, 1L << 20, 1), (7, 0, 2) })
        {
            using var operands = new PeerOperands(cell, m, n: 64, k: 320, coldBytes);
            IPeerCall[] calls = [.. peer.PrepareGemm(operands.Problem, threads)];
            try
            {
                Assert.NotEmpty(calls);
                foreach (IPeerCall call in calls)
                {
                    for (int i = 0; i < 3; i++)
                        call.Invoke();
                    PeerVerdict verdict = PeerCheck.Check(operands.Problem, call);
                    Assert.True(verdict.IsRight, $"{call.Function}: {verdict}");
                }
            }
            finally
            {
                foreach (IPeerCall call in calls)
                    call.Dispose();
            }
        }
    }

    private static IReadOnlyList<PeerResult> Compare(PeerOperands operands, params IPeer[] peers) =>
        new PeerBench(peers, new Interleaver(s_short), 0).Compare(operands.Spec, 1, operands.Layer, operands.Own);

    /// <summary>Attention in float64, written once more.</summary>
    private sealed class FakeAttention(AttentionProblem problem, double factor) : IPeerCall
    {
        public string Function => "attention";

        public PeerTraits Traits { get; } = new(PeerInput.Floats);

        public void Invoke()
        {
        }

        public float Output(long m, long n)
        {
            AttentionSpec spec = problem.Spec;
            (int dim, int head, int channel) = ((int)spec.HeadDim, (int)(n / spec.HeadDim), (int)(n % spec.HeadDim));
            int kvHead = head / (int)(spec.Heads / spec.KvHeads);
            long seen = spec.LengthOf((int)(m / spec.Queries)) - spec.Queries + (m % spec.Queries) + 1;
            double sum = 0, weights = 0;
            for (long t = 0; t < seen; t++)
            {
                ReadOnlySpan<float> key = problem.Head(problem.Keys, t, kvHead);
                double score = 0;
                for (int i = 0; i < dim; i++)
                    score += key[i] * (double)problem.Query[(m * spec.Heads * dim) + (head * dim) + i];
                double weight = Math.Exp(score / Math.Sqrt(dim));
                weights += weight;
                sum += weight * problem.Head(problem.Values, t, kvHead)[channel];
            }

            return (float)(sum / weights * factor);
        }

        public void Dispose()
        {
        }
    }
}
