using System.Diagnostics;
using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Keeps a context alive during a native call; an exclusive use also keeps other calls out.</summary>
internal readonly unsafe ref struct ContextUse
{
    private readonly KernelContext _context;
    private readonly bool _exclusive;

    internal ContextUse(KernelContext context, krn_context* pointer, bool exclusive)
    {
        _context = context;
        _exclusive = exclusive;
        Pointer = pointer;
    }

    public krn_context* Pointer { get; }

    /// <summary>Throws if the call that used the context failed, or the host's parallel loop did.</summary>
    [StackTraceHidden]
    public void Complete(int status)
    {
        _context.Handle.Loop?.ThrowIfFailed();
        KernelException.ThrowIfFailed(status);
    }

    public void Dispose() => _context.EndUse(_exclusive);
}
