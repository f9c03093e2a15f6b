using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Kernels.Handles;

/// <summary>Brings the native library's parallel loops to a host's, and keeps the native side safe whatever the host does.</summary>
/// <remarks>A native piece may only run while its loop does, because its context lives on the stack of the native caller. Every piece
/// therefore has a slot that holds 2g while it may be run in loop number g, and 2g + 1 once it has been taken. A late, repeated or
/// foreign index finds no open slot and is refused. One loop runs at a time, because a context serves one call at a time.</remarks>
internal sealed unsafe class ParallelLoop(IParallelFor host)
{
    private delegate* unmanaged[Cdecl]<void*, long, void> _task;
    private void* _taskContext;
    private long[] _slots = [];
    private long _generation;
    private long _completed;
    private ExceptionDispatchInfo? _failure;

    /// <summary>The function to give to the library, with a <see cref="GCHandle"/> of a loop as its host.</summary>
    public static delegate* unmanaged[Cdecl]<void*, long, delegate* unmanaged[Cdecl]<void*, long, void>, void*, void> Callback => &OnParallelFor;

    /// <summary>Runs a piece if it is open in a loop.</summary>
    public bool TryRun(long generation, long index)
    {
        long[] slots = Volatile.Read(ref _slots);
        if ((ulong)index >= (ulong)slots.LongLength
            || Interlocked.CompareExchange(ref slots[index], (2 * generation) + 1, 2 * generation) != 2 * generation)
            return false;

        _task(_taskContext, index);
        Interlocked.Increment(ref _completed);
        return true;
    }

    /// <summary>Throws what the host's loops threw during the last call, if anything.</summary>
    public void ThrowIfFailed()
    {
        ExceptionDispatchInfo? failure = _failure;
        _failure = null;
        failure?.Throw();
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnParallelFor(void* loop, long count, delegate* unmanaged[Cdecl]<void*, long, void> task, void* taskContext) =>
        ((ParallelLoop)GCHandle.FromIntPtr((nint)loop).Target!).Run(count, task, taskContext);

    [SuppressMessage("Design", "CA1031", Justification = "No exception may cross the native frames below; it is thrown again above them.")]
    private void Run(long count, delegate* unmanaged[Cdecl]<void*, long, void> task, void* taskContext)
    {
        try
        {
            Open(count, task, taskContext);
        }
        catch (OutOfMemoryException failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure);
            for (long index = 0; index < count; index++)
                task(taskContext, index);
            return;
        }

        try
        {
            if (_failure is null)
                host.Run(count, new ParallelTask(this, _generation));
        }
        catch (Exception failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure);
        }

        Close(count);
    }

    private void Open(long count, delegate* unmanaged[Cdecl]<void*, long, void> task, void* taskContext)
    {
        if (_slots.LongLength < count)
            Volatile.Write(ref _slots, new long[count]);
        _task = task;
        _taskContext = taskContext;
        _completed = 0;
        _generation++;
        for (long index = 0; index < count; index++)
            Volatile.Write(ref _slots[index], 2 * _generation);
    }

    /// <summary>Runs what the host left out and waits for what still runs, after which nothing of the loop can run any more.</summary>
    private void Close(long count)
    {
        long leftOut = 0;
        for (long index = 0; index < count; index++)
        {
            if (TryRun(_generation, index))
                leftOut++;
        }

        var spin = default(SpinWait);
        while (Interlocked.Read(ref _completed) != count)
            spin.SpinOnce();

        if (leftOut != 0 && _failure is null)
        {
            _failure = ExceptionDispatchInfo.Capture(new InvalidOperationException(
                $"The parallel loop of the context returned although {leftOut} of its {count} pieces had not been run."));
        }
    }
}
