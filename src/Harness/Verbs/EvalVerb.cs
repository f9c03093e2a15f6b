using System.Globalization;
using CommandLine;
using Kernels.Harness.Formats;
using Kernels.Harness.Models;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>Options of <c>eval</c>.</summary>
[Verb("eval", HelpText = "Run a Llama model over a text: perplexity, tokens a second, and bytes of KV cache for each way to keep keys and values.")]
internal sealed class EvalOptions
{
    /// <summary>The model.</summary>
    [Value(0, MetaName = "MODEL", Required = true, HelpText = "A llama2.c checkpoint, a GGUF file, or a folder with safetensors.")]
    public string Model { get; set; } = "";

    /// <summary>The text.</summary>
    [Option("text", MetaValue = "FILE", Required = true, HelpText = "The text to predict, in UTF-8.")]
    public string Text { get; set; } = "";

    /// <summary>The tokenizer.</summary>
    [Option("tokenizer", MetaValue = "FILE", HelpText = "A tokenizer as llama2.c writes it. Default: the one inside a GGUF file, else tokN.bin, N being the size of the vocabulary, or tokenizer.bin beside the model.")]
    public string? Tokenizer { get; set; }

    /// <summary>What separates documents.</summary>
    [Option("separator", MetaValue = "TEXT", Default = "<|endoftext|>", HelpText = "What stands between documents of the text. Each starts afresh, without the white space around it.")]
    public string Separator { get; set; } = "";

    /// <summary>How many documents.</summary>
    [Option("documents", MetaValue = "N", HelpText = "Take the first N documents. Default: all.")]
    public int? Documents { get; set; }

    /// <summary>Ways to keep keys and values.</summary>
    [Option("kv", MetaValue = "LIST", HelpText = "Ways to keep keys and values: reference, or f32, bf16, f8, s8, u4 or s4 with -center, -rotate and -kN behind it. Default: a choice of them.")]
    public string? Kv { get; set; }

    /// <summary>Level.</summary>
    [Option("isa", MetaValue = "NAME", HelpText = "Instruction set. Default: the best of this machine.")]
    public string? Isa { get; set; }

    /// <summary>Threads.</summary>
    [Option("threads", MetaValue = "N", Default = 1, HelpText = "Threads of the kernels.")]
    public int Threads { get; set; }
}

/// <summary>Evaluates a model.</summary>
internal static class EvalVerb
{
    // A text is read as a whole, and its tokens take four bytes each.
    private const long MaxTextBytes = 256L << 20;

    /// <summary>Runs the verb.</summary>
    public static int Run(EvalOptions options, Terminal terminal)
    {
        IReadOnlyList<KvScheme> schemes = SchemesOf(options.Kv);
        IReadOnlyList<Isa> levels = OptionValues.Levels(options.Isa);
        if (levels.Count > 1)
            throw new UsageException("--isa: a model runs on one instruction set at a time.");
        if (options.Threads is < 1 or > 1024)
            throw new UsageException($"--threads: {options.Threads} is not a number from 1 to 1024.");

        using ModelFile file = ModelFile.Open(options.Model);
        LlamaTokenizer tokenizer = TokenizerOf(options, file);
        int[][] documents = DocumentsOf(options, tokenizer);
        Llama model = Llama.Load(file);
        if (tokenizer.VocabularySize != model.Config.VocabularySize)
            throw new UsageException($"the tokenizer has {tokenizer.VocabularySize} tokens, and the model {model.Config.VocabularySize}: they do not belong together.");

        using var context = new KernelContext(new KernelContextOptions { Isa = levels.Count == 0 ? Kernels.Isa.Auto : levels[0], Threads = options.Threads });
        var rows = new List<(KvScheme Scheme, PerplexityResult Result)>();
        foreach (KvScheme scheme in schemes)
            rows.Add((scheme, Perplexity.Measure(model, scheme, context, documents, tokenizer.BeginToken)));
        Write(terminal, model.Config, documents, rows);
        return CommandLine.Ok;
    }

    private static IReadOnlyList<KvScheme> SchemesOf(string? names)
    {
        if (names is null)
            return KvScheme.All;
        return [.. names.Split(',').Select(name => KvScheme.TryParse(name, out KvScheme? scheme)
            ? scheme
            : throw new UsageException($"--kv: '{name}' is no way to keep keys and values; there are {string.Join(", ", KvScheme.All.Select(known => known.Name))}."))];
    }

    private static LlamaTokenizer TokenizerOf(EvalOptions options, ModelFile file)
    {
        if (options.Tokenizer is { } path)
            return LlamaTokenizer.Open(path);
        if (file.Format == ModelFormat.Gguf)
        {
            using GgufFile gguf = GgufFile.Open(file.Path);
            return LlamaTokenizer.Of(gguf);
        }

        string folder = Directory.Exists(file.Path) ? file.Path : Path.GetDirectoryName(Path.GetFullPath(file.Path)) ?? "";
        string[] names = [$"tok{file.Facts.VocabularySize}.bin", "tokenizer.bin"];
        string found = names.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
            ?? throw new UsageException($"the model has no tokenizer, and neither {names[0]} nor {names[1]} lies beside it: name one with --tokenizer.");
        return LlamaTokenizer.Open(found);
    }

    private static int[][] DocumentsOf(EvalOptions options, LlamaTokenizer tokenizer)
    {
        if (options.Documents is <= 0)
            throw new UsageException($"--documents: {options.Documents} is not a number of documents.");
        if (options.Separator.Length == 0)
            throw new UsageException("--separator must not be empty.");
        if (new FileInfo(options.Text) is { Exists: true, Length: > MaxTextBytes })
            throw new UsageException($"--text: '{options.Text}' has more than {MaxTextBytes} bytes.");
        IEnumerable<string> texts = File.ReadAllText(options.Text).Split(options.Separator, StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        int[][] documents = [.. texts.Take(options.Documents ?? int.MaxValue).Select(tokenizer.Encode)];
        return documents.Length > 0 ? documents : throw new UsageException($"--text: '{options.Text}' holds no text.");
    }

    private static void Write(Terminal terminal, LlamaConfig config, int[][] documents, List<(KvScheme Scheme, PerplexityResult Result)> rows)
    {
        terminal.Line($"{config.Layers} layers of width {config.Dim}, {config.Heads} heads, {config.KvHeads} KV heads of {config.HeadDim}; "
            + $"{documents.Length} documents, {rows[0].Result.Tokens} tokens");
        Table table = RunTables.MakeTable("perplexity");
        RunTables.AddColumn(table, "KV", isNumber: false);
        foreach (string header in new[] { "NLL", $"less {rows[0].Scheme.Name}", "perplexity", "tokens/s", "KV bytes/token" })
            RunTables.AddColumn(table, header, isNumber: true);
        foreach ((KvScheme scheme, PerplexityResult result) in rows)
        {
            table.AddRow(new[]
            {
                scheme.Name, Number(result.MeanNll, "F5"), Number(result.MeanNll - rows[0].Result.MeanNll, "+0.00000;-0.00000;0"),
                Number(result.Perplexity, "F4"), Number(result.TokensPerSecond, "F0"), Number(result.CacheBytesPerToken, "0.#"),
            }.Select(text => new Text(Printable.Of(text))));
        }

        terminal.Out.Write(table);

        static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
    }
}
