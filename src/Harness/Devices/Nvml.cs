using System.Runtime.InteropServices;
using System.Text;
using Kernels.Harness.Results;

namespace Kernels.Harness.Devices;

/// <summary>NVML, the management library that comes with the driver, where it is.</summary>
internal sealed unsafe class Nvml
{
    private const int SmClock = 1;
    private const int MemoryClock = 2;

    private readonly delegate* unmanaged[Cdecl]<void*, int, uint*, int> _clock;
    private readonly delegate* unmanaged[Cdecl]<void*, uint*, int> _power;
    private readonly void* _device;

    private Nvml(nint clock, nint power, void* device)
    {
        _clock = (delegate* unmanaged[Cdecl]<void*, int, uint*, int>)clock;
        _power = (delegate* unmanaged[Cdecl]<void*, uint*, int>)power;
        _device = device;
    }

    /// <summary>Name of its file on this system.</summary>
    public static string File { get; } = OperatingSystem.IsWindows() ? "nvml.dll" : "libnvidia-ml.so.1";

    /// <summary>NVML for a device, which it finds by its place on the bus: it counts devices in another order than the driver. Null where it is not,
    /// or does not know the device.</summary>
    /// <param name="file">Name or path of the library.</param>
    /// <param name="pciBusId">The device's place on the bus.</param>
    public static Nvml? Open(string file, string? pciBusId)
    {
        if (pciBusId is null
            || !NativeLibrary.TryLoad(file, out nint library)
            || !NativeLibrary.TryGetExport(library, "nvmlInit_v2", out nint init)
            || !NativeLibrary.TryGetExport(library, "nvmlDeviceGetHandleByPciBusId_v2", out nint find)
            || !NativeLibrary.TryGetExport(library, "nvmlDeviceGetClockInfo", out nint clock)
            || !NativeLibrary.TryGetExport(library, "nvmlDeviceGetPowerUsage", out nint power)
            || ((delegate* unmanaged[Cdecl]<int>)init)() != 0)
            return null;
        void* device = null;
        fixed (byte* id = Encoding.UTF8.GetBytes(pciBusId + '\0'))
            return ((delegate* unmanaged[Cdecl]<byte*, void**, int>)find)(id, &device) == 0 ? new Nvml(clock, power, device) : null;
    }

    /// <summary>Clocks and power at this moment; null when the device does not tell.</summary>
    public DeviceLoad? Read()
    {
        const double Milli = 1000;
        uint sm, memory, milliwatts;
        return _clock(_device, SmClock, &sm) == 0 && _clock(_device, MemoryClock, &memory) == 0 && _power(_device, &milliwatts) == 0
            ? new DeviceLoad((int)sm, (int)memory, milliwatts / Milli)
            : null;
    }
}
