namespace Kernels;

/// <summary>A host's parallel loop, on which a context can run instead of on threads of its own.</summary>
public interface IParallelFor
{
    /// <summary>Calls <see cref="ParallelTask.Invoke"/> once for every index in 0..count-1, from any threads, in any order, and returns
    /// when all those calls have returned.</summary>
    /// <remarks>An exception that leaves this method is thrown again by the kernel call, whose results are then to be ignored. An index
    /// that was left out is run by the calling thread, and the kernel call throws <see cref="InvalidOperationException"/>.</remarks>
    /// <param name="count">How many pieces there are.</param>
    /// <param name="task">The pieces.</param>
    void Run(long count, ParallelTask task);
}
