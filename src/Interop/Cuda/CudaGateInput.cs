using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>What a gated activation on a device is of: gates and ups, [rows, cols] each.</summary>
/// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaGateInput<T>
    where T : unmanaged
{
    internal CudaGateInput(GateLayout layout, CudaBuffer<T> gate, long gateLd, CudaBuffer<T>? up, long upLd)
    {
        Layout = layout;
        Gate = gate;
        GateLd = gateLd;
        Up = up;
        UpLd = upLd;
    }

    /// <summary>How gates and ups lie.</summary>
    public GateLayout Layout { get; }

    /// <summary>The gates, or the matrix of both.</summary>
    public CudaBuffer<T> Gate { get; }

    /// <summary>Leading dimension of <see cref="Gate"/> in elements; 0 for rows without padding.</summary>
    public long GateLd { get; }

    /// <summary>The ups; null unless they are a matrix of their own.</summary>
    public CudaBuffer<T>? Up { get; }

    /// <summary>Leading dimension of <see cref="Up"/> in elements; 0 for rows without padding.</summary>
    public long UpLd { get; }
}

/// <summary>Makes the input of a gated activation on a device.</summary>
public static class CudaGateInput
{
    /// <summary>Two matrices.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="gate">[rows, cols].</param>
    /// <param name="up">[rows, cols].</param>
    /// <param name="gateLd">Leading dimension in elements; 0 for rows without padding.</param>
    /// <param name="upLd">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The input.</returns>
    public static CudaGateInput<T> Separate<T>(CudaBuffer<T> gate, CudaBuffer<T> up, long gateLd = 0, long upLd = 0)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(up);
        return Of(GateLayout.Separate, gate, gateLd, up, upLd);
    }

    /// <summary>One matrix with the gates in the first half of a row and the ups in the second.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="gate">[rows, 2 cols].</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The input.</returns>
    public static CudaGateInput<T> Halves<T>(CudaBuffer<T> gate, long ld = 0)
        where T : unmanaged => Of(GateLayout.Halves, gate, ld, null, 0);

    /// <summary>One matrix in which gates and ups take turns.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="gate">[rows, 2 cols].</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The input.</returns>
    public static CudaGateInput<T> Interleaved<T>(CudaBuffer<T> gate, long ld = 0)
        where T : unmanaged => Of(GateLayout.Interleaved, gate, ld, null, 0);

    private static CudaGateInput<T> Of<T>(GateLayout layout, CudaBuffer<T> gate, long gateLd, CudaBuffer<T>? up, long upLd)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(gate);
        return new CudaGateInput<T>(layout, gate, gateLd, up, upLd);
    }
}
