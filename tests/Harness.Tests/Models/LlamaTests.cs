using Kernels.Harness.Formats;
using Kernels.Harness.Models;

namespace Kernels.Harness.Tests.Models;

/// <summary>The Llama forward pass: small models against float64, a real one against the perplexity that is known of
/// it.</summary>
public sealed class LlamaTests : IDisposable
{
    private const string Llama2c = "stories260K/stories260K.bin", Version1 = "stories260K/stories260K-v1.bin", Gguf = "stories260K/stories260K.gguf";
    private const string Quantized = "quantized/stories260K-q8_0-gs8.bin", Tokenizer = "stories260K/tok512.bin", Text = "text/tinystories-ascii.txt";

    private static readonly int[] s_tokens = [1, 4, 0, 10, 10, 7, 3, 2, 9, 5, 1, 6, 8];

    private readonly TemporaryFolder _folder = new();
    private readonly KernelContext _context = new();

    public void Dispose()
    {
        _folder.Dispose();
        _context.Dispose();
    }

    public static TheoryData<string, string, bool> Embeddings => new()
    {
        { "plain", "", true },
        { "plain", "", false },
        { "plain", ", \"rope_scaling\": null", true },
        { "plain", ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 10000}", true },
        { "base", ", \"rope_theta\": 500000.0", true },
        { "base", ", \"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": \"default\"}", true },
        { "linear", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}", true },
        {
            "llama3",
            ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 128}",
            true
        },
    };

    [Theory]
    [MemberData(nameof(Embeddings))]
    public void LogitsAreThoseOfFloat64(string embedding, string config, bool isTied)
    {
        var model = new TinyLlama(pair => Frequency(embedding, pair), config, isTied);
        model.SaveHuggingFace(_folder);
        AssertForward(model, _folder.Path, blockTokens: 128);
    }

    [Theory]
    [InlineData(true, 1)]
    [InlineData(true, 5)]
    [InlineData(false, 128)]
    public void TheOtherOrderOfRowsAndOtherBlocksGiveTheSame(bool isTied, int blockTokens)
    {
        var model = new TinyLlama(pair => Frequency("plain", pair), isTied: isTied);
        AssertForward(model, model.SaveLlama2c(_folder), blockTokens);
    }

    [DataTheory(Llama2c, Version1, Gguf, Quantized, Tokenizer, Text)]
    [InlineData(Llama2c, 1.34175)]
    [InlineData(Version1, 1.34175)]
    [InlineData(Gguf, 1.34175)]
    [InlineData(Quantized, 1.34223)]
    public void Stories260KPredictsAsWellAsItIsKnownTo(string path, double nll)
    {
        using ModelFile file = ModelFile.Open(TestData.PathOf(path));
        Llama model = Llama.Load(file);
        (LlamaTokenizer tokenizer, int[][] documents) = Stories(path);
        PerplexityResult result = Perplexity.Measure(model, KvScheme.Reference, _context, documents, tokenizer.BeginToken);
        Assert.Equal(5009, result.Tokens);
        // The figure is known to five digits behind the point.
        Assert.Equal(nll, result.MeanNll, 0.5e-5);
        Assert.Equal(5 * 2 * 4 * 8 * sizeof(float), result.CacheBytesPerToken);
    }

    [Fact]
    public void ObserversSeeEveryInput()
    {
        var model = new TinyLlama(pair => Frequency("plain", pair));
        model.SaveHuggingFace(_folder);
        using ModelFile file = ModelFile.Open(_folder.Path);
        var seen = new Dictionary<string, int>();
        using var session = new LlamaSession(Llama.Load(file), KvScheme.Reference, _context, 16)
        {
            Observer = (name, rows, values) => seen.Add(name, values.Length / rows),
        };
        session.Forward([3, 4, 5], new float[3 * TinyLlama.Vocabulary]);
        Assert.Equal(
            model.Names.Where(name => name.Contains("_proj", StringComparison.Ordinal) || name.Contains("embed", StringComparison.Ordinal)).Order(),
            seen.Keys.Where(name => name.EndsWith(".weight", StringComparison.Ordinal)).Order());
        Assert.All(Enumerable.Range(0, TinyLlama.Layers + 1), layer => Assert.Equal(TinyLlama.Dim, seen[$"residual.{layer}"]));
        Assert.Equal(TinyLlama.HiddenDim, seen["model.layers.1.mlp.down_proj.weight"]);
        Assert.Equal(TinyLlama.Heads * TinyLlama.HeadDim, seen["model.layers.0.self_attn.o_proj.weight"]);
    }

    [Fact]
    public void LinearLayersCanBeReplaced()
    {
        var model = new TinyLlama(pair => Frequency("plain", pair));
        model.SaveHuggingFace(_folder);
        using ModelFile file = ModelFile.Open(_folder.Path);
        var made = new List<string>();
        Llama llama = Llama.Load(file, tensor =>
        {
            made.Add(tensor.Name);
            return new DenseLinear(tensor.Name, (int)tensor.Shape[0], (int)tensor.Shape[1], new float[tensor.ElementCount]);
        });
        Assert.Equal(7 * TinyLlama.Layers, made.Count);
        using var session = new LlamaSession(llama, KvScheme.Reference, _context, 16);
        var logits = new float[TinyLlama.Vocabulary];
        session.Forward([3], logits);
        // Layers of zeros add nothing: what is classified is the embedding.
        float[] residual = new float[TinyLlama.Dim], expected = new float[TinyLlama.Vocabulary];
        llama.Embed([3], residual);
        LlamaMath.RmsNorm(residual, llama.Norm, llama.Config.NormEpsilon, residual);
        llama.Classifier.Multiply(1, residual, expected);
        Assert.Equal(expected, logits);
    }

    [Fact]
    public void ALongDocumentIsCutAtTheContext()
    {
        var model = new TinyLlama(pair => Frequency("plain", pair));
        using ModelFile file = ModelFile.Open(model.SaveLlama2c(_folder));
        Llama llama = Llama.Load(file);
        int[] document = [.. Enumerable.Range(0, 2 * TinyLlama.Context + 5).Select(i => i * i % TinyLlama.Vocabulary)];
        PerplexityResult whole = Perplexity.Measure(llama, KvScheme.Reference, _context, [document], 1);
        int[][] pieces = [.. document.Chunk(TinyLlama.Context)];
        PerplexityResult cut = Perplexity.Measure(llama, KvScheme.Reference, _context, [[], .. pieces], 1);
        Assert.Equal((document.Length, cut.MeanNll), (whole.Tokens, whole.MeanNll));
        PerplexityResult nothing = Perplexity.Measure(llama, KvScheme.Reference, _context, [], 1);
        Assert.Equal((0L, 0.0), (nothing.Tokens, nothing.MeanNll));
    }

    [Fact]
    public void AClearedSessionStartsAfresh()
    {
        var model = new TinyLlama(pair => Frequency("plain", pair));
        model.SaveHuggingFace(_folder);
        using ModelFile file = ModelFile.Open(_folder.Path);
        using var session = new LlamaSession(Llama.Load(file), KvScheme.Reference, _context, 4);
        float[] first = new float[2 * TinyLlama.Vocabulary], second = new float[2 * TinyLlama.Vocabulary];
        session.Forward([3, 4], first);
        session.Forward([5, 6], second);
        Assert.Throws<ArgumentException>("tokens", () => session.Forward([1], new float[TinyLlama.Vocabulary]));
        session.Clear();
        Assert.Equal(0, session.Length);
        session.Forward([3, 4], second);
        Assert.Equal(first, second);
    }

    [Fact]
    public void WrongTokensAreRefused()
    {
        var model = new TinyLlama(pair => Frequency("plain", pair));
        model.SaveHuggingFace(_folder);
        using ModelFile file = ModelFile.Open(_folder.Path);
        using var session = new LlamaSession(Llama.Load(file), KvScheme.Reference, _context, 8, blockTokens: 2);
        var logits = new float[2 * TinyLlama.Vocabulary];
        Assert.Throws<ArgumentException>("tokens", () => session.Forward([], logits));
        Assert.Throws<ArgumentException>("tokens", () => session.Forward([1, 2, 3], logits));
        Assert.Throws<ArgumentOutOfRangeException>("tokens", () => session.Forward([TinyLlama.Vocabulary], logits));
        Assert.Throws<ArgumentOutOfRangeException>("tokens", () => session.Forward([-1], logits));
        Assert.Throws<ArgumentException>("logits", () => session.Forward([1, 2], logits.AsSpan(1)));
        Assert.Equal(0, session.Length);
    }

    [Theory]
    [InlineData("model.norm.weight", "llama", "", "", "'model.norm.weight' is missing")]
    [InlineData("model.layers.1.mlp.up_proj.weight", "llama", "", "", "up_proj.weight' is missing")]
    [InlineData("lm_head.weight", "llama", "", ", \"tie_word_embeddings\": false", "'lm_head.weight' is missing")]
    [InlineData("", "gemma", "", "", "the architecture is gemma")]
    [InlineData("", "llama", "model.layers.0.self_attn.q_proj.bias", "", "is not part of a plain Llama model")]
    [InlineData("", "llama", "", ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}", "scaled by 'yarn'")]
    [InlineData("", "llama", "", ", \"rope_scaling\": {\"type\": \"linear\"}", "scaled by 'linear'")]
    [InlineData("", "llama", "", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0.5}", "a constant out of range")]
    [InlineData("", "llama", "", ", \"head_dim\": 5", "cannot be rotated")]
    [InlineData("", "llama", "", ", \"head_dim\": 16", "and by the model's sizes must be")]
    public void WhatIsNotComputedIsRefused(string without, string architecture, string additional, string config, string reason)
    {
        var model = new TinyLlama(pair => Frequency("plain", pair), config);
        model.SaveHuggingFace(_folder, without, architecture, additional);
        using ModelFile file = ModelFile.Open(_folder.Path);
        ModelFormatException failure = Assert.Throws<ModelFormatException>(() => Llama.Load(file));
        Assert.Contains(reason, failure.Message, StringComparison.Ordinal);
    }

    private static double Frequency(string embedding, int pair)
    {
        double plain = Math.Pow(10000, -2.0 * pair / TinyLlama.HeadDim);
        switch (embedding)
        {
            case "base":
                return Math.Pow(500000, -2.0 * pair / TinyLlama.HeadDim);
            case "linear":
                return plain / 4;
            case "llama3":
                double wavelength = 2 * Math.PI / plain;
                if (wavelength < 128 / 4.0)
                {
                    return plain;
                }

                double smooth = (128 / wavelength - 1) / (4 - 1);
                return wavelength > 128 ? plain / 8 : (1 - smooth) * plain / 8 + smooth * plain;
            default:
                return plain;
        }
    }

    private static (LlamaTokenizer Tokenizer, int[][] Documents) Stories(string path)
    {
        LlamaTokenizer tokenizer;
        if (path == Gguf)
        {
            using GgufFile gguf = GgufFile.Open(TestData.PathOf(path));
            tokenizer = LlamaTokenizer.Of(gguf);
        }
        else
        {
            tokenizer = LlamaTokenizer.Open(TestData.PathOf(Tokenizer));
        }

        string[] stories = File.ReadAllText(TestData.PathOf(Text)).Split("<|endoftext|>", StringSplitOptions.TrimEntries);
        return (tokenizer, [.. stories.Take(15).Select(tokenizer.Encode)]);
    }

    private void AssertForward(TinyLlama expected, string path, int blockTokens)
    {
        using ModelFile file = ModelFile.Open(path);
        Llama model = Llama.Load(file);
        using var session = new LlamaSession(model, KvScheme.Reference, _context, s_tokens.Length, blockTokens);
        double[][] exact = expected.Forward(s_tokens);
        double largest = exact.Max(row => row.Max(Math.Abs));
        // A logit is behind 2 layers of 4 products in a row and the classifier, each a sum of at most 40, and norms
        // and softmax of as many.
        double bound = 2 * (2 * 4 + 1) * 40 * Math.Pow(2, -24) * largest;
        var logits = new float[blockTokens * TinyLlama.Vocabulary];
        for (int at = 0; at < s_tokens.Length; at += blockTokens)
        {
            int rows = Math.Min(blockTokens, s_tokens.Length - at);
            session.Forward(s_tokens.AsSpan(at, rows), logits);
            for (int i = 0; i < rows * TinyLlama.Vocabulary; i++)
            {
                Assert.Equal(exact[at + i / TinyLlama.Vocabulary][i % TinyLlama.Vocabulary], logits[i], bound);
            }
        }
    }
}
