namespace Kernels.Bindgen;

/// <summary>A file to write.</summary>
/// <param name="Path">Relative to the root of the repository, with forward slashes.</param>
/// <param name="Text">The content, with line feeds.</param>
internal sealed record GeneratedFile(string Path, string Text)
{
    public string FullPath(string root) => System.IO.Path.Combine(root, Path);

    /// <summary>Whether the file on disk has this content; a checkout may have given it other line ends.</summary>
    public bool IsFresh(string root) =>
        File.Exists(FullPath(root)) && File.ReadAllText(FullPath(root)).ReplaceLineEndings("\n") == Text;
}
