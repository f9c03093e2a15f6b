using Kernels.Bindgen.Emit;
using Kernels.Bindgen.Read;

namespace Kernels.Bindgen;

/// <summary>From headers to files.</summary>
internal static class Generator
{
    /// <summary>Everything that is generated, in the order of the paths.</summary>
    public static IReadOnlyList<GeneratedFile> Generate(string root)
    {
        List<Header> headers = CastXmlReader.Read(root, CastXml.Run(root));
        List<GeneratedFile> files = headers
            .Where(header => !header.IsEmpty)
            .Select(header => new GeneratedFile($"{Repository.NativeDirectory}/{header.ClassName}.g.cs", BindingsWriter.Write(header)))
            .ToList();

        List<StructDeclaration> structs = headers.SelectMany(header => header.Structs).Where(declaration => !declaration.IsOpaque).ToList();
        files.Add(new($"{Repository.NativeDirectory}/NativeLayout.g.cs", LayoutWriter.WriteCheck(structs)));
        files.Add(new($"{Repository.TestDirectory}/LayoutTests.g.cs", LayoutWriter.WriteTests(structs)));
        return files.OrderBy(file => file.Path, StringComparer.Ordinal).ToList();
    }
}
