using Kernels.Bindgen.Read;

namespace Kernels.Bindgen.Emit;

/// <summary>Writes the bindings of one header: its enums, structs, constants and functions.</summary>
internal static class BindingsWriter
{
    public static string Write(Header header)
    {
        var source = new SourceText();
        source.Preamble($"{Repository.HeaderDirectory}/{header.FileName}");
        source.Line("#pragma warning disable CS1573 // The headers describe only the parameters that their names do not.");
        source.Line();
        source.Line("using System.Runtime.InteropServices;");
        source.Line();
        source.Line("namespace Kernels.Native;");
        foreach (EnumDeclaration declaration in header.Enums)
            WriteEnum(source, declaration);
        foreach (StructDeclaration declaration in header.Structs)
            WriteStruct(source, declaration, header.Callbacks);
        if (header.Functions.Count + header.Constants.Count != 0)
            WriteMethods(source, header);
        return source.ToString();
    }

    private static void WriteEnum(SourceText source, EnumDeclaration declaration)
    {
        source.Line();
        XmlDoc.Write(source, declaration.Comment);
        // The ABI passes enums as int32_t, because compilers differ in the type that they give an enum.
        source.Open($"internal enum {declaration.Name} : int");
        foreach (EnumValue value in declaration.Values)
        {
            XmlDoc.Write(source, value.Comment);
            source.Line($"{value.Name} = {value.Value},");
        }

        source.Close();
    }

    private static void WriteStruct(SourceText source, StructDeclaration declaration, List<CallbackDeclaration> callbacks)
    {
        source.Line();
        XmlDoc.Write(source, declaration.Comment);
        if (declaration.IsOpaque)
        {
            source.Line($"internal struct {declaration.Name};");
            return;
        }

        source.Line("[StructLayout(LayoutKind.Sequential)]");
        source.Open($"internal unsafe struct {declaration.Name}");
        for (int i = 0; i < declaration.Fields.Count; i++)
        {
            FieldDeclaration field = declaration.Fields[i];
            if (i != 0)
                source.Line();
            XmlDoc.Write(source, field.Comment);
            if (callbacks.Find(callback => callback.Name == field.Type.Callback) is { } callback)
                XmlDoc.WriteCallback(source, callback);
            if (!field.Type.IsSameInC)
                source.Line($"[NativeTypeName(\"{field.Type.C}\")]");
            source.Line($"public {field.Type.CSharp} {CSharpNames.Identifier(field.Name)};");
        }

        source.Close();
    }

    private static void WriteMethods(SourceText source, Header header)
    {
        source.Line();
        source.Line($"/// <summary>The functions of {header.FileName}.</summary>");
        source.Open("internal static unsafe partial class NativeMethods");
        bool first = true;
        foreach (ConstantDeclaration constant in header.Constants)
        {
            Separate();
            XmlDoc.Write(source, constant.Comment);
            source.Line($"public const int {constant.Name} = {constant.Value};");
        }

        foreach (FunctionDeclaration function in header.Functions)
        {
            Separate();
            WriteFunction(source, function, header.LibraryName);
        }

        source.Close();

        void Separate()
        {
            if (!first)
                source.Line();
            first = false;
        }
    }

    private static void WriteFunction(SourceText source, FunctionDeclaration function, string library)
    {
        XmlDoc.Write(source, function.Comment);
        source.Line($"[DllImport({library}, CallingConvention = CallingConvention.Cdecl, ExactSpelling = true)]");
        string returnType = CSharpNames.NativeType(function.Returns, "return: ");
        if (returnType.Length != 0)
            source.Line(returnType.TrimEnd());
        IEnumerable<string> parameters = function.Parameters.Select(parameter =>
            $"{CSharpNames.NativeType(parameter.Type)}{parameter.Type.CSharp} {CSharpNames.Identifier(parameter.Name)}");
        source.Line($"public static extern {function.Returns.CSharp} {function.Name}({string.Join(", ", parameters)});");
    }
}
