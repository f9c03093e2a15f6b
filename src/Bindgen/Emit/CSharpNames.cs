using Kernels.Bindgen.Read;

namespace Kernels.Bindgen.Emit;

/// <summary>Names and attributes in C#.</summary>
internal static class CSharpNames
{
    // Reserved words of C# that are ordinary identifiers in C.
    private static readonly HashSet<string> s_reserved = new(StringComparer.Ordinal)
    {
        "abstract", "as", "base", "bool", "byte", "catch", "checked", "class", "decimal", "delegate", "event", "explicit", "false",
        "finally", "fixed", "foreach", "implicit", "in", "interface", "internal", "is", "lock", "namespace", "new", "null", "object",
        "operator", "out", "override", "params", "private", "protected", "public", "readonly", "ref", "sbyte", "sealed", "stackalloc",
        "string", "this", "throw", "true", "try", "typeof", "uint", "ulong", "unchecked", "unsafe", "ushort", "using", "virtual",
    };

    public static string Identifier(string name) => s_reserved.Contains(name) ? $"@{name}" : name;

    /// <summary>The attribute that tells the type in C, with a space after it; empty if C# spells it alike.</summary>
    public static string NativeType(TypeName type, string target = "") =>
        type.IsSameInC ? string.Empty : $"[{target}NativeTypeName(\"{type.C}\")] ";
}
