using Kernels.Harness.Formats;

namespace Kernels.Harness.Tests.Formats;

public sealed class Llama2cFileTests : IDisposable
{
    private const string Legacy = "stories260K/stories260K.bin";
    private const string Version1 = "stories260K/stories260K-v1.bin";
    private const string Gguf = "stories260K/stories260K.gguf";
    private const string Version2 = "quantized/stories260K-q8_0-gs8.bin";
    private const string Ternary = "bitllama-ternary/bitllama-3.1M.bin";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [DataFact(Legacy, Version1)]
    public void LegacyAndVersion1HoldTheSameBits()
    {
        using Llama2cFile legacy = Llama2cFile.Open(TestData.PathOf(Legacy));
        using Llama2cFile version1 = Llama2cFile.Open(TestData.PathOf(Version1));
        Assert.Equal(new Llama2cHeader(0, 64, 172, 5, 8, 4, 512, 512, true, 0), legacy.Header);
        Assert.Equal(legacy.Header with { Version = 1 }, version1.Header);
        Assert.Equal(5 * 9 + 2, version1.Tensors.Count);
        foreach (ModelTensor tensor in version1.Tensors)
        {
            AssertSame(Find(legacy, tensor.Name), tensor);
        }
    }

    [DataFact(Legacy, Gguf)]
    public void GgufHoldsTheSameBits()
    {
        using Llama2cFile legacy = Llama2cFile.Open(TestData.PathOf(Legacy));
        using GgufFile gguf = GgufFile.Open(TestData.PathOf(Gguf));
        Assert.Equal(48, gguf.Tensors.Count);
        foreach (ModelTensor tensor in gguf.Tensors)
        {
            AssertSame(Find(legacy, NameInLlama2c(tensor.Name)), tensor);
        }
    }

    /// <summary>
    /// Group quantization errs by half a step of its group at most: this shows that scales and codes belong together.
    /// </summary>
    [DataFact(Version1, Version2)]
    public void Version2IsNearVersion1()
    {
        using Llama2cFile exact = Llama2cFile.Open(TestData.PathOf(Version1));
        using Llama2cFile quantized = Llama2cFile.Open(TestData.PathOf(Version2));
        Assert.Equal(exact.Header with { Version = 2, GroupSize = 8 }, quantized.Header);
        Assert.Equal(exact.Tensors.Select(tensor => tensor.Name), quantized.Tensors.Select(tensor => tensor.Name));
        foreach (ModelTensor tensor in quantized.Tensors)
        {
            float[] expected = Find(exact, tensor.Name).ReadFloats();
            float[] values = tensor.ReadFloats();
            for (int group = 0; group < values.Length; group += 8)
            {
                float largest = expected.AsSpan(group, 8).ToArray().Max(Math.Abs);
                for (int i = group; i < group + 8; i++)
                {
                    Assert.Equal(expected[i], values[i], largest / 127 * 0.501f);
                }
            }
        }
    }

    [DataFact(Ternary)]
    public void AnotherProgramsVariantOfVersion1IsRefused()
    {
        var refusal = Assert.Throws<ModelFormatException>(() => Llama2cFile.Open(TestData.PathOf(Ternary)));
        Assert.Contains("the file has 1312224", refusal.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(1, false)]
    public void FloatTensorsLieWhereTheFormatPutsThem(int version, bool shared)
    {
        var builder = new Llama2cBuilder { Version = version, SharedClassifier = shared };
        using Llama2cFile file = Llama2cFile.Open(_folder.Write("model.bin", builder.Build()));
        Assert.Equal(shared, file.Header.SharedClassifier);
        Assert.Equal(10, file.Header.VocabularySize);

        // Dim 8, hidden 12, two layers, KV width 4, vocabulary 10; the n-th float of the file is n.
        Dictionary<string, int> first = version == 0
            ? new()
            {
                ["tok_embeddings.weight"] = 0,
                ["layers.1.attention_norm.weight"] = 88,
                ["layers.0.attention.wq.weight"] = 96,
                ["layers.1.attention.wk.weight"] = 256,
                ["layers.0.attention.wo.weight"] = 352,
                ["layers.0.ffn_norm.weight"] = 480,
                ["layers.1.feed_forward.w3.weight"] = 976,
                ["norm.weight"] = 1072,
                ["freqs_cos"] = 1080,
                ["freqs_sin"] = 1086,
                ["output.weight"] = 1092,
            }
            : new()
            {
                ["layers.0.attention_norm.weight"] = 0,
                ["layers.1.ffn_norm.weight"] = 24,
                ["norm.weight"] = 32,
                ["tok_embeddings.weight"] = 40,
                ["layers.0.attention.wq.weight"] = 120,
                ["layers.1.attention.wv.weight"] = 344,
                ["layers.1.feed_forward.w2.weight"] = 792,
                ["layers.1.feed_forward.w3.weight"] = 984,
                ["output.weight"] = 1080,
            };
        Assert.Equal(!shared, file.TryFind("output.weight", out _));
        foreach ((string name, int start) in first.Where(pair => file.TryFind(pair.Key, out _)))
        {
            float[] values = Find(file, name).ReadFloats();
            Assert.Equal(Enumerable.Range(start, values.Length).Select(value => (float)value), values);
        }
    }

    [Fact]
    public void PartsOfAGroupScaledTensorReadLikeTheWhole()
    {
        var builder = new Llama2cBuilder { Version = 2, SharedClassifier = false };
        using Llama2cFile file = Llama2cFile.Open(_folder.Write("model.bin", builder.Build()));
        ModelTensor tensor = Find(file, "output.weight");
        Assert.Equal("Q8_0-GS4", tensor.Type.Name);
        float[] whole = tensor.ReadFloats();
        Assert.Equal(Enumerable.Range(0, 80).Select(i => (i - 127) * (0.5f + i / 4)), whole);
        for (int first = 0; first <= whole.Length; first++)
        {
            for (int count = 0; count <= whole.Length - first; count++)
            {
                float[] part = new float[count];
                tensor.ReadFloats(first, part);
                Assert.Equal(whole.AsSpan(first, count).ToArray(), part);
            }
        }
    }

    public static TheoryData<string, byte[]> BadFiles()
    {
        var legacy = new Llama2cBuilder();
        return new TheoryData<string, byte[]>
        {
            { "file ends at byte 20", legacy.Build()[..20] },
            { "ends too early", legacy.Build()[..^1] },
            { "goes on after its last tensor", (legacy with { Surplus = 1 }).Build() },
            { "ends too early", (legacy with { Version = 1, Surplus = -1 }).Build() },
            { "goes on after its last tensor", (legacy with { Version = 2, Surplus = 3 }).Build() },
            { "version 3", (legacy with { Version = 3 }).Build() },
            { "the dim", (legacy with { Version = 1 }).Build().Patch(8, 0) },
            { "KV head count", legacy.Build().Patch(16, -2) },
            { "vocabulary size", legacy.Build().Patch(20, int.MinValue) },
            { "vocabulary size", (legacy with { Version = 1 }).Build().Patch(28, -10) },
            { "cannot be shared", legacy.Build().Patch(12, 3) },
            { "cannot be shared", legacy.Build().Patch(16, 3) },
            { "at most 65536", legacy.Build().Patch(8, int.MaxValue) },
            { "ends too early", legacy.Build().Patch(0, int.MaxValue).Patch(4, int.MaxValue).Patch(12, 1).Patch(16, 1) },
            { "flag of the shared classifier is 2", (legacy with { Version = 1 }).Build().Patch(36, 2) },
            { "the group size is 0", (legacy with { Version = 2, SharedClassifier = true }).Build().Patch(37, 0) },
            { "do not divide", (legacy with { Version = 2 }).Build().Patch(37, 7) },
        };
    }

    [Theory]
    [MemberData(nameof(BadFiles))]
    public void BadFileIsRefusedWithAReason(string reason, byte[] content)
    {
        string path = _folder.Write("bad.bin", content);
        var refusal = Assert.Throws<ModelFormatException>(() => Llama2cFile.Open(path));
        Assert.Contains(reason, refusal.Reason, StringComparison.Ordinal);
        Assert.InRange(refusal.Offset, 0, content.Length);
    }

    private static string NameInLlama2c(string name) => name
        .Replace("blk.", "layers.", StringComparison.Ordinal)
        .Replace("attn_output", "attention.wo", StringComparison.Ordinal)
        .Replace("attn_norm", "attention_norm", StringComparison.Ordinal)
        .Replace("attn_", "attention.w", StringComparison.Ordinal)
        .Replace("ffn_gate", "feed_forward.w1", StringComparison.Ordinal)
        .Replace("ffn_down", "feed_forward.w2", StringComparison.Ordinal)
        .Replace("ffn_up", "feed_forward.w3", StringComparison.Ordinal)
        .Replace("token_embd", "tok_embeddings", StringComparison.Ordinal)
        .Replace("output_norm", "norm", StringComparison.Ordinal)

        // The checkpoint shares the classifier; the conversion to GGUF has written the embedding twice.
        .Replace("output.weight", "tok_embeddings.weight", StringComparison.Ordinal);

    private static ModelTensor Find(TensorContainer file, string name)
    {
        Assert.True(file.TryFind(name, out ModelTensor? tensor), name);
        return tensor;
    }

    private static void AssertSame(ModelTensor expected, ModelTensor actual)
    {
        Assert.Equal(expected.Shape, actual.Shape);
        byte[] expectedBytes = new byte[expected.ByteCount];
        expected.ReadBytes(0, expectedBytes);
        byte[] actualBytes = new byte[actual.ByteCount];
        actual.ReadBytes(0, actualBytes);
        Assert.True(expectedBytes.AsSpan().SequenceEqual(actualBytes), actual.Name);
        Assert.Equal(expected.ReadFloats(), actual.ReadFloats());
    }
}

internal static class BytePatch
{
    /// <summary>Overwrites four bytes.</summary>
    public static byte[] Patch(this byte[] content, int offset, int value)
    {
        BitConverter.TryWriteBytes(content.AsSpan(offset), value);
        return content;
    }
}
