using Kernels.Harness.Cases;
using Kernels.Harness.Models;

namespace Kernels.Harness.Benchmarks;

/// <summary>What a run of <c>bench</c> is going to do.</summary>
internal sealed record BenchPlan
{
    private const int MaxActivationElements = 1 << 30;

    /// <summary>Layers with their GEMM cases.</summary>
    public required IReadOnlyList<LayerPlan> Layers { get; init; }

    /// <summary>Cases that need no layer.</summary>
    public required IReadOnlyList<(int Place, PlannedCase Case)> Others { get; init; }

    /// <summary>Layers that cannot run, each with the reason.</summary>
    public IReadOnlyList<string> Skipped { get; init; } = [];

    /// <summary>What results say about the data: "synthetic", or the model's file name.</summary>
    public required string DataName { get; init; }

    /// <summary>Whether the layers are those of a model.</summary>
    public bool IsModel { get; init; }

    /// <summary>How many cases there are.</summary>
    public int CaseCount => Layers.Sum(layer => layer.Cases.Count) + Others.Count;

    /// <summary>The ids, each once, in the order of the results.</summary>
    public IEnumerable<string> Ids => All.OrderBy(c => c.Place).Select(c => c.Case.Id.ToString()).Distinct();

    /// <summary>The levels and numbers of threads that occur.</summary>
    public IEnumerable<(Isa Level, int Threads)> LevelsAndThreads =>
        All.Select(c => (c.Case.Level, c.Case.Id.Threads)).Distinct().OrderBy(pair => pair.Threads).ThenByDescending(pair => pair.Level);

    private IEnumerable<(int Place, PlannedCase Case)> All => Layers.SelectMany(layer => layer.Cases).Concat(Others);

    /// <summary>The catalog's cases on synthetic data.</summary>
    public static BenchPlan OfCatalog(CasePlanner planner, CaseSelection selection, long seed)
    {
        IReadOnlyList<PlannedCase> planned = planner.Plan(CaseCatalog.Entries(), selection);
        var placed = planned.Select((planned, place) => (Place: place, Case: planned)).ToList();
        return new BenchPlan
        {
            DataName = "synthetic",
            Layers =
            [
                .. placed.Where(c => c.Case.Id.Spec is GemmSpec).GroupBy(c => ((GemmSpec)c.Case.Id.Spec) is var spec ? (spec.N, spec.K) : default)
                    .Select(group => new LayerPlan(
                        group.Key.N, group.Key.K, rows => LayerData.Synthetic(group.Key.N, group.Key.K, rows, seed), [.. group])),
            ],
            Others = [.. placed.Where(c => c.Case.Id.Spec is not GemmSpec)],
        };
    }

    /// <summary>Every linear layer of a model.</summary>
    public static BenchPlan OfModel(CasePlanner planner, CaseSelection selection, ModelFile model, long seed)
    {
        var layers = new List<LayerPlan>();
        var skipped = new List<string>();
        int place = 0;
        foreach (LinearLayer layer in model.LinearLayers)
        {
            if (WhyNot(layer) is { } reason)
            {
                skipped.Add($"{layer.Name}: {reason}");
                continue;
            }

            IReadOnlyList<PlannedCase> planned = planner.Plan(CaseCatalog.ForLayer(layer.N, layer.K), selection);
            layers.Add(new LayerPlan(layer.N, layer.K, rows => Load(layer, rows, seed), [.. planned.Select(c => (place++, c))]));
        }

        string fileName = Path.GetFileName(Path.TrimEndingDirectorySeparator(model.Path));
        return new BenchPlan { DataName = fileName, IsModel = true, Layers = layers, Others = [], Skipped = skipped };
    }

    private static LayerData Load(LinearLayer layer, long rows, long seed) =>
        new(layer.Name, layer.N, layer.K, layer.Load(), LayerData.MakeActivations(rows, layer.K, seed));

    private static string? WhyNot(LinearLayer layer)
    {
        if (!layer.CanLoad)
            return $"its type {layer.Type} cannot be read as floats";
        if (layer.N == 0 || layer.K == 0)
            return "it is empty";
        if ((Int128)layer.N * layer.K > Array.MaxLength || layer.K > MaxActivationElements / CaseCatalog.BatchSizes.Max())
            return $"its {layer.N} x {layer.K} weights are more than this program takes at once";
        return null;
    }
}
