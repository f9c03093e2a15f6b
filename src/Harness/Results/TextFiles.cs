namespace Kernels.Harness.Results;

/// <summary>Writing files that others read.</summary>
internal static class TextFiles
{
    /// <summary>Writes a file whole or not at all: a run that is interrupted leaves the old file.</summary>
    public static void Write(string path, string text)
    {
        string temporary = path + ".tmp";
        File.WriteAllText(temporary, text);
        File.Move(temporary, path, overwrite: true);
    }
}
