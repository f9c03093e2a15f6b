using Xunit;

namespace Kernels.Tests.Support;

/// <summary>Shows that calls need no managed memory.</summary>
internal static class Allocations
{
    private const int Rounds = 20, Calls = 10;

    /// <summary>
    /// Fails unless a round of calls allocates nothing. Several rounds are allowed, because the runtime allocates for itself on whichever thread it finds
    /// (a cast's cache that grows, a method that is compiled again); what a call needs is needed in every round.
    /// </summary>
    public static void AssertNone(Action call)
    {
        long least = long.MaxValue;
        for (int round = 0; round < Rounds && least > 0; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < Calls; i++)
                call();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }
}
