using Kernels.Bindgen.Read;

namespace Kernels.Bindgen.Emit;

/// <summary>Writes what compares the layout of structs in C with that in C#: a check of sizes at load time, and tests.</summary>
internal static class LayoutWriter
{
    private const string Source = Repository.HeaderDirectory;

    public static string WriteCheck(IReadOnlyList<StructDeclaration> structs)
    {
        var source = new SourceText();
        source.Preamble(Source);
        source.Line("namespace Kernels.Native;");
        source.Line();
        source.Line("/// <summary>The sizes of the structs in C.</summary>");
        source.Open("internal static unsafe class NativeLayout");
        source.Line("/// <summary>A sentence about the first struct whose size differs in this process, or null.</summary>");
        source.Open("public static string? DescribeMismatch()");
        foreach (StructDeclaration declaration in structs)
        {
            source.Line($"if (sizeof({declaration.Name}) != {declaration.SizeBytes})");
            source.Line($"    return Describe(nameof({declaration.Name}), sizeof({declaration.Name}), {declaration.SizeBytes});");
        }

        source.Line("return null;");
        source.Close();
        source.Line();
        source.Line("private static string Describe(string name, int actual, int expected) =>");
        source.Line("    $\"The struct {name} has {actual} bytes in this process, but {expected} in the native kernel library: only 64-bit processes are supported.\";");
        source.Close();
        return source.ToString();
    }

    public static string WriteTests(IReadOnlyList<StructDeclaration> structs)
    {
        var source = new SourceText();
        source.Preamble(Source);
        source.Line("using Kernels.Native;");
        source.Line("using Xunit;");
        source.Line();
        source.Line("namespace Kernels.Tests.Native;");
        source.Line();
        source.Line("/// <summary>Sizes and offsets of the structs, in C# and as the C compiler lays them out.</summary>");
        source.Open("public unsafe class LayoutTests");
        for (int i = 0; i < structs.Count; i++)
        {
            if (i != 0)
                source.Line();
            WriteTest(source, structs[i]);
        }

        source.Close();
        return source.ToString();
    }

    private static void WriteTest(SourceText source, StructDeclaration declaration)
    {
        source.Line("[Fact]");
        source.Open($"public void {declaration.Name}_is_laid_out_as_in_C()");
        source.Line($"{declaration.Name} value = default;");
        source.Line($"Assert.Equal({declaration.SizeBytes}, sizeof({declaration.Name}));");
        foreach (FieldDeclaration field in declaration.Fields)
            source.Line($"Assert.Equal({field.OffsetBytes}, (byte*)&value.{CSharpNames.Identifier(field.Name)} - (byte*)&value);");
        source.Close();
    }
}
