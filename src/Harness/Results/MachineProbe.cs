using System.Globalization;
using System.Runtime.InteropServices;

namespace Kernels.Harness.Results;

/// <summary>Tells what machine and what build this is. Nothing that names the machine, its user or a path goes in.</summary>
internal static class MachineProbe
{
    private const string CacheFolder = "/sys/devices/system/cpu/cpu0/cache";

    /// <summary>The machine.</summary>
    public static MachineInfo Machine()
    {
        IReadOnlyDictionary<string, long> caches = Caches();
        string cpu = Cpu.Name.Trim();
        return new MachineInfo(
            cpu.Length > 0 ? cpu : "unknown processor", RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant(),
            Environment.ProcessorCount, caches.GetValueOrDefault("L1"), caches.GetValueOrDefault("L2"), caches.GetValueOrDefault("L3"),
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, OsName(), Features(), HugePages());
    }

    /// <summary>The build.</summary>
    public static BuildInfo Build() => new(
        KernelLibrary.Version, KernelLibrary.BuildInfo, KernelLibrary.AbiVersion, RuntimeInformation.FrameworkDescription);

    /// <summary>The L3 cache in bytes; where the system does not tell, 32 MiB, which few machines exceed per core complex.</summary>
    public static long L3BytesOrDefault() => Caches().TryGetValue("L3", out long bytes) && bytes > 0 ? bytes : 32L << 20;

    /// <summary>The words of a set of flags, lower case.</summary>
    private static string[] Features() =>
        [.. Enum.GetValues<CpuFeatures>().Where(f => f != 0 && Cpu.Features.HasFlag(f)).Select(f => f.ToString().ToLowerInvariant())];

    // The kernel's release without the distribution's suffixes, some of which carry the builder's name.
    private static string OsName()
    {
        string system = OperatingSystem.IsLinux() ? "Linux" : OperatingSystem.IsWindows() ? "Windows" : OperatingSystem.IsMacOS() ? "macOS" : "unknown";
        Version version = Environment.OSVersion.Version;
        return string.Create(CultureInfo.InvariantCulture, $"{system} {version.Major}.{version.Minor}.{Math.Max(version.Build, 0)}");
    }

    // The state in brackets of "always [madvise] never".
    private static string? HugePages()
    {
        string? text = ReadLine("/sys/kernel/mm/transparent_hugepage/enabled");
        int open = text?.IndexOf('[', StringComparison.Ordinal) ?? -1;
        int close = text?.IndexOf(']', StringComparison.Ordinal) ?? -1;
        return open >= 0 && close > open ? text![(open + 1)..close] : null;
    }

    private static Dictionary<string, long> Caches()
    {
        var caches = new Dictionary<string, long>();
        for (int index = 0; Directory.Exists($"{CacheFolder}/index{index}"); index++)
        {
            string? level = ReadLine($"{CacheFolder}/index{index}/level");
            string? type = ReadLine($"{CacheFolder}/index{index}/type");
            string? size = ReadLine($"{CacheFolder}/index{index}/size");
            if (type != "Instruction" && size is not null && size.EndsWith('K')
                && long.TryParse(size.AsSpan(0, size.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out long kibibytes))
                caches[$"L{level}"] = kibibytes << 10;
        }

        return caches;
    }

    private static string? ReadLine(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
