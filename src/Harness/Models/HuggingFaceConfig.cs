using System.Text.Json;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>The config.json that Hugging Face puts beside safetensors files.</summary>
internal static class HuggingFaceConfig
{
    private const string FileName = "config.json";

    // Such files have a few kilobytes; label lists can make them larger.
    private const long MaxBytes = 16 * 1024 * 1024;

    /// <summary>Reads what the file in that folder tells; nothing if there is no such file.</summary>
    public static ModelFacts Read(string directory)
    {
        string path = Path.Combine(directory, FileName);
        if (!File.Exists(path))
        {
            return new ModelFacts();
        }

        using RandomAccessFile file = RandomAccessFile.Open(path);
        var facts = new ModelFacts();
        BoundedJson.ParseObject(file, 0, file.ReadAll(MaxBytes), (string name, ref Utf8JsonReader reader) =>
        {
            facts = name switch
            {
                "model_type" => facts with { Architecture = TextOrNull(ref reader) },
                "hidden_size" => facts with { Dim = CountOrNull(ref reader) },
                "intermediate_size" => facts with { HiddenDim = CountOrNull(ref reader) },
                "num_hidden_layers" => facts with { Layers = CountOrNull(ref reader) },
                "num_attention_heads" => facts with { Heads = CountOrNull(ref reader) },
                "num_key_value_heads" => facts with { KvHeads = CountOrNull(ref reader) },
                "vocab_size" => facts with { VocabularySize = CountOrNull(ref reader) },
                "max_position_embeddings" => facts with { ContextLength = CountOrNull(ref reader) },
                _ => facts,
            };
            reader.Skip();
        });
        return facts;
    }

    // Some models give a list, one for each layer, or null: then the file does not tell one number.
    private static long? CountOrNull(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long value) && value >= 0 ? value : null;

    private static string? TextOrNull(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
}
