using Kernels.Harness.Results;

namespace Kernels.Harness.Benchmarks;

/// <summary>Collects samples of ceilings over a run: all of them for the summary, and those around a case for its share.</summary>
internal sealed class CeilingMeter(ICeilingProbe probe)
{
    private readonly Dictionary<CeilingKey, List<double>> _samples = [];

    /// <summary>A ceiling as one level of instruction set and number of threads has it.</summary>
    internal readonly record struct CeilingKey(Ceiling Ceiling, string Variant, Isa Isa, int Threads);

    /// <summary>The key of a ceiling; null when the level has no such instruction.</summary>
    public CeilingKey? KeyOf(Ceiling ceiling, Isa isa, int threads) =>
        probe.VariantOf(ceiling, isa) is { } variant ? new CeilingKey(ceiling, variant, isa, threads) : null;

    /// <summary>Takes samples and keeps them.</summary>
    public void Sample(CeilingKey key, int count = 1)
    {
        if (!_samples.TryGetValue(key, out List<double>? samples))
            _samples[key] = samples = [];
        samples.AddRange(probe.Sample(key.Ceiling, key.Isa, key.Threads, count));
    }

    /// <summary>A mark from which <see cref="Since"/> counts.</summary>
    public int Mark(CeilingKey key) => _samples.TryGetValue(key, out List<double>? samples) ? samples.Count : 0;

    /// <summary>The median of the samples since a mark: a median like the case's own, so that noise that meets both is not
    /// counted against either.</summary>
    public double Since(CeilingKey key, int mark)
    {
        if (Mark(key) <= mark)
            throw new InvalidOperationException($"There is no sample of {key} since the mark.");
        return Statistics.Median([.. _samples[key].Skip(mark)]);
    }

    /// <summary>Every ceiling that was sampled, over the whole run.</summary>
    public IReadOnlyList<CeilingResult> Results() =>
    [
        .. _samples
            .GroupBy(pair => (pair.Key.Ceiling, pair.Key.Variant, pair.Key.Threads))
            .OrderBy(group => group.Key.Threads)
            .ThenBy(group => CeilingNames.All.IndexOf(group.Key.Ceiling))
            .ThenBy(group => group.Key.Variant, StringComparer.Ordinal)
            .Select(group =>
            {
                double[] values = [.. group.SelectMany(pair => pair.Value)];
                return new CeilingResult(
                    CeilingNames.NameOf(group.Key.Ceiling), group.Key.Threads, group.Key.Variant, CeilingNames.UnitOf(group.Key.Ceiling),
                    Statistics.Median(values), values.Min(), values.Max(), values.Length);
            }),
    ];
}
