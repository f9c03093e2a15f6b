using System.Runtime.InteropServices;

namespace Kernels.Native;

/// <summary>Strings of the library: UTF-8, ended by a zero, owned by the library.</summary>
internal static unsafe class NativeText
{
    /// <summary>The string, or null for a null pointer.</summary>
    public static string? Optional(sbyte* text) => Marshal.PtrToStringUTF8((nint)text);

    /// <summary>The string of a function that never returns null.</summary>
    public static string Required(sbyte* text) => Optional(text) ?? string.Empty;
}
