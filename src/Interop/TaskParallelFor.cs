namespace Kernels;

/// <summary>Runs kernels on the .NET thread pool, through <see cref="Parallel"/>. Unlike a context's own threads it allocates a
/// little at every call.</summary>
public sealed class TaskParallelFor : IParallelFor
{
    private readonly ParallelOptions _options;

    /// <summary>Makes a loop on the default scheduler, with at most as many threads as there are processors.</summary>
    public TaskParallelFor()
        : this(new ParallelOptions())
    {
    }

    /// <summary>Makes a loop with a scheduler and a limit of the caller's.</summary>
    /// <param name="options">The options that every loop is run with.</param>
    public TaskParallelFor(ParallelOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
    }

    /// <inheritdoc/>
    public void Run(long count, ParallelTask task) => Parallel.For(0, count, _options, task.Invoke);
}
