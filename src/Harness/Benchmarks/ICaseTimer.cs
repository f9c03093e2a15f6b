namespace Kernels.Harness.Benchmarks;

/// <summary>Takes the time of a call.</summary>
internal interface ICaseTimer
{
    /// <summary>The name in results.</summary>
    string Name { get; }

    /// <summary>Measures a call.</summary>
    /// <param name="call">The work, one call.</param>
    /// <param name="lookAtCeilings">Called before, after, and if the timer can in between; may be null.</param>
    SampleSet Measure(Action call, Action? lookAtCeilings = null);
}
