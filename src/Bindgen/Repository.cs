namespace Kernels.Bindgen;

/// <summary>Where things are in the repository.</summary>
internal static class Repository
{
    public const string IncludeDirectory = "native/include";
    public const string HeaderDirectory = "native/include/kernels";
    public const string MainHeader = "native/include/kernels/kernels_cuda.h";
    public const string NativeDirectory = "src/Interop/Native";
    public const string TestDirectory = "tests/Interop.Tests/Native";

    /// <summary>The nearest folder, from one upwards, that holds the header.</summary>
    public static string Find(string start)
    {
        for (DirectoryInfo? directory = new(start); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, MainHeader)))
                return directory.FullName;
        }

        throw new BindgenException($"There is no {MainHeader} in {start} or a folder above it; name the root of the repository with --root.");
    }

    /// <summary>Generated files on disk that are no longer generated, such as those of a header that is gone.</summary>
    public static IEnumerable<string> StaleFiles(string root, IReadOnlyList<GeneratedFile> files)
    {
        HashSet<string> wanted = files.Select(file => file.Path).ToHashSet(StringComparer.Ordinal);
        return new[] { NativeDirectory, TestDirectory }
            .Where(directory => Directory.Exists(Path.Combine(root, directory)))
            .SelectMany(directory => Directory.EnumerateFiles(Path.Combine(root, directory), "*.g.cs"))
            .Select(path => Path.GetRelativePath(root, path).Replace('\\', '/'))
            .Where(path => !wanted.Contains(path))
            .Order(StringComparer.Ordinal);
    }

    /// <summary>One sentence for every file that is not what would be generated.</summary>
    public static List<string> Differences(string root, IReadOnlyList<GeneratedFile> files) =>
    [
        .. files.Where(file => !file.IsFresh(root)).Select(file => $"{file.Path} is not what the headers give."),
        .. StaleFiles(root, files).Select(path => $"{path} belongs to no header."),
    ];
}
