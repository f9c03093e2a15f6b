using Kernels.Handles;

namespace Kernels;

/// <summary>How a <see cref="KernelContext"/> is made.</summary>
public sealed record KernelContextOptions
{
    /// <summary>The instruction set to use. Asking for one that the machine lacks is an error, never a silent fallback.</summary>
    public Isa Isa { get; init; } = Isa.Auto;

    /// <summary>Threads that work on a call, the caller's included; 0 for one per logical processor that the process may use. At most 1024.
    /// With <see cref="ParallelFor"/> it is the number of pieces that work is cut into.</summary>
    public int Threads { get; init; }

    /// <summary>The host's parallel loop, or null for threads of the context's own.</summary>
    public IParallelFor? ParallelFor { get; init; }
}

/// <summary>Which instruction set runs, on how many threads.</summary>
/// <remarks>A context serves one call at a time: callers that run concurrently make one context each, and may share
/// <see cref="PackedWeights"/>. A call that finds the context in use throws <see cref="InvalidOperationException"/>. Properties and
/// the functions that only ask (variants, sizes, ceilings) may be called at any time.</remarks>
public sealed unsafe class KernelContext : IDisposable
{
    private const int MaxThreads = 1024;

    private int _inUse;

    /// <summary>Makes a context with the best instruction set of the machine and one thread per processor.</summary>
    public KernelContext()
        : this(new KernelContextOptions())
    {
    }

    /// <summary>Makes a context.</summary>
    /// <param name="options">Instruction set, threads and loop.</param>
    /// <exception cref="KernelException">The machine lacks the instruction set (<see cref="KernelStatus.IsaUnavailable"/>), or a thread or
    /// memory could not be had.</exception>
    public KernelContext(KernelContextOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!Enum.IsDefined(options.Isa))
            throw new ArgumentOutOfRangeException(nameof(options), options.Isa, "options.Isa is not an Isa.");
        if (options.Threads is < 0 or > MaxThreads)
            throw new ArgumentOutOfRangeException(nameof(options), options.Threads, $"options.Threads is not in 0..{MaxThreads}.");

        Handle = new ContextHandle(options);
        Isa = (Isa)Native.NativeMethods.krn_context_isa(Handle.Pointer);
        Threads = Native.NativeMethods.krn_context_num_threads(Handle.Pointer);
    }

    /// <summary>The instruction set that runs; never <see cref="Isa.Auto"/>.</summary>
    public Isa Isa { get; }

    /// <summary>Threads that work on a call, the caller's included.</summary>
    public int Threads { get; }

    internal ContextHandle Handle { get; }

    /// <summary>Ends the context's threads. A call that is using the context finishes first.</summary>
    public void Dispose() => Handle.Dispose();

    /// <summary>For native functions that only ask.</summary>
    internal ContextUse Share() => Begin(exclusive: false);

    /// <summary>For native functions that compute.</summary>
    internal ContextUse Use()
    {
        if (Interlocked.Exchange(ref _inUse, 1) != 0)
        {
            throw new InvalidOperationException(
                "This KernelContext is in use by another call. A context serves one call at a time: make one for every thread that calls concurrently.");
        }

        try
        {
            return Begin(exclusive: true);
        }
        catch
        {
            Volatile.Write(ref _inUse, 0);
            throw;
        }
    }

    internal void EndUse(bool exclusive)
    {
        if (exclusive)
            Volatile.Write(ref _inUse, 0);
        Handle.DangerousRelease();
    }

    private ContextUse Begin(bool exclusive)
    {
        ObjectDisposedException.ThrowIf(Handle.IsClosed, this);
        bool added = false;
        Handle.DangerousAddRef(ref added);
        return new ContextUse(this, Handle.Pointer, exclusive);
    }
}
