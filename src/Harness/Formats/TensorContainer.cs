using System.Diagnostics.CodeAnalysis;

namespace Kernels.Harness.Formats;

/// <summary>An open model file, or several that belong together: named tensors, in the order of the file.</summary>
public abstract class TensorContainer : IDisposable
{
    private readonly RandomAccessFile[] _files;
    private readonly ModelTensor[] _tensors;
    private readonly Dictionary<string, ModelTensor> _byName;

    private protected TensorContainer(string path, RandomAccessFile[] files, ModelTensor[] tensors)
    {
        Path = path;
        _files = files;
        _tensors = tensors;
        _byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
    }

    /// <summary>The path that was opened.</summary>
    public string Path { get; }

    /// <summary>The tensors. Their names differ from each other.</summary>
    public IReadOnlyList<ModelTensor> Tensors => _tensors;

    /// <summary>Finds a tensor by its name.</summary>
    /// <param name="name">The exact name.</param>
    /// <param name="tensor">The tensor, if there is one.</param>
    public bool TryFind(string name, [NotNullWhen(true)] out ModelTensor? tensor) => _byName.TryGetValue(name, out tensor);

    /// <summary>Closes the files; tensors cannot be read any more.</summary>
    public void Dispose()
    {
        foreach (RandomAccessFile file in _files)
        {
            file.Dispose();
        }

        GC.SuppressFinalize(this);
    }
}
