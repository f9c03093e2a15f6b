using Kernels.Handles;

namespace Kernels;

/// <summary>The pieces of one parallel loop. Valid until the <see cref="IParallelFor.Run"/> that received it returns.</summary>
public readonly struct ParallelTask
{
    private readonly ParallelLoop? _loop;
    private readonly long _generation;

    internal ParallelTask(ParallelLoop loop, long generation)
    {
        _loop = loop;
        _generation = generation;
    }

    /// <summary>Runs one piece on the calling thread.</summary>
    /// <param name="index">Which one.</param>
    /// <exception cref="InvalidOperationException">The index is not one of the loop's, it has been run already, or the loop is over.</exception>
    public void Invoke(long index)
    {
        if (_loop is null || !_loop.TryRun(_generation, index))
            throw new InvalidOperationException($"Piece {index} does not exist or has been run already, or its loop is over.");
    }
}
