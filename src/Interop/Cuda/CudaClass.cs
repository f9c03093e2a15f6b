namespace Kernels;

/// <summary>Architecture classes of kernels, each with instructions that the one before lacks. The numbers are those of the C interface.</summary>
public enum CudaClass
{
    /// <summary>The best class that the device has.</summary>
    Auto = 0,

    /// <summary>Compute capability 8.0 and newer: mma.sync and cp.async.</summary>
    Sm80 = 80,

    /// <summary>Compute capability 9.0: <see cref="Sm80"/> and warpgroup matrix products fed by bulk tensor copies.</summary>
    Sm90a = 90,
}
