using System.Text;
using Kernels.Harness.Formats;
using Kernels.Harness.Models;
using Kernels.Harness.Tests.Formats;

namespace Kernels.Harness.Tests.Models;

/// <summary>The tokenizer, on small vocabularies and on a real one.</summary>
public sealed class LlamaTokenizerTests : IDisposable
{
    // Scores fall with the token, as in a vocabulary that was trained.
    private static readonly string[] s_pieces =
        ["<unk>", "<s>", "</s>", "<0x0A>", "<0xC3>", "<0xA9>", "ab", "bc", "abc", " a", " ab", " ", "a", "b", "c", "\u00FC"];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("", new int[0])]
    [InlineData("a", new[] { 9 })]
    [InlineData("abc", new[] { 11, 8 })]
    [InlineData("ab", new[] { 10 })]
    [InlineData("b", new[] { 11, 13 })]
    [InlineData("abcabc", new[] { 11, 8, 8 })]
    [InlineData("bab c", new[] { 11, 13, 6, 11, 14 })]
    [InlineData("\u00FC", new[] { 11, 15 })]
    [InlineData("\u00E9\n", new[] { 11, 4, 5, 3 })]
    [InlineData("z", new[] { 11, 0 })]
    [InlineData("<s>", new[] { 11, 0, 0, 0 })]
    public void TheBestNeighboursAreJoinedFirst(string text, int[] tokens)
    {
        string path = _folder.Write("tok.bin", Build(s_pieces));
        var tokenizer = LlamaTokenizer.Open(path);
        Assert.Equal((s_pieces.Length, 1), (tokenizer.VocabularySize, tokenizer.BeginToken));
        Assert.Equal(tokens, tokenizer.Encode(text));
    }

    [Fact]
    public void OfEqualNeighboursTheLeftmostAreJoined()
    {
        var tokenizer = LlamaTokenizer.Open(_folder.Write("tok.bin", Build(["<unk>", "<s>", "</s>", " ", "a", "aa"])));
        Assert.Equal([3, 5, 5, 4], tokenizer.Encode("aaaaa"));
    }

    [Fact]
    public void DamagedFilesAreRefused()
    {
        byte[] good = Build(s_pieces);
        for (int length = 0; length < good.Length; length++)
        {
            string path = _folder.Write("tok.bin", good.AsSpan(0, length));
            try
            {
                // A file that ends between two tokens is a smaller vocabulary.
                Assert.True(LlamaTokenizer.Open(path).VocabularySize < s_pieces.Length);
            }
            catch (ModelFormatException)
            {
            }
        }

        foreach (int at in new[] { 4, 8 })
        {
            byte[] bad = [.. good];
            bad.AsSpan(at, 4).Fill(0xFF);
            string path = _folder.Write("tok.bin", bad);
            Assert.Throws<ModelFormatException>(() => LlamaTokenizer.Open(path));
        }
    }

    [DataTheory("stories260K/tok512.bin", "stories260K/stories260K.gguf")]
    [InlineData("Once upon a time, there was a girl named Lily.", new[] { 403, 407, 261, 378, 432, 383, 286, 261, 298, 315, 421, 395, 317, 426 })]
    [InlineData("caf\u00E9 \u4E2D \U0001F600\n  x", new[] { 280, 412, 431, 485, 410, 231, 187, 176, 410, 243, 162, 155, 131, 13, 410, 410, 444 })]
    [InlineData("a", new[] { 261 })]
    public void ARealVocabularyGivesTheTokensOfLlama2c(string text, int[] tokens)
    {
        Assert.Equal(tokens, LlamaTokenizer.Open(TestData.PathOf("stories260K/tok512.bin")).Encode(text));
        using GgufFile gguf = GgufFile.Open(TestData.PathOf("stories260K/stories260K.gguf"));
        Assert.Equal(tokens, LlamaTokenizer.Of(gguf).Encode(text));
    }

    [Fact]
    public void AGgufFileWithoutOneIsRefused()
    {
        string path = _folder.Write("model.gguf", new GgufBuilder().Build());
        using GgufFile gguf = GgufFile.Open(path);
        Assert.Throws<ModelFormatException>(() => LlamaTokenizer.Of(gguf));
    }

    /// <summary>A tokenizer file whose scores fall with the token.</summary>
    internal static byte[] Build(IReadOnlyList<string> pieces)
    {
        var file = new MemoryStream();
        using var writer = new BinaryWriter(file);
        writer.Write(pieces.Max(piece => piece.Length));
        for (int token = 0; token < pieces.Count; token++)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(pieces[token]);
            writer.Write((float)-token);
            writer.Write(bytes.Length);
            writer.Write(bytes);
        }

        return file.ToArray();
    }
}
