namespace Kernels.Harness.Results;

/// <summary>One run of <c>bench</c> or <c>verify</c>: the root of a results file. docs/results-schema.md describes every field;
/// tables, CSV, Markdown and HTML are functions of this and nothing else.</summary>
internal sealed record RunResult
{
    /// <summary>The version of the schema that this program writes.</summary>
    public const int CurrentSchemaVersion = 2;

    /// <summary>The oldest version that this program reads. Version 1 had no null speed-up and fewer fields about peers.</summary>
    public const int OldestSchemaVersion = 1;

    /// <summary>What kind of file this is; always <c>kernels-results</c>.</summary>
    public string Schema { get; init; } = ResultsJson.SchemaName;

    /// <summary>Version of the schema. It changes when a reader of the older version would misread a file.</summary>
    public int SchemaVersion { get; init; } = CurrentSchemaVersion;

    /// <summary>How the run was made.</summary>
    public required RunInfo Run { get; init; }

    /// <summary>The machine, without anything that names it or its user.</summary>
    public required MachineInfo Machine { get; init; }

    /// <summary>Versions of what ran.</summary>
    public required BuildInfo Build { get; init; }

    /// <summary>What the machine could do at most.</summary>
    public IReadOnlyList<CeilingResult> Ceilings { get; init; } = [];

    /// <summary>The cases in the order in which they ran.</summary>
    public IReadOnlyList<CaseResult> Cases { get; init; } = [];
}

/// <summary>How a run was made.</summary>
/// <param name="Verb">The verb, "bench" or "verify".</param>
/// <param name="CreatedUtc">When it started.</param>
/// <param name="Timer">What took the times, "sampler" or "benchmarkdotnet"; null for a run that takes none.</param>
/// <param name="Data">Where weights and activations came from, "synthetic" or the name of a model file without its folder.</param>
/// <param name="Seed">The seed of synthetic data.</param>
/// <param name="Planned">How many cases the run was to have; there are fewer when it was interrupted. Null in older files.</param>
internal sealed record RunInfo(string Verb, DateTimeOffset CreatedUtc, string? Timer, string Data, long Seed, int? Planned = null);

/// <summary>The machine of a run.</summary>
/// <param name="Cpu">Brand string of the processor.</param>
/// <param name="Architecture">Such as "x64".</param>
/// <param name="LogicalProcessors">Processors that the process may use.</param>
/// <param name="L1DataBytes">L1 data cache of a core, 0 if unknown.</param>
/// <param name="L2Bytes">L2 cache of a core, 0 if unknown.</param>
/// <param name="L3Bytes">L3 cache, 0 if unknown.</param>
/// <param name="MemoryBytes">Memory that the process may use.</param>
/// <param name="Os">Operating system and kernel.</param>
/// <param name="Features">Instruction sets that the library detects.</param>
/// <param name="HugePages">State of transparent huge pages, such as "madvise"; null if unknown.</param>
internal sealed record MachineInfo(
    string Cpu, string Architecture, int LogicalProcessors, long L1DataBytes, long L2Bytes, long L3Bytes, long MemoryBytes, string Os,
    IReadOnlyList<string> Features, string? HugePages);

/// <summary>Versions of what ran.</summary>
/// <param name="Version">Version of the native library.</param>
/// <param name="NativeBuild">Its compiler, build type and target.</param>
/// <param name="AbiVersion">Version of its binary interface.</param>
/// <param name="Runtime">The .NET runtime.</param>
internal sealed record BuildInfo(string Version, string NativeBuild, long AbiVersion, string Runtime);

/// <summary>A ceiling over the whole run; a case has the one that was measured around it.</summary>
/// <param name="Name">Such as "int8_dot" or "dram_read".</param>
/// <param name="Threads">Threads that ran it together.</param>
/// <param name="Isa">The instruction sequence.</param>
/// <param name="Unit">"gops" or "gb_per_s" (10^9 operations or bytes a second).</param>
/// <param name="Value">Median of all samples.</param>
/// <param name="Min">Lowest sample.</param>
/// <param name="Max">Highest sample.</param>
/// <param name="Samples">How many samples there were.</param>
internal sealed record CeilingResult(
    string Name, int Threads, string Isa, string Unit, double Value, double Min, double Max, int Samples);

/// <summary>One case.</summary>
internal sealed record CaseResult
{
    /// <summary>op/scheme/shape/tTHREADS/isa; in a run of <c>verify</c> the features that were checked may follow as a sixth part.</summary>
    public required string Id { get; init; }

    /// <summary>First part of the id.</summary>
    public required string Op { get; init; }

    /// <summary>Second part of the id.</summary>
    public required string Scheme { get; init; }

    /// <summary>Sizes by name: m, n, k or rows, n.</summary>
    public required IReadOnlyDictionary<string, long> Shape { get; init; }

    /// <summary>Threads.</summary>
    public required int Threads { get; init; }

    /// <summary>The variant that ran.</summary>
    public required string Isa { get; init; }

    /// <summary>The layer of a model; null for synthetic data. With the id it names the case within a run.</summary>
    public string? Layer { get; init; }

    /// <summary>Time of one call; null in a run that takes no times.</summary>
    public CaseTime? TimeNs { get; init; }

    /// <summary>10^9 operations a second; null for ops that are not counted in operations.</summary>
    public double? Gops { get; init; }

    /// <summary>10^9 bytes a second, counted on the bytes that the call must move.</summary>
    public double? GbytesPerS { get; init; }

    /// <summary>What bounds this case on this machine; null for the reference, which is not made to be fast.</summary>
    public CaseCeiling? Ceiling { get; init; }

    /// <summary>Time at the ceiling over the median time.</summary>
    public double? OfCeiling { get; init; }

    /// <summary>Memory; null in a run that takes no times.</summary>
    public CaseBytes? Bytes { get; init; }

    /// <summary>Bytes that the calling thread allocated on the managed heap per call; anything but 0 is a fault.</summary>
    public long? AllocatedBytes { get; init; }

    /// <summary>Error of the kernel against float64 on the same quantized operands.</summary>
    public KernelError? KernelError { get; init; }

    /// <summary>Error of quantization against the unquantized float64 result.</summary>
    public QuantizationError? QuantizationError { get; init; }

    /// <summary>What is wrong with the case, in a sentence; null when nothing is.</summary>
    public string? Failure { get; init; }

    /// <summary>Other libraries on the same operands, shape and threads.</summary>
    public IReadOnlyList<PeerResult> Peers { get; init; } = [];

    /// <summary>The best variant of the same case in the same run; null for that one, for the reference, and for GEMM, whose weights are packed
    /// for one variant.</summary>
    public VariantResult? BestVariant { get; init; }

    /// <summary>What a CUDA device said of itself while it ran the case; null on the CPU, and where the device does not tell.</summary>
    public DeviceLoad? DeviceLoad { get; init; }

    /// <summary>The fastest peer whose result is right; null when there is none.</summary>
    internal PeerResult? BestPeer => Peers.Where(peer => peer.Speedup is not null).MinBy(peer => peer.Speedup);

    /// <summary>The id and, for a layer of a model, its name: unique within a run.</summary>
    internal string Key => Layer is null ? Id : $"{Id} [{Layer}]";
}

/// <summary>Another variant on the same case. Both times are taken in turns.</summary>
/// <param name="Isa">The other variant.</param>
/// <param name="TimeNs">Its median time of one call.</param>
/// <param name="OwnTimeNs">That of this case's variant.</param>
internal sealed record VariantResult(string Isa, double TimeNs, double OwnTimeNs);

/// <summary>What a device says of itself while it works.</summary>
/// <param name="SmMhz">Clock of the multiprocessors.</param>
/// <param name="MemoryMhz">Clock of the memory.</param>
/// <param name="Watts">Power of the board.</param>
internal sealed record DeviceLoad(int SmMhz, int MemoryMhz, double Watts);

/// <summary>Time of one call in nanoseconds.</summary>
/// <param name="Median">Median of the samples.</param>
/// <param name="Min">Fastest sample.</param>
/// <param name="P95">95th percentile.</param>
/// <param name="Samples">How many samples there were.</param>
/// <param name="CallsPerSample">Calls that a sample averages over.</param>
internal sealed record CaseTime(double Median, double Min, double P95, int Samples, int CallsPerSample);

/// <summary>What bounds a case.</summary>
/// <param name="Name">The ceiling that bounds it, such as "int8_dot" or "dram_read".</param>
/// <param name="Value">Its value around the case, in <paramref name="Unit"/>.</param>
/// <param name="Unit">"gops" or "gb_per_s".</param>
/// <param name="TimeNs">The time that the case would take at its ceiling.</param>
internal sealed record CaseCeiling(string Name, double Value, string Unit, double TimeNs);

/// <summary>Memory of a case in bytes.</summary>
/// <param name="Packed">Weights as the library keeps them: codes, scales, zero points, padding.</param>
/// <param name="F16">The same weights in 16 bits each.</param>
/// <param name="Workspace">Workspace of a call.</param>
internal sealed record CaseBytes(long Packed, long F16, long Workspace);

/// <summary>Error of a kernel against float64 on the same quantized operands.</summary>
/// <param name="Contract">"exact" where every bit is prescribed, "bound" where a bound is derived from the operands.</param>
/// <param name="OutputsChecked">Outputs that were checked; a deterministic sample where checking all would take too long.</param>
/// <param name="OutputsTotal">Outputs that there are.</param>
/// <param name="Mismatches">Outputs that differ from the prescribed bits ("exact") or exceed the bound ("bound").</param>
/// <param name="RelativeFrobenius">Frobenius norm of the error over that of the result.</param>
/// <param name="MaxOfBound">Largest |error| / bound, where the bound is (K + 8) * 2^-24 * sum |x| |w|; null where it is not defined.</param>
internal sealed record KernelError(
    string Contract, long OutputsChecked, long OutputsTotal, long Mismatches, double RelativeFrobenius, double? MaxOfBound);

/// <summary>Error of quantization against the unquantized float64 result.</summary>
/// <param name="SqnrDb">Signal to quantization noise in decibels; null when there is no noise or no signal.</param>
/// <param name="RelativeFrobenius">Frobenius norm of the error over that of the result; null when the result is zero.</param>
/// <param name="Mse">Mean squared error.</param>
/// <param name="Cosine">Cosine of the angle between both results; null when either is zero.</param>
/// <param name="MaxAbs">Largest absolute error.</param>
/// <param name="P999Abs">99.9th percentile of the absolute error.</param>
internal sealed record QuantizationError(
    double? SqnrDb, double? RelativeFrobenius, double Mse, double? Cosine, double MaxAbs, double P999Abs);

/// <summary>A peer on the same operands, shape and threads. Both times are taken in turns.</summary>
/// <param name="Name">The library and the function.</param>
/// <param name="Version">As the library tells it.</param>
/// <param name="TimeNs">Median time of one call.</param>
/// <param name="Speedup">The peer's time over ours: above 1 we are faster; null when its result is wrong.</param>
/// <param name="OwnTimeNs">Median time of our call in the same turns; null in files of version 1, which had none.</param>
/// <param name="IncludesQuantization">Whether its time includes the quantization of the activations; ours does in cells whose call
/// quantizes them.</param>
/// <param name="RelativeError">Frobenius norm of its error over that of the result in float64, on the operands that it was given.</param>
/// <param name="Note">What else is not like our call; null when nothing is.</param>
/// <param name="Failure">What is wrong with its result; null when nothing is.</param>
internal sealed record PeerResult(
    string Name, string Version, double TimeNs, double? Speedup, double? OwnTimeNs = null, bool IncludesQuantization = false,
    double? RelativeError = null, string? Note = null, string? Failure = null);
