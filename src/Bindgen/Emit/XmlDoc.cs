using System.Security;
using System.Text.RegularExpressions;
using Kernels.Bindgen.Read;

namespace Kernels.Bindgen.Emit;

/// <summary>Writes a header's comment as XML documentation.</summary>
internal static partial class XmlDoc
{
    public static void Write(SourceText source, Comment comment)
    {
        Tag(source, "<summary>", comment.Summary, "</summary>");
        foreach (ParameterComment parameter in comment.Parameters)
            Tag(source, $"<param name=\"{parameter.Name}\">", parameter.Text, "</param>");
        Tag(source, "<returns>", comment.Errors, "</returns>");
        Tag(source, "<remarks>", comment.Remarks, "</remarks>");
    }

    /// <summary>The comment of a function-pointer typedef, for that which has the type.</summary>
    public static void WriteCallback(SourceText source, CallbackDeclaration callback) =>
        Tag(source, $"<remarks><c>{callback.Name}</c>: ", callback.Comment.Summary, "</remarks>");

    private static void Tag(SourceText source, string open, string text, string close)
    {
        if (text.Length != 0)
            source.Line($"/// {open}{Code().Replace(SecurityElement.Escape(text), "<c>$1</c>").Replace("&apos;", "'", StringComparison.Ordinal)}{close}");
    }

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
