using System.Globalization;

namespace Kernels.Harness.Results;

/// <summary>A column of the table of cases: the one list from which console, CSV and Markdown are made.</summary>
/// <param name="Name">Name in CSV.</param>
/// <param name="Header">Header for people, unit included.</param>
/// <param name="IsNumber">Whether it is set to the right.</param>
/// <param name="Exact">The value in full, for CSV.</param>
/// <param name="Shown">The value to three digits or so, for people.</param>
internal sealed record CaseColumn(
    string Name, string Header, bool IsNumber, Func<CaseResult, string> Exact, Func<CaseResult, string> Shown);

/// <summary>The columns of the table of cases.</summary>
internal static class CaseTable
{
    /// <summary>Every column, for CSV.</summary>
    public static IReadOnlyList<CaseColumn> All { get; } =
    [
        Text("id", "case", c => c.Id),
        Text("layer", "layer", c => c.Layer ?? "", c => ShortName(c.Layer ?? ""), isNumber: false),
        Text("op", "op", c => c.Op),
        Text("scheme", "scheme", c => c.Scheme),
        Text("shape", "shape", ShapeOf),
        Text("threads", "T", c => c.Threads.ToString(CultureInfo.InvariantCulture), isNumber: true),
        Text("isa", "isa", c => c.Isa),
        Number("time_median_ns", "time", c => c.TimeNs?.Median, Figures.Time),
        Number("time_min_ns", "min", c => c.TimeNs?.Min, Figures.Time),
        Number("time_p95_ns", "p95", c => c.TimeNs?.P95, Figures.Time),
        Number("gops", "GOPS", c => c.Gops, Figures.Rate),
        Number("gbytes_per_s", "GB/s", c => c.GbytesPerS, Figures.Rate),
        Text("ceiling", "bound by", c => c.Ceiling?.Name ?? ""),
        Number("ceiling_value", "ceiling", c => c.Ceiling?.Value, Figures.Rate),
        Number("of_ceiling", "of ceiling", c => c.OfCeiling, Figures.Percent),
        Number("packed_bytes", "packed", c => c.Bytes?.Packed, Figures.Bytes),
        Number("f16_bytes", "f16", c => c.Bytes?.F16, Figures.Bytes),
        Number("workspace_bytes", "workspace", c => c.Bytes?.Workspace, Figures.Bytes),
        Number("packed_of_f16", "of f16", PackedOfF16, Figures.Percent),
        Number("allocated_bytes", "allocated", c => c.AllocatedBytes, Figures.Bytes),
        Text("kernel_contract", "contract", c => c.KernelError?.Contract ?? ""),
        Number("kernel_mismatches", "mismatches", c => c.KernelError?.Mismatches, Figures.Count),
        Number("kernel_relative_frobenius", "kernel rel. error", c => c.KernelError?.RelativeFrobenius, Figures.Error),
        Number("kernel_max_of_bound", "of bound", c => c.KernelError?.MaxOfBound, Figures.Percent),
        Text("kernel_error", "kernel error", c => "", KernelErrorOf, isNumber: true),
        Number("sqnr_db", "SQNR dB", c => c.QuantizationError?.SqnrDb, Figures.Decibels),
        Number("quantization_relative_frobenius", "quant. rel. error", c => c.QuantizationError?.RelativeFrobenius, Figures.Error),
        Number("quantization_mse", "MSE", c => c.QuantizationError?.Mse, Figures.Error),
        Number("quantization_cosine", "cosine", c => c.QuantizationError?.Cosine, Figures.Cosine),
        Number("quantization_max_abs", "max abs", c => c.QuantizationError?.MaxAbs, Figures.Error),
        Number("quantization_p999_abs", "p99.9 abs", c => c.QuantizationError?.P999Abs, Figures.Error),
        Text("peer", "peer", c => c.BestPeer is { } peer ? $"{peer.Name} {peer.Version}" : ""),
        Number("peer_time_ns", "peer time", c => c.BestPeer?.TimeNs, Figures.Time),
        Number("peer_speedup", "vs peer", c => c.BestPeer?.Speedup, Figures.Factor),
        Text("best_variant", "best variant", c => c.BestVariant?.Isa ?? ""),
        Number("of_best_variant", "of best time", c => c.BestVariant is { TimeNs: > 0 } best ? best.OwnTimeNs / best.TimeNs : null, Figures.Factor),
        Number("tokens_per_s", "tokens/s", TokensPerSecond, Figures.Count),
        Number("cache_bytes", "cache", c => c.Op == "attention" ? c.Bytes?.Packed : null, Figures.Bytes),
    ];

    /// <summary>The columns of CSV: what holds a value of its own.</summary>
    public static IReadOnlyList<CaseColumn> Csv { get; } = [.. All.Where(column => column.Name is not ("kernel_error" or "cache_bytes"))];

    /// <summary>The columns for people: what fits 120 characters.</summary>
    public static IReadOnlyList<CaseColumn> Summary(bool hasLayers) => Pick(
        hasLayers
            ? ["layer", "shape", "time_median_ns", "gops", "of_ceiling", "packed_of_f16", "peer_speedup", "kernel_error", "sqnr_db"]
            : ["shape", "threads", "time_median_ns", "tokens_per_s", "cache_bytes", "gops", "gbytes_per_s", "of_ceiling", "ceiling", "packed_of_f16", "of_best_variant", "peer_speedup",
                "kernel_error", "sqnr_db"]);

    /// <summary>The shape as ids write it.</summary>
    public static string ShapeOf(CaseResult result)
    {
        string[] parts = result.Id.Split('/');
        return parts.Length > 2 ? parts[2] : "";
    }

    /// <summary>The kernel error in a word: exact, the share of the bound, or WRONG.</summary>
    public static string KernelErrorOf(CaseResult result) => result.KernelError switch
    {
        null => "",
        { Mismatches: > 0 } error => $"WRONG ({error.Mismatches})",
        { Contract: "exact" } => "exact",
        { MaxOfBound: { } share } => Figures.SmallPercent(share) + " of bound",
        { } error => Figures.Error(error.RelativeFrobenius),
    };

    // What the names of all layers have in common says nothing in a table.
    private static string ShortName(string layer)
    {
        const string Prefix = "model.", Suffix = ".weight";
        string name = layer.EndsWith(Suffix, StringComparison.Ordinal) ? layer[..^Suffix.Length] : layer;
        return name.StartsWith(Prefix, StringComparison.Ordinal) ? name[Prefix.Length..] : name;
    }

    // Of attention: the query tokens of a call.
    private static double? TokensPerSecond(CaseResult result) =>
        result is { Op: "attention", TimeNs.Median: > 0 and var time } && result.Shape is { } shape && shape.TryGetValue("q", out long tokens)
            ? tokens / time * 1e9 : null;

    private static double? PackedOfF16(CaseResult result) =>
        result.Bytes is { F16: > 0 } bytes ? (double)bytes.Packed / bytes.F16 : null;

    private static CaseColumn[] Pick(string[] names) => [.. names.Select(name => All.First(column => column.Name == name))];

    private static CaseColumn Text(string name, string header, Func<CaseResult, string> value, bool isNumber = false) =>
        new(name, header, isNumber, value, value);

    private static CaseColumn Text(
        string name, string header, Func<CaseResult, string> exact, Func<CaseResult, string> shown, bool isNumber) =>
        new(name, header, isNumber, exact, shown);

    private static CaseColumn Number(string name, string header, Func<CaseResult, double?> value, Func<double, string> show) => new(
        name, header, IsNumber: true, c => value(c)?.ToString("R", CultureInfo.InvariantCulture) ?? "",
        c => value(c) is { } number ? show(number) : "");
}
