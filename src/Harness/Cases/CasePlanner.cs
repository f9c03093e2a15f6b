namespace Kernels.Harness.Cases;

/// <summary>A case that is to run.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Level">The instruction set level whose context runs it; several levels may have the same variant.</param>
internal sealed record PlannedCase(CaseId Id, Isa Level);

/// <summary>What was asked for on the command line.</summary>
internal sealed record CaseSelection
{
    /// <summary>Instruction set levels; empty for the best of the machine, or what <see cref="Filter"/> names.</summary>
    public IReadOnlyList<Isa> Levels { get; init; } = [];

    /// <summary>Numbers of threads; empty for one and all, and what <see cref="Filter"/> names.</summary>
    public IReadOnlyList<int> Threads { get; init; } = [];

    /// <summary>Which ids; null for all.</summary>
    public CaseGlob? Filter { get; init; }

    /// <summary>Which op; null for all.</summary>
    public string? Op { get; init; }

    /// <summary>Every case rather than the short run.</summary>
    public bool IsFull { get; init; }
}

/// <summary>Turns a catalog and a selection into the list of cases that run.</summary>
/// <param name="levels">The levels of this machine, best first.</param>
/// <param name="processors">Processors of this machine.</param>
/// <param name="variantOf">The variant that runs a case at a level; null when there is none.</param>
internal sealed class CasePlanner(IReadOnlyList<Isa> levels, int processors, Func<CaseSpec, Isa, string?> variantOf)
{
    /// <summary>The cases, in the order of the catalog, each id once.</summary>
    public IReadOnlyList<PlannedCase> Plan(IEnumerable<CatalogEntry> catalog, CaseSelection selection)
    {
        // A filter is a question about everything that there is; without one, the short run answers.
        bool isQuick = !selection.IsFull && selection.Filter is null;
        IReadOnlyList<Isa> asked = LevelsFor(selection);
        IReadOnlyList<int> threads = ThreadsFor(selection);
        var planned = new List<PlannedCase>();
        var seen = new HashSet<string>();
        foreach (CatalogEntry entry in catalog)
        {
            if (selection.Op is { } op && entry.Spec.Op != op || isQuick && entry.QuickThreads == 0)
                continue;
            // In the short run most cases take one thread only, unless threads were asked for.
            IEnumerable<int> counts = isQuick && entry.QuickThreads == 1 && selection.Threads.Count == 0 ? threads.Take(1) : threads;
            foreach (int count in counts)
            {
                foreach (Isa level in asked)
                {
                    if (variantOf(entry.Spec, level) is not { } variant)
                        continue;
                    CaseId id = entry.Spec.ToId(count, variant);
                    string text = id.ToString();
                    if (selection.Filter?.IsMatch(text) != false && seen.Add(text))
                        planned.Add(new PlannedCase(id, level));
                }
            }
        }

        return planned;
    }

    private IReadOnlyList<Isa> LevelsFor(CaseSelection selection)
    {
        if (selection.Levels.Count > 0)
            return selection.Levels;
        bool isNamed = selection.Filter?.NamesVariant(levels.Select(Cpu.NameOf)) == true;
        return isNamed ? levels : [.. levels.Take(1)];
    }

    private IReadOnlyList<int> ThreadsFor(CaseSelection selection) => selection.Threads.Count > 0
        ? selection.Threads
        : [.. new[] { 1, processors }.Concat(selection.Filter?.NamedThreads() ?? []).Distinct().Order()];
}
