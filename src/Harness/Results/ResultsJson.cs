using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kernels.Harness.Results;

/// <summary>Reads and writes results files.</summary>
internal static class ResultsJson
{
    /// <summary>What <see cref="RunResult.Schema"/> says in every file.</summary>
    public const string SchemaName = "kernels-results";

    // A run of every case of every variant is about 2 MB; nothing honest comes near this.
    private const long MaxFileBytes = 256L << 20;

    /// <summary>The file's text.</summary>
    public static string Serialize(RunResult result) =>
        JsonSerializer.Serialize(result, ResultsJsonContext.Default.RunResult) + "\n";

    /// <summary>Reads a file's text.</summary>
    /// <exception cref="ResultsFormatException">It is not a results file of a version that this program reads.</exception>
    public static RunResult Deserialize(string text, string source)
    {
        RunResult? result;
        try
        {
            result = JsonSerializer.Deserialize(text, ResultsJsonContext.Default.RunResult);
        }
        catch (JsonException exception)
        {
            throw new ResultsFormatException(
                $"{source}: line {(exception.LineNumber ?? 0) + 1}: this is not a results file: {FirstSentence(exception.Message)}");
        }

        if (result is null || result.Schema != SchemaName)
            throw new ResultsFormatException($"{source}: this is not a results file: 'schema' is not \"{SchemaName}\".");
        if (result.SchemaVersion is < RunResult.OldestSchemaVersion or > RunResult.CurrentSchemaVersion)
        {
            throw new ResultsFormatException(
                $"{source}: the file has version {result.SchemaVersion} of the schema, this program reads versions {RunResult.OldestSchemaVersion} to {RunResult.CurrentSchemaVersion}.");
        }

        return result;
    }

    /// <summary>Writes a file whole or not at all.</summary>
    public static void Save(RunResult result, string path) => TextFiles.Write(path, Serialize(result));

    /// <summary>Reads a file.</summary>
    /// <exception cref="ResultsFormatException">It cannot be read, or is not a results file.</exception>
    public static RunResult Load(string path)
    {
        try
        {
            if (new FileInfo(path).Length > MaxFileBytes)
                throw new ResultsFormatException($"{path}: the file is larger than {MaxFileBytes >> 20} MiB, which no results file is.");
            return Deserialize(File.ReadAllText(path), path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResultsFormatException($"{path}: the file cannot be read: {exception.Message}");
        }
    }

    private static string FirstSentence(string message)
    {
        int end = message.IndexOf(". ", StringComparison.Ordinal);
        return end < 0 ? message : message[..(end + 1)];
    }
}

/// <summary>A file that should hold results does not.</summary>
internal sealed class ResultsFormatException(string message) : Exception(message);

/// <summary>Generated serializers: snake_case, nulls left in so that every case has the same fields.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(RunResult))]
internal sealed partial class ResultsJsonContext : JsonSerializerContext;
