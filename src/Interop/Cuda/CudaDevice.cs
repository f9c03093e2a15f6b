using System.Diagnostics.CodeAnalysis;
using Kernels.Native;

namespace Kernels;

/// <summary>A CUDA device of this machine, or the emulator that runs the same kernels on the CPU.</summary>
public sealed unsafe class CudaDevice
{
    private const int NameBytes = 256;

    private readonly krn_cuda_backend* _backend;

    private CudaDevice(krn_cuda_backend* backend, int ordinal, string name)
    {
        _backend = backend;
        Ordinal = ordinal;
        Name = name;
    }

    /// <summary>Whether this machine has a CUDA device that can be asked. Never throws; <see cref="UnavailableReason"/> says why not.</summary>
    public static bool IsAvailable => Count > 0;

    /// <summary>The number of CUDA devices; 0 without a driver. Never throws.</summary>
    public static int Count => Probe(out _);

    /// <summary>One sentence why there is no CUDA device; null if there is one. Never throws.</summary>
    public static string? UnavailableReason
    {
        get
        {
            int count = Probe(out string? reason);
            return count > 0 ? null : reason ?? "The CUDA driver has no device.";
        }
    }

    /// <summary>The emulator, or null where the library kernels_cuda_emulator does not lie beside the others. It needs no driver, checks
    /// every access of a kernel, and is many times slower than a device: it is for tests.</summary>
    public static CudaDevice? Emulator => CudaLibrary.Emulator() is var backend && backend is not null ? new CudaDevice(backend, 0, "emulator") : null;

    /// <summary>The number of the device, as the driver counts.</summary>
    public int Ordinal { get; }

    /// <summary>Name of the device, such as "NVIDIA H200".</summary>
    public string Name { get; }

    /// <summary>Where the device is on the PCI bus, such as "0000:1B:00.0", by which other libraries find it; null for the emulator.</summary>
    public string? PciBusId
    {
        get
        {
            if (IsEmulator)
                return null;
            int device;
            sbyte* id = stackalloc sbyte[NameBytes];
            CudaDriver.ThrowIfFailed(CudaDriver.cuDeviceGet(&device, Ordinal), nameof(CudaDriver.cuDeviceGet));
            CudaDriver.ThrowIfFailed(CudaDriver.cuDeviceGetPCIBusId(id, NameBytes, device), nameof(CudaDriver.cuDeviceGetPCIBusId));
            return NativeText.Required(id);
        }
    }

    /// <summary>Whether this is the emulator.</summary>
    public bool IsEmulator => _backend is not null;

    internal krn_cuda_backend* Backend => _backend;

    /// <summary>A device of the driver.</summary>
    /// <param name="ordinal">Its number, from 0 up to <see cref="Count"/>.</param>
    /// <returns>The device.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no device of that number.</exception>
    public static CudaDevice Get(int ordinal)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(ordinal);
        int count = Probe(out string? reason);
        if (ordinal >= count)
        {
            throw new ArgumentOutOfRangeException(
                nameof(ordinal), ordinal, reason ?? $"This machine has {count} CUDA devices, numbered from 0.");
        }

        int device;
        sbyte* name = stackalloc sbyte[NameBytes];
        CudaDriver.ThrowIfFailed(CudaDriver.cuDeviceGet(&device, ordinal), nameof(CudaDriver.cuDeviceGet));
        CudaDriver.ThrowIfFailed(CudaDriver.cuDeviceGetName(name, NameBytes, device), nameof(CudaDriver.cuDeviceGetName));
        return new CudaDevice(null, ordinal, NativeText.Required(name));
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    [SuppressMessage("Design", "CA1031", Justification = "To ask whether there is a device must never throw.")]
    private static int Probe(out string? reason)
    {
        reason = null;
        try
        {
            int count = 0;
            int status = NativeMethods.krn_cuda_device_count(null, &count);
            if (status == 0)
                return count;
            reason = NativeText.Required(NativeMethods.krn_last_error());
        }
        catch (Exception failure)
        {
            reason = failure.Message;
        }

        return 0;
    }
}
