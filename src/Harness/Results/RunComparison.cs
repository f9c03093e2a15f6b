using Kernels.Harness.Accuracy.Verification;

namespace Kernels.Harness.Results;

/// <summary>What is compared between two runs.</summary>
internal enum ComparedMetric
{
    /// <summary>Median time of a call.</summary>
    Time,

    /// <summary>Share of the ceiling measured around the case: for two runs between which the machine drifted.</summary>
    Share,
}

/// <summary>What became of a case.</summary>
internal enum Verdict
{
    /// <summary>Within the threshold.</summary>
    Same,

    /// <summary>Faster by more than the threshold.</summary>
    Faster,

    /// <summary>Slower by more than the threshold.</summary>
    Slower,

    /// <summary>The run has no such case any more.</summary>
    Gone,

    /// <summary>The base has no such case.</summary>
    New,
}

/// <summary>A case in two runs.</summary>
/// <param name="Key">The id, and the layer if there is one.</param>
/// <param name="Base">The metric in the base; null for a new case or one without the metric.</param>
/// <param name="Diff">The metric in the run that is compared with it.</param>
/// <param name="Change">Relative change of time: 0.1 is a tenth slower, whatever the metric; null when either side lacks it.</param>
/// <param name="Verdict">What became of it.</param>
internal sealed record ComparedCase(string Key, double? Base, double? Diff, double? Change, Verdict Verdict);

/// <summary>Two runs held against each other, case by case.</summary>
/// <param name="Metric">What was compared.</param>
/// <param name="Threshold">Relative change below which a case counts as the same.</param>
/// <param name="Cases">The cases: those of the base in its order, then the new ones.</param>
/// <param name="WorseErrors">Errors that grew, a sentence each.</param>
internal sealed record RunComparison(
    ComparedMetric Metric, double Threshold, IReadOnlyList<ComparedCase> Cases, IReadOnlyList<string> WorseErrors)
{
    /// <summary>Compares a run with a base.</summary>
    public static RunComparison Of(RunResult @base, RunResult diff, ComparedMetric metric, double threshold)
    {
        Dictionary<string, CaseResult> after = diff.Cases.GroupBy(c => c.Key).ToDictionary(group => group.Key, group => group.First());
        var seen = new HashSet<string>();
        var cases = new List<ComparedCase>();
        foreach (CaseResult before in @base.Cases)
        {
            if (!seen.Add(before.Key))
                continue;
            cases.Add(after.TryGetValue(before.Key, out CaseResult? now)
                ? Compare(before.Key, ValueOf(before, metric), ValueOf(now, metric), metric, threshold)
                : new ComparedCase(before.Key, ValueOf(before, metric), null, null, Verdict.Gone));
        }

        foreach (CaseResult now in diff.Cases)
        {
            if (seen.Add(now.Key))
                cases.Add(new ComparedCase(now.Key, null, ValueOf(now, metric), null, Verdict.New));
        }

        return new RunComparison(metric, threshold, cases, ErrorBaseline.Worse(@base, diff));
    }

    /// <summary>How many cases have a verdict.</summary>
    public int Count(Verdict verdict) => Cases.Count(c => c.Verdict == verdict);

    private static ComparedCase Compare(string key, double? before, double? now, ComparedMetric metric, double threshold)
    {
        if (before is not > 0 || now is not > 0)
            return new ComparedCase(key, before, now, null, Verdict.Same);
        double change = (metric == ComparedMetric.Time ? now.Value / before.Value : before.Value / now.Value) - 1;
        // In both directions by the same factor.
        Verdict verdict = change > threshold ? Verdict.Slower : 1 / (1 + change) - 1 > threshold ? Verdict.Faster : Verdict.Same;
        return new ComparedCase(key, before, now, change, verdict);
    }

    private static double? ValueOf(CaseResult result, ComparedMetric metric) =>
        metric == ComparedMetric.Time ? result.TimeNs?.Median : result.OfCeiling;
}
