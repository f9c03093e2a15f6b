using System.Globalization;
using Kernels.Harness.Verbs;

namespace Kernels.Harness.Devices;

/// <summary>What <c>--device</c> means.</summary>
internal static class DeviceChoice
{
    private const string Cuda = "cuda";

    /// <summary>The device of an option; null for the CPU.</summary>
    /// <param name="text">"cpu", "cuda", "cuda:NUMBER" or "emulator"; null for "cpu".</param>
    /// <exception cref="UsageException">It is none of these, or this machine does not have it.</exception>
    public static CudaDevice? Parse(string? text)
    {
        switch (text)
        {
            case null or "cpu":
                return null;
            case "emulator":
                return CudaDevice.Emulator ?? throw new UsageException(
                    "--device emulator: the library kernels_cuda_emulator does not lie beside the others; it is built from source where there is a C++ compiler.");
            case Cuda:
                return Find(0);
        }

        return text.StartsWith(Cuda + ":", StringComparison.Ordinal)
            && int.TryParse(text.AsSpan(Cuda.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal)
                ? Find(ordinal)
                : throw new UsageException($"--device: '{text}' is not a device; there are cpu, cuda, cuda:NUMBER and emulator.");
    }

    /// <summary>Contexts of the classes that <c>--isa</c> names; all that the device has when it names none.</summary>
    /// <exception cref="UsageException">A name is not a class, or the device lacks it.</exception>
    public static IReadOnlyList<CudaContext> Contexts(CudaDevice device, string? names)
    {
        CudaClass[] known = [.. Enum.GetValues<CudaClass>().Where(c => c != CudaClass.Auto)];
        CudaClass[] wanted = names is null ? known : [.. names.Split(',').Select(name => ClassOf(name, known)).Distinct()];
        var contexts = new List<CudaContext>();
        foreach (CudaClass architecture in wanted)
        {
            try
            {
                contexts.Add(new CudaContext(device, architecture));
            }
            catch (KernelException failure) when (failure.Status == KernelStatus.IsaUnavailable && names is null)
            {
                // The device is older than the class: the others are what it has.
            }
        }

        return contexts;
    }

    /// <summary>The device in a case id: "NVIDIA H200" is h200.</summary>
    public static string IdOf(CudaDevice device)
    {
        const string Maker = "NVIDIA ";
        string name = device.Name.StartsWith(Maker, StringComparison.Ordinal) ? device.Name[Maker.Length..] : device.Name;
        return string.Concat(name.ToLowerInvariant().Where(char.IsAsciiLetterOrDigit));
    }

    private static CudaDevice Find(int ordinal)
    {
        if (CudaDevice.UnavailableReason is { } reason)
            throw new UsageException($"--device cuda: {reason}");
        return ordinal < CudaDevice.Count
            ? CudaDevice.Get(ordinal)
            : throw new UsageException($"--device cuda:{ordinal}: this machine has {CudaDevice.Count} CUDA devices, numbered from 0.");
    }

    private static CudaClass ClassOf(string name, CudaClass[] known)
    {
        foreach (CudaClass architecture in known)
        {
            if (CudaContext.NameOf(architecture) == name)
                return architecture;
        }

        throw new UsageException($"--isa: '{name}' is not a class of CUDA devices; there are {string.Join(", ", known.Select(CudaContext.NameOf))}.");
    }
}
