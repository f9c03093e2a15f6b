using Kernels.Bindgen;
using Kernels.Tests.Support;
using Xunit;

namespace Kernels.Tests;

public class GeneratedFilesTests
{
    [CastXmlFact]
    public void Generated_files_are_what_the_headers_give()
    {
        string root = Repository.Find(AppContext.BaseDirectory);
        Assert.Empty(Repository.Differences(root, Generator.Generate(root)));
    }

    [CastXmlFact]
    public void Check_reports_a_changed_a_missing_and_a_stale_file_and_writing_repairs_them()
    {
        string root = Repository.Find(AppContext.BaseDirectory);
        string copy = Directory.CreateTempSubdirectory("kernels-bindgen-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(copy, Repository.HeaderDirectory));
            foreach (string header in Directory.EnumerateFiles(Path.Combine(root, Repository.HeaderDirectory)))
                File.Copy(header, Path.Combine(copy, Repository.HeaderDirectory, Path.GetFileName(header)));

            Assert.Equal(0, Run(copy).Status);
            string context = Path.Combine(copy, Repository.NativeDirectory, "Context.g.cs");
            string gemm = Path.Combine(copy, Repository.NativeDirectory, "Gemm.g.cs");
            string stale = Path.Combine(copy, Repository.NativeDirectory, "Gone.g.cs");
            File.AppendAllText(context, "// edited");
            File.Delete(gemm);
            File.WriteAllText(stale, string.Empty);

            (int status, string messages) = Run(copy, "--check");
            Assert.Equal(1, status);
            Assert.Contains("Context.g.cs is not what the headers give", messages, StringComparison.Ordinal);
            Assert.Contains("Gemm.g.cs is not what the headers give", messages, StringComparison.Ordinal);
            Assert.Contains("Gone.g.cs belongs to no header", messages, StringComparison.Ordinal);
            Assert.DoesNotContain("Weights.g.cs", messages, StringComparison.Ordinal);

            Assert.Equal(0, Run(copy).Status);
            Assert.Equal(0, Run(copy, "--check").Status);
            Assert.False(File.Exists(stale));
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }

    [CastXmlFact]
    public void Declarations_that_have_no_place_in_the_ABI_are_refused_with_their_place()
    {
        Assert.Contains("odd.h:2: bits", ErrorOf("struct krn_odd {\n    int bits : 3;\n};"), StringComparison.Ordinal);
        Assert.Contains("long", ErrorOf("long krn_odd(void);"), StringComparison.Ordinal);
        Assert.Contains("variable number of arguments", ErrorOf("int krn_odd(int a, ...);"), StringComparison.Ordinal);
        Assert.Contains("a union", ErrorOf("union krn_odd { int a; };"), StringComparison.Ordinal);
        Assert.Contains("castxml failed", ErrorOf("this is not C"), StringComparison.Ordinal);
    }

    [Fact]
    public void The_response_files_of_ClangSharp_name_every_header()
    {
        string root = Repository.Find(AppContext.BaseDirectory);
        string[] cpu = File.ReadAllLines(Path.Combine(root, "src", "Interop", "ClangSharp.rsp"));
        string[] cuda = File.ReadAllLines(Path.Combine(root, "src", "Interop", "ClangSharp.Cuda.rsp"));
        IEnumerable<string> headers = Directory.EnumerateFiles(Path.Combine(root, Repository.HeaderDirectory))
            .Select(path => Path.GetFileName(path))
            .Where(name => name is not ("kernels.h" or "kernels_cuda.h"));
        Assert.All(headers, name => Assert.Contains(
            $"../../{Repository.HeaderDirectory}/{name}", name.StartsWith("cuda", StringComparison.Ordinal) ? cuda : cpu));
    }

    [Fact]
    public void A_root_without_headers_is_one_sentence()
    {
        (int status, string messages) = Run(Path.GetTempPath(), "--nonsense");
        Assert.Equal(2, status);
        Assert.Contains("usage:", messages, StringComparison.Ordinal);
        BindgenException failure = Assert.Throws<BindgenException>(() => Repository.Find(Path.GetTempPath()));
        Assert.Contains("--root", failure.Message, StringComparison.Ordinal);
    }

    private static string ErrorOf(string declaration)
    {
        string root = Directory.CreateTempSubdirectory("kernels-bindgen-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(root, Repository.HeaderDirectory));
            File.WriteAllText(Path.Combine(root, Repository.MainHeader), "#include \"kernels/odd.h\"\n");
            File.WriteAllText(Path.Combine(root, Repository.HeaderDirectory, "odd.h"), declaration + "\n");
            (int status, string messages) = Run(root);
            Assert.Equal(2, status);
            return messages;
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    private static (int Status, string Messages) Run(string root, params string[] arguments)
    {
        using var messages = new StringWriter();
        int status = BindgenCommand.Run([.. arguments, "--root", root], messages, messages);
        return (status, messages.ToString());
    }
}
