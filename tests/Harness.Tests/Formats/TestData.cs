namespace Kernels.Harness.Tests;

/// <summary>
/// The real models that tests read. They lie in the folder that KERNELS_TEST_DATA names, else in shared/data beside the
/// repository.
/// </summary>
internal static class TestData
{
    public static string Root { get; } = FindRoot();

    public static string PathOf(string file) => Path.Combine(Root, file.Replace('/', Path.DirectorySeparatorChar));

    /// <summary>Why a test that needs these files cannot run, or null if it can.</summary>
    public static string? ReasonToSkip(IEnumerable<string> files)
    {
        string? missing = files.FirstOrDefault(file => !File.Exists(PathOf(file)));
        return missing is null ? null : $"The file {missing} is not in {Root}; KERNELS_TEST_DATA may name another folder.";
    }

    private static string FindRoot()
    {
        if (Environment.GetEnvironmentVariable("KERNELS_TEST_DATA") is { Length: > 0 } folder)
        {
            return folder;
        }

        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Kernels.sln")))
            {
                return Path.GetFullPath(Path.Combine(at.FullName, "..", "shared", "data"));
            }
        }

        return Path.Combine(AppContext.BaseDirectory, "data");
    }
}

/// <summary>A test that needs files of <see cref="TestData"/>, and is skipped where one of them is missing.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class DataFactAttribute : FactAttribute
{
    public DataFactAttribute(params string[] files)
    {
        Files = files;
        Skip = TestData.ReasonToSkip(files)!;
    }

    public string[] Files { get; }
}

/// <summary>The same with cases.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class DataTheoryAttribute : TheoryAttribute
{
    public DataTheoryAttribute(params string[] files)
    {
        Files = files;
        Skip = TestData.ReasonToSkip(files)!;
    }

    public string[] Files { get; }
}
