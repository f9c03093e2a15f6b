using Kernels.Harness.Models;
using Kernels.Harness.Tests.Models;

namespace Kernels.Harness.Tests.Verbs;

/// <summary>The verb <c>eval</c> from its arguments to its exit code.</summary>
public sealed class EvalTests : IDisposable
{
    private static readonly string[] s_pieces = ["<unk>", "<s>", "</s>", " ", "a", "b", "c", "ab", " a", "<0x0A>", "d"];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void EveryWayToKeepKeysAndValuesHasARow()
    {
        (string model, string text) = Prepare();
        (int code, string output, string error) = Run("eval", model, "--text", text);
        Assert.Equal((0, ""), (code, error));
        // " ab" is two tokens, "cab" three with its space, "d" two; documents of nothing are none.
        Assert.Contains("3 documents, 7 tokens", output, StringComparison.Ordinal);
        Assert.All(
            KvScheme.All,
            scheme => Assert.Contains(output.Split('\n'), line => line.StartsWith($" {scheme.Name} ", StringComparison.Ordinal)));
        Assert.DoesNotContain("NaN", output, StringComparison.Ordinal);
        (code, output, error) = Run("eval", model, "--text", text, "--kv", "reference,s8-k16", "--documents", "1", "--isa", "ref", "--threads", "2");
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("1 documents, 2 tokens", output, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatCannotBeDoneIsExitCode2AndASentence()
    {
        (string model, string text) = Prepare();
        AssertRefused("an argument is missing", "eval", "--text", text);
        AssertRefused("text", "eval", model);
        AssertRefused("--kv: 'f33'", "eval", model, "--text", text, "--kv", "f32,f33");
        AssertRefused("--documents: 0", "eval", model, "--text", text, "--documents", "0");
        AssertRefused("--threads: 0", "eval", model, "--text", text, "--threads", "0");
        AssertRefused("--isa: 'sse'", "eval", model, "--text", text, "--isa", "sse");
        AssertRefused("holds no text", "eval", model, "--text", _folder.Write("empty.txt", "  \n"u8));
        AssertRefused("nowhere", "eval", model, "--text", _folder.PathOf("nowhere.txt"));
        AssertRefused("nowhere", "eval", _folder.PathOf("nowhere.bin"), "--text", text);
        string other = _folder.Write("other.bin", LlamaTokenizerTests.Build([.. s_pieces, "e"]));
        AssertRefused("do not belong together", "eval", model, "--text", text, "--tokenizer", other);
        File.Delete(_folder.PathOf("tok11.bin"));
        AssertRefused("name one with --tokenizer", "eval", model, "--text", text);
    }

    private (string Model, string Text) Prepare()
    {
        var model = new TinyLlama(pair => Math.Pow(10000, -2.0 * pair / TinyLlama.HeadDim));
        _folder.Write("tok11.bin", LlamaTokenizerTests.Build(s_pieces));
        return (model.SaveLlama2c(_folder), _folder.Write("text.txt", "\nab<|endoftext|>cab\n<|endoftext|>\n\n<|endoftext|>d"u8));
    }

    private static void AssertRefused(string reason, params string[] args)
    {
        (int code, string output, string error) = Run(args);
        Assert.Equal((2, ""), (code, output));
        Assert.Contains(reason, error, StringComparison.Ordinal);
        Assert.StartsWith("kernels: ", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
    }

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = Kernels.Harness.Verbs.CommandLine.Run(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
