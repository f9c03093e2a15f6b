using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Kernels;

/// <summary>Checks of arguments, done before a native call so that a mistake names the C# parameter.</summary>
[StackTraceHidden]
internal static unsafe class Guard
{
    private const int WorkspaceAlignment = 64;

    /// <summary>An enum value has a name.</summary>
    public static void Defined<TEnum>(TEnum value, [CallerArgumentExpression(nameof(value))] string? name = null)
        where TEnum : struct, Enum
    {
        if (!Enum.IsDefined(value))
            throw new ArgumentOutOfRangeException(name, value, $"Not a {typeof(TEnum).Name}.");
    }

    /// <summary>A dimension is not negative.</summary>
    public static void Dimension(long value, [CallerArgumentExpression(nameof(value))] string? name = null) =>
        ArgumentOutOfRangeException.ThrowIfNegative(value, name);

    /// <summary>A leading dimension, where 0 stands for rows without padding.</summary>
    /// <returns>The leading dimension to use.</returns>
    public static long LeadingDimension(long ld, long width, [CallerArgumentExpression(nameof(ld))] string? name = null)
    {
        if (ld == 0)
            return width;
        if (ld < width)
        {
            throw new ArgumentOutOfRangeException(
                name, ld, $"A leading dimension must be at least the width of a row, {width}, or 0 for rows without padding.");
        }

        return ld;
    }

    /// <summary>A span holds a matrix.</summary>
    public static void Holds(long length, long rows, long width, long ld, string name)
    {
        Int128 needed = rows == 0 || width == 0 ? 0 : ((Int128)(rows - 1) * ld) + width;
        if (length < needed)
            throw new ArgumentException($"The span has {length} elements, but {rows} rows of {width}, {ld} apart, need {needed}.", name);
    }

    /// <summary>A span holds a number of elements.</summary>
    public static void Holds(long length, long needed, string name)
    {
        if (length < needed)
            throw new ArgumentException($"The span has {length} elements, but {needed} are needed.", name);
    }

    /// <summary>An output does not share memory with another argument.</summary>
    public static void Disjoint(in Region output, in Region other, string outputName, string otherName)
    {
        if (output.Overlaps(other))
            throw new ArgumentException($"The memory of '{outputName}' overlaps that of '{otherName}'.", outputName);
    }

    /// <summary>A pinned buffer is aligned as workspaces are.</summary>
    public static void Aligned(void* start, string name)
    {
        if ((nuint)start % WorkspaceAlignment != 0)
            throw new ArgumentException($"The memory is not aligned to {WorkspaceAlignment} bytes; take it from an AlignedBuffer.", name);
    }
}
