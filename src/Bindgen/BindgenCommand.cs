namespace Kernels.Bindgen;

/// <summary>The command line: writes the generated files, or with --check tells whether they are fresh.</summary>
internal static class BindgenCommand
{
    private const string Usage = """
        usage: Kernels.Bindgen [--check] [--root DIR]

        Reads native/include/kernels/kernels_cuda.h, which includes all others, through castxml and writes src/Interop/Native/*.g.cs and the layout tests.

          --check      write nothing; exit with 1 if a generated file differs from what would be written
          --root DIR   root of the repository; by default the nearest folder above the current one that has the header
        """;

    public static int Run(IReadOnlyList<string> arguments, TextWriter output, TextWriter error)
    {
        bool check = false;
        string? root = null;
        for (int i = 0; i < arguments.Count; i++)
        {
            switch (arguments[i])
            {
                case "--check":
                    check = true;
                    break;
                case "--root" when i + 1 < arguments.Count:
                    root = arguments[++i];
                    break;
                case "--help" or "-h":
                    output.WriteLine(Usage);
                    return 0;
                default:
                    error.WriteLine(Usage);
                    return 2;
            }
        }

        try
        {
            root = root is null ? Repository.Find(Environment.CurrentDirectory) : Path.GetFullPath(root);
            IReadOnlyList<GeneratedFile> files = Generator.Generate(root);
            return check ? Check(root, files, output, error) : Write(root, files, output);
        }
        catch (BindgenException failure)
        {
            error.WriteLine($"bindgen: {failure.Message}");
            return 2;
        }
    }

    private static int Write(string root, IReadOnlyList<GeneratedFile> files, TextWriter output)
    {
        foreach (GeneratedFile file in files)
        {
            if (file.IsFresh(root))
                continue;
            string path = file.FullPath(root);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, file.Text);
            output.WriteLine($"wrote {file.Path}");
        }

        foreach (string stale in Repository.StaleFiles(root, files))
        {
            File.Delete(Path.Combine(root, stale));
            output.WriteLine($"deleted {stale}");
        }

        return 0;
    }

    private static int Check(string root, IReadOnlyList<GeneratedFile> files, TextWriter output, TextWriter error)
    {
        List<string> differences = Repository.Differences(root, files);
        foreach (string difference in differences)
            error.WriteLine(difference);
        if (differences.Count != 0)
        {
            error.WriteLine("Run `dotnet run --project src/Bindgen` and commit the result.");
            return 1;
        }

        output.WriteLine($"{files.Count} generated files are fresh");
        return 0;
    }
}
