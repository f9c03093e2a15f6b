using Kernels.Harness.Results;

namespace Kernels.Harness.Tests.Results;

/// <summary>Results to write, read and compare.</summary>
internal static class Sample
{
    public static RunResult Run(params CaseResult[] cases) => new()
    {
        Run = new RunInfo("bench", new DateTimeOffset(2026, 11, 21, 12, 30, 0, TimeSpan.Zero), "sampler", "synthetic", 1),
        Machine = new MachineInfo("Some CPU", "x64", 2, 48 << 10, 1 << 20, 32 << 20, 8L << 30, "Linux 6.1.0", ["avx2"], "madvise"),
        Build = new BuildInfo("0.1.0", "gcc 12.2 Release x86-64", 1, ".NET 10.0.0"),
        Ceilings =
        [
            new CeilingResult("int8_dot", 1, "avx512vnni", "gops", 468, 460, 470, 5),
            new CeilingResult("int8_dot", 2, "avx512vnni", "gops", 933, 930, 940, 5),
            new CeilingResult("dram_read", 1, "avx512", "gb_per_s", 30, 24, 32, 5),
        ],
        Cases = cases,
    };

    public static CaseResult Gemm(string scheme = "w8-a8", int m = 1, double median = 1000, double share = 0.8, string? layer = null) => new()
    {
        Id = $"gemm/{scheme}/m{m}-n64-k64/t1/avx512vnni",
        Op = "gemm",
        Scheme = scheme,
        Shape = new Dictionary<string, long> { ["m"] = m, ["n"] = 64, ["k"] = 64 },
        Threads = 1,
        Isa = "avx512vnni",
        Layer = layer,
        TimeNs = new CaseTime(median, median * 0.9, median * 1.1, 20, 3),
        Gops = 400,
        GbytesPerS = 4.5,
        Ceiling = new CaseCeiling("int8_dot", 468, "gops", median * share),
        OfCeiling = share,
        Bytes = new CaseBytes(4352, 8192, 128),
        AllocatedBytes = 0,
        KernelError = new KernelError("exact", 64, 64, 0, 1e-8, 0.01),
        QuantizationError = new QuantizationError(35.2, 0.017, 1e-4, 0.9998, 0.1, 0.09),
        Peers = [new PeerResult("OpenBLAS f32 sgemm", "0.3.21 (SkylakeX)", median * 4, 4)],
        BestVariant = new VariantResult("avx512bf16", median, median * 1.25),
        DeviceLoad = new DeviceLoad(1980, 2619, 345.6),
    };
}
