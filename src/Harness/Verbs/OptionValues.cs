using System.Globalization;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Verbs;

/// <summary>Values of options that several verbs have.</summary>
internal static class OptionValues
{
    private const int MaxThreads = 1024;

    /// <summary>Reads levels such as "avx2,avx512vnni"; none given is an empty list.</summary>
    /// <exception cref="UsageException">A name is not a level, or the machine lacks the level.</exception>
    public static IReadOnlyList<Isa> Levels(string? text)
    {
        if (text is null)
            return [];
        var levels = new List<Isa>();
        foreach (string name in text.Split(','))
        {
            if (!Cpu.TryParseIsa(name, out Isa isa))
            {
                string known = string.Join(", ", Enum.GetValues<Isa>().Select(Cpu.NameOf));
                throw new UsageException($"--isa: '{name}' is not an instruction set; there are {known}.");
            }

            if (isa == Isa.Auto)
                isa = Cpu.BestIsa;
            if (!Cpu.Supports(isa))
                throw new UsageException($"--isa: this machine does not have {name}; its best is {Cpu.NameOf(Cpu.BestIsa)}.");
            if (!levels.Contains(isa))
                levels.Add(isa);
        }

        return levels;
    }

    /// <summary>Reads numbers of threads such as "1,2"; none given is an empty list.</summary>
    /// <exception cref="UsageException">One is not a number from 1 to 1024.</exception>
    public static IReadOnlyList<int> Threads(string? text)
    {
        if (text is null)
            return [];
        var counts = new SortedSet<int>();
        foreach (string word in text.Split(','))
        {
            if (!int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count is < 1 or > MaxThreads)
                throw new UsageException($"--threads: '{word}' is not a number from 1 to {MaxThreads}.");
            counts.Add(count);
        }

        return [.. counts];
    }

    /// <summary>Reads a filter; null when none is given.</summary>
    /// <exception cref="UsageException">It is not a pattern.</exception>
    public static CaseGlob? Filter(string? text)
    {
        try
        {
            return text is null ? null : CaseGlob.Parse(text);
        }
        catch (FormatException exception)
        {
            throw new UsageException($"--filter: {exception.Message}.");
        }
    }

    /// <summary>Checks the name of an op; null when none is given.</summary>
    /// <exception cref="UsageException">There is no such op.</exception>
    public static string? Op(string? text)
    {
        string[] known = [GemmSpec.OpName, QuantizeSpec.OpName, DequantizeSpec.OpName, KvAppendSpec.OpName, AttentionSpec.OpName];
        return text is null || known.Contains(text)
            ? text
            : throw new UsageException($"--op: '{text}' is not an op; there are {string.Join(", ", known)}.");
    }

    /// <summary>Checks early that a file can be written, so that a long run does not end without its result.</summary>
    /// <exception cref="UsageException">Its folder does not exist, or the path is a folder.</exception>
    public static void Writable(string option, string? path)
    {
        if (path is null)
            return;
        string? folder = Path.GetDirectoryName(Path.GetFullPath(path));
        if (path.Length == 0 || Directory.Exists(path) || folder is null)
            throw new UsageException($"{option}: '{path}' is not the name of a file.");
        if (!Directory.Exists(folder))
            throw new UsageException($"{option}: the folder of '{path}' does not exist.");
    }
}
