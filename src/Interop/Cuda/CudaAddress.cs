using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Kernels;

/// <summary>Addresses of buffers that a call names.</summary>
[StackTraceHidden]
internal static unsafe class CudaAddress
{
    /// <summary>Where a buffer lies; null for none, or for one without elements.</summary>
    /// <exception cref="ArgumentException">The buffer belongs to another context than that of the call.</exception>
    public static void* Of(CudaContext context, ICudaBuffer? buffer, [CallerArgumentExpression(nameof(buffer))] string? name = null)
    {
        if (buffer is null)
            return null;
        if (buffer.Context != context)
            throw new ArgumentException("The buffer belongs to another context.", name);
        return (void*)buffer.Address;
    }

    /// <summary>Where a buffer lies that must hold a number of bytes, which may be none.</summary>
    /// <exception cref="ArgumentException">The buffer is missing, too short or of another context.</exception>
    public static void* OfWorkspace(CudaContext context, CudaBuffer<byte>? workspace, long bytes)
    {
        Guard.Holds(workspace?.Length ?? 0, bytes, nameof(workspace));
        return Of(context, workspace);
    }

    /// <summary>Where the word lies that kernels set flags in; null for none.</summary>
    /// <exception cref="ArgumentException">The buffer has no element, or is of another context.</exception>
    public static int* OfFlags(CudaContext context, CudaBuffer<int>? flags)
    {
        if (flags is not null)
            Guard.Holds(flags.Length, 1, nameof(flags));
        return (int*)Of(context, flags);
    }

    /// <summary>An output is no other operand. Buffers are whole allocations, so that two overlap when they are the same one.</summary>
    /// <exception cref="ArgumentException">It is.</exception>
    public static void Distinct(ICudaBuffer? written, string name, params ReadOnlySpan<ICudaBuffer?> others)
    {
        if (written is null)
            return;
        foreach (ICudaBuffer? other in others)
        {
            if (ReferenceEquals(written, other))
                throw new ArgumentException("The memory overlaps that of another argument.", name);
        }
    }
}
