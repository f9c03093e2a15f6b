using System.Text.Json;

namespace Kernels.Harness.Formats;

/// <summary>model.safetensors.index.json: which shard holds which tensor.</summary>
internal static class SafetensorsIndex
{
    public const string FileName = "model.safetensors.index.json";

    /// <summary>Reads the index: from tensor name to the name of its shard, which is a plain file name.</summary>
    public static Dictionary<string, string> Read(RandomAccessFile file)
    {
        byte[] json = file.ReadAll(SafetensorsHeader.MaxHeaderBytes);
        Dictionary<string, string>? shards = null;
        BoundedJson.ParseObject(file, 0, json, (string name, ref Utf8JsonReader reader) =>
        {
            if (name != "weight_map")
            {
                reader.Skip();
                return;
            }

            shards = new Dictionary<string, string>(StringComparer.Ordinal);
            BoundedJson.ReadObject(ref reader, (string tensor, ref Utf8JsonReader value) =>
            {
                string shard = BoundedJson.ReadString(ref value);
                if (!IsPlainFileName(shard))
                {
                    throw file.Fail(
                        value.TokenStartIndex, $"'{BoundedJson.Shorten(shard)}' is not the name of a file beside the index");
                }

                shards.Add(tensor, shard);
            });
        });
        return shards ?? throw file.Fail(0, "the index has no weight_map");
    }

    /// <summary>An index that came from somewhere must not reach outside its own folder.</summary>
    private static bool IsPlainFileName(string name) =>
        name.Length > 0 && name is not ("." or "..") && name.AsSpan().IndexOfAny("/\\:\0") < 0;
}
