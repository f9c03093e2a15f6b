using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Kernels.Native;

namespace Kernels;

/// <summary>A native call failed. The message is the library's own sentence: which argument was wrong, and why.</summary>
public sealed class KernelException : Exception
{
    /// <summary>Makes an exception from a status and the sentence that explains it.</summary>
    /// <param name="status">What went wrong.</param>
    /// <param name="message">The sentence.</param>
    public KernelException(KernelStatus status, string message)
        : base(message)
    {
        Status = status;
    }

    /// <summary>What went wrong.</summary>
    public KernelStatus Status { get; }

    /// <summary>Throws if a status is not <see cref="KernelStatus.Ok"/>. To be called on the thread of the native call, right after it.</summary>
    [StackTraceHidden]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void ThrowIfFailed(int status)
    {
        if (status != 0)
            ThrowLastError(status);
    }

    [DoesNotReturn]
    [StackTraceHidden]
    private static unsafe void ThrowLastError(int status)
    {
        string name = NativeText.Required(NativeMethods.krn_status_name(status));
        string reason = NativeText.Required(NativeMethods.krn_last_error());
        throw new KernelException((KernelStatus)status, $"{reason} ({name})");
    }
}
