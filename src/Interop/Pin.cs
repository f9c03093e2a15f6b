namespace Kernels;

/// <summary>Pointers of pinned spans.</summary>
internal static unsafe class Pin
{
    /// <summary>The pointer of a span, or, because the library refuses null where an argument is not optional, of something else if the
    /// span is empty. The library reads nothing there.</summary>
    public static T* OrEmpty<T>(T* pinned, long* nothing)
        where T : unmanaged =>
        pinned == null ? (T*)nothing : pinned;
}
