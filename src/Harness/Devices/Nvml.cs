using System.Runtime.InteropServices;

namespace Kernels.Harness.Devices;

/// <summary>What the device says of itself while it works.</summary>
/// <param name="SmMhz">Clock of the multiprocessors.</param>
/// <param name="MemoryMhz">Clock of the memory.</param>
/// <param name="Watts">Power of the board.</param>
internal sealed record DeviceLoad(int SmMhz, int MemoryMhz, double Watts);

/// <summary>NVML, the management library that comes with the driver, where it is.</summary>
internal sealed unsafe class Nvml
{
    private const int SmClock = 1;
    private const int MemoryClock = 2;

    private readonly delegate* unmanaged[Cdecl]<void*, int, uint*, int> _clock;
    private readonly delegate* unmanaged[Cdecl]<void*, uint*, int> _power;
    private readonly void* _device;

    private Nvml(nint library, void* device)
    {
        _clock = (delegate* unmanaged[Cdecl]<void*, int, uint*, int>)NativeLibrary.GetExport(library, "nvmlDeviceGetClockInfo");
        _power = (delegate* unmanaged[Cdecl]<void*, uint*, int>)NativeLibrary.GetExport(library, "nvmlDeviceGetPowerUsage");
        _device = device;
    }

    /// <summary>NVML for a device; null where it is not, or does not know the device.</summary>
    public static Nvml? Open(int ordinal)
    {
        string name = OperatingSystem.IsWindows() ? "nvml.dll" : "libnvidia-ml.so.1";
        if (!NativeLibrary.TryLoad(name, out nint library)
            || !NativeLibrary.TryGetExport(library, "nvmlInit_v2", out nint init)
            || !NativeLibrary.TryGetExport(library, "nvmlDeviceGetHandleByIndex_v2", out nint find)
            || !NativeLibrary.TryGetExport(library, "nvmlDeviceGetClockInfo", out _)
            || !NativeLibrary.TryGetExport(library, "nvmlDeviceGetPowerUsage", out _))
            return null;
        void* device;
        return ((delegate* unmanaged[Cdecl]<int>)init)() == 0 && ((delegate* unmanaged[Cdecl]<uint, void**, int>)find)((uint)ordinal, &device) == 0
            ? new Nvml(library, device)
            : null;
    }

    /// <summary>Clocks and power at this moment; null when the device does not tell.</summary>
    public DeviceLoad? Read()
    {
        uint sm, memory, milliwatts;
        return _clock(_device, SmClock, &sm) == 0 && _clock(_device, MemoryClock, &memory) == 0 && _power(_device, &milliwatts) == 0
            ? new DeviceLoad((int)sm, (int)memory, milliwatts / 1000.0)
            : null;
    }
}
