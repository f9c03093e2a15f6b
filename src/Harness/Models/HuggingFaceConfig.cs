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
                "head_dim" => facts with { HeadDim = CountOrNull(ref reader) },
                "rms_norm_eps" => facts with { NormEpsilon = (float?)NumberOrNull(ref reader) },
                "rope_theta" => facts with { RopeTheta = NumberOrNull(ref reader) },
                "tie_word_embeddings" => facts with { IsTied = FlagOrNull(ref reader) },
                "rope_scaling" or "rope_parameters" => ReadRope(facts, ref reader),
                "vocab_size" => facts with { VocabularySize = CountOrNull(ref reader) },
                "max_position_embeddings" => facts with { ContextLength = CountOrNull(ref reader) },
                _ => facts,
            };
            reader.Skip();
        });
        return facts;
    }

    // Older files have the base beside this object, newer ones in it. A type of "default" changes nothing.
    private static ModelFacts ReadRope(ModelFacts facts, ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return facts;
        }

        var scaling = new RopeScalingFacts("default", null, null, null, null);
        double? theta = facts.RopeTheta;
        BoundedJson.ReadObject(ref reader, (string name, ref Utf8JsonReader value) =>
        {
            scaling = name switch
            {
                "rope_type" or "type" => scaling with { Type = TextOrNull(ref value) ?? scaling.Type },
                "factor" => scaling with { Factor = NumberOrNull(ref value) },
                "low_freq_factor" => scaling with { LowFreqFactor = NumberOrNull(ref value) },
                "high_freq_factor" => scaling with { HighFreqFactor = NumberOrNull(ref value) },
                "original_max_position_embeddings" => scaling with { OriginalContext = CountOrNull(ref value) },
                _ => scaling,
            };
            theta = name == "rope_theta" ? NumberOrNull(ref value) : theta;
            value.Skip();
        });
        return facts with { RopeTheta = theta, RopeScaling = scaling.Type == "default" ? null : scaling };
    }

    private static bool? FlagOrNull(ref Utf8JsonReader reader) =>
        reader.TokenType is JsonTokenType.True or JsonTokenType.False ? reader.GetBoolean() : null;

    private static double? NumberOrNull(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out double value) ? value : null;

    // Some models give a list, one for each layer, or null: then the file does not tell one number.
    private static long? CountOrNull(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long value) && value >= 0 ? value : null;

    private static string? TextOrNull(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
}
