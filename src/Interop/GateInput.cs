namespace Kernels;

/// <summary>How gates and ups lie.</summary>
public enum GateLayout
{
    /// <summary>In two matrices.</summary>
    Separate = 0,

    /// <summary>In one, whose rows are all gates and then all ups: what a GEMM with the concatenated weights of a checkpoint makes.</summary>
    Halves = 1,

    /// <summary>In one, whose rows are g0 u0 g1 u1 and so on.</summary>
    Interleaved = 2,
}

/// <summary>What a gated activation is of: gates and ups, [rows, cols] each.</summary>
/// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
public readonly ref struct GateInput<T>
    where T : unmanaged
{
    internal GateInput(GateLayout layout, ReadOnlySpan<T> gate, long gateLd, ReadOnlySpan<T> up, long upLd)
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
    public ReadOnlySpan<T> Gate { get; }

    /// <summary>Leading dimension of <see cref="Gate"/> in elements; 0 for rows without padding.</summary>
    public long GateLd { get; }

    /// <summary>The ups; empty unless they are a matrix of their own.</summary>
    public ReadOnlySpan<T> Up { get; }

    /// <summary>Leading dimension of <see cref="Up"/> in elements; 0 for rows without padding.</summary>
    public long UpLd { get; }
}

/// <summary>Makes the input of a gated activation.</summary>
public static class GateInput
{
    /// <summary>Two matrices.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="gate">[rows, cols].</param>
    /// <param name="up">[rows, cols].</param>
    /// <param name="gateLd">Leading dimension in elements; 0 for rows without padding.</param>
    /// <param name="upLd">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The input.</returns>
    public static GateInput<T> Separate<T>(ReadOnlySpan<T> gate, ReadOnlySpan<T> up, long gateLd = 0, long upLd = 0)
        where T : unmanaged => new(GateLayout.Separate, gate, gateLd, up, upLd);

    /// <summary>One matrix with the gates in the first half of a row and the ups in the second.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="gateAndUp">[rows, 2 cols].</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The input.</returns>
    public static GateInput<T> Halves<T>(ReadOnlySpan<T> gateAndUp, long ld = 0)
        where T : unmanaged => new(GateLayout.Halves, gateAndUp, ld, default, 0);

    /// <summary>One matrix in which gates and ups take turns.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="gateAndUp">[rows, 2 cols].</param>
    /// <param name="ld">Leading dimension in elements; 0 for rows without padding.</param>
    /// <returns>The input.</returns>
    public static GateInput<T> Interleaved<T>(ReadOnlySpan<T> gateAndUp, long ld = 0)
        where T : unmanaged => new(GateLayout.Interleaved, gateAndUp, ld, default, 0);
}
