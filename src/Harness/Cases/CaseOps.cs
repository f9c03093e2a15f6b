namespace Kernels.Harness.Cases;

/// <summary>The ops that there are cases of.</summary>
internal static class CaseOps
{
    /// <summary>Their names, as case ids begin.</summary>
    public static readonly string[] All =
    [
        GemmSpec.OpName, QuantizeSpec.OpName, DequantizeSpec.OpName, HadamardSpec.OpName, KvAppendSpec.OpName,
    ];

    /// <summary>Their names in a sentence.</summary>
    public static string List => $"{string.Join(", ", All[..^1])} and {All[^1]}";
}
