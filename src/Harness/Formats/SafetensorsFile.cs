using System.Diagnostics.CodeAnalysis;

namespace Kernels.Harness.Formats;

/// <summary>
/// The tensors of a safetensors file, or of all shards that an index names. F32, F16 and BF16 can be read as floats;
/// every other dtype is listed and can be read as bytes.
/// </summary>
public sealed class SafetensorsFile : TensorContainer
{
    private const string Extension = ".safetensors";
    private const string SingleFileName = "model.safetensors";

    private SafetensorsFile(
        string path, RandomAccessFile[] files, ModelTensor[] tensors, IReadOnlyDictionary<string, string> metadata)
        : base(path, files, tensors)
    {
        Metadata = metadata;
    }

    /// <summary>The strings under __metadata__; of shards, those of the first one that has the key.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a model.</summary>
    /// <param name="path">
    /// A safetensors file, an index (a .json file), or a directory: then its model.safetensors.index.json, else its
    /// model.safetensors, else the one file in it that ends in .safetensors.
    /// </param>
    /// <exception cref="ModelFormatException">The content is not valid.</exception>
    /// <exception cref="IOException">A file cannot be read, or does not exist.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string file = Directory.Exists(path) ? FindInDirectory(path) : path;
        return file.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? OpenShards(path, file) : OpenSingle(path, file);
    }

    private static string FindInDirectory(string directory)
    {
        foreach (string name in (ReadOnlySpan<string>)[SafetensorsIndex.FileName, SingleFileName])
        {
            string candidate = System.IO.Path.Combine(directory, name);
            if (File.Exists(candidate))
            {
                return candidate;
            }
        }

        string[] files = Directory.GetFiles(directory, "*" + Extension);
        return files.Length switch
        {
            1 => files[0],
            0 => throw new ModelFormatException(
                directory, 0, $"the directory holds no {SafetensorsIndex.FileName} and no {Extension} file"),
            _ => throw new ModelFormatException(
                directory,
                0,
                $"the directory holds {files.Length} {Extension} files, and neither {SafetensorsIndex.FileName} nor "
                    + $"{SingleFileName}: name one of them"),
        };
    }

    [SuppressMessage(
        "Reliability", "CA2000", Justification = "The file belongs to the returned object, or is disposed.")]
    private static SafetensorsFile OpenSingle(string path, string filePath)
    {
        RandomAccessFile file = RandomAccessFile.Open(filePath);
        try
        {
            SafetensorsHeader header = SafetensorsHeader.Read(file);
            return new SafetensorsFile(path, [file], header.Tensors, header.Metadata);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    [SuppressMessage("Reliability", "CA2000", Justification = "The shards belong to the returned object, or are disposed.")]
    private static SafetensorsFile OpenShards(string path, string indexPath)
    {
        using RandomAccessFile index = RandomAccessFile.Open(indexPath);
        Dictionary<string, string> shardOf = SafetensorsIndex.Read(index);
        string directory = System.IO.Path.GetDirectoryName(indexPath) ?? string.Empty;

        var shards = new List<RandomAccessFile>();
        try
        {
            var tensors = new List<ModelTensor>();
            var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (string shardName in shardOf.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
            {
                string shardPath = System.IO.Path.Combine(directory, shardName);
                if (!File.Exists(shardPath))
                {
                    throw index.Fail(
                        0, $"the index names the shard '{BoundedJson.Shorten(shardName)}', which is not beside it");
                }

                RandomAccessFile shard = RandomAccessFile.Open(shardPath);
                shards.Add(shard);
                SafetensorsHeader header = SafetensorsHeader.Read(shard);

                // The index decides: a tensor that it puts elsewhere, or leaves out, is not part of the model.
                tensors.AddRange(header.Tensors.Where(tensor => shardOf.GetValueOrDefault(tensor.Name) == shardName));
                foreach ((string key, string value) in header.Metadata)
                {
                    metadata.TryAdd(key, value);
                }
            }

            if (tensors.Count != shardOf.Count)
            {
                IEnumerable<string> missing = shardOf.Keys.Except(tensors.Select(tensor => tensor.Name), StringComparer.Ordinal);
                string first = missing.Order(StringComparer.Ordinal).First();
                string shard = BoundedJson.Shorten(shardOf[first]);
                throw index.Fail(
                    0, $"the index puts tensor '{BoundedJson.Shorten(first)}' into '{shard}', which does not hold it");
            }

            return new SafetensorsFile(path, [.. shards], [.. tensors], metadata);
        }
        catch
        {
            shards.ForEach(shard => shard.Dispose());
            throw;
        }
    }
}
