using Kernels.Harness.Results;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>Holds the error figures of a run against those of a saved one.</summary>
internal static class ErrorBaseline
{
    /// <summary>How much an error may grow. Kernels are deterministic, so on the same variants figures are equal; a variant whose order of
    /// additions changes moves them by chance, in both directions, by a few percent over the outputs of a check.</summary>
    public const double RelativeSlack = 0.10;

    /// <summary>Errors below this are rounding of the figure itself.</summary>
    public const double AbsoluteSlack = 1e-12;

    /// <summary>What became worse, a sentence for each case.</summary>
    public static IReadOnlyList<string> Worse(RunResult baseline, RunResult current)
    {
        Dictionary<string, CaseResult> before = baseline.Cases.GroupBy(c => c.Key).ToDictionary(group => group.Key, group => group.First());
        var worse = new List<string>();
        foreach (CaseResult now in current.Cases)
        {
            if (now.KernelError is not { } error || !before.TryGetValue(now.Key, out CaseResult? then) || then.KernelError is not { } old)
                continue;
            if (error.Mismatches > old.Mismatches)
                worse.Add($"{now.Key}: {error.Mismatches} mismatches, {old.Mismatches} in the baseline");
            else if (IsWorse(old.RelativeFrobenius, error.RelativeFrobenius))
                worse.Add($"{now.Key}: relative error {Figures.Error(error.RelativeFrobenius)}, {Figures.Error(old.RelativeFrobenius)} in the baseline");
            else if (IsWorse(old.MaxOfBound ?? 0, error.MaxOfBound ?? 0))
                worse.Add($"{now.Key}: {Figures.Percent(error.MaxOfBound ?? 0)} of the bound, {Figures.Percent(old.MaxOfBound ?? 0)} in the baseline");
        }

        return worse;
    }

    /// <summary>Cases that both runs have.</summary>
    public static int Common(RunResult baseline, RunResult current)
    {
        HashSet<string> keys = [.. baseline.Cases.Select(c => c.Key)];
        return current.Cases.Count(c => keys.Contains(c.Key));
    }

    private static bool IsWorse(double before, double now) => now > before * (1 + RelativeSlack) + AbsoluteSlack;
}
