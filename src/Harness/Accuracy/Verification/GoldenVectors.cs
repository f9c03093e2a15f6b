using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kernels.Harness.Accuracy.Verification;

/// <summary>What the reference computed when the golden file was written.</summary>
/// <param name="Id">The work: op, scheme, shape and features.</param>
/// <param name="Inputs">SHA-256 of the operands.</param>
/// <param name="Output">SHA-256 of the result. Every variant must give it where the bits are prescribed, the reference in any case.</param>
internal sealed record GoldenVector(string Id, string Inputs, string Output);

/// <summary>A golden file.</summary>
/// <param name="Schema">Always <c>kernels-golden</c>.</param>
/// <param name="SchemaVersion">Version of the file's format.</param>
/// <param name="Vectors">The vectors, ordered by id.</param>
internal sealed record GoldenFile(string Schema, int SchemaVersion, IReadOnlyList<GoldenVector> Vectors);

/// <summary>Generated serializer.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(GoldenFile))]
internal sealed partial class GoldenJsonContext : JsonSerializerContext;

/// <summary>The golden vectors that this program carries: results do not change from one version to the next unnoticed.</summary>
internal sealed class GoldenVectors
{
    private const string SchemaName = "kernels-golden";
    private const int CurrentVersion = 1;
    private const string ResourceName = "golden.json";

    private readonly Dictionary<string, GoldenVector> _vectors;

    private GoldenVectors(IEnumerable<GoldenVector> vectors) => _vectors = vectors.ToDictionary(vector => vector.Id);

    /// <summary>How many there are.</summary>
    public int Count => _vectors.Count;

    /// <summary>The vectors that were committed.</summary>
    public static GoldenVectors LoadCommitted()
    {
        using Stream? stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(ResourceName);
        if (stream is null)
            return new GoldenVectors([]);
        using var reader = new StreamReader(stream);
        return Parse(reader.ReadToEnd());
    }

    /// <summary>Reads the text of a golden file.</summary>
    public static GoldenVectors Parse(string text)
    {
        GoldenFile? file = JsonSerializer.Deserialize(text, GoldenJsonContext.Default.GoldenFile);
        return file is { Schema: SchemaName, SchemaVersion: CurrentVersion }
            ? new GoldenVectors(file.Vectors)
            : throw new JsonException($"This is not a golden file of version {CurrentVersion}.");
    }

    /// <summary>The text of a golden file.</summary>
    public static string Write(IEnumerable<GoldenVector> vectors) => JsonSerializer.Serialize(
        new GoldenFile(SchemaName, CurrentVersion, [.. vectors.OrderBy(vector => vector.Id, StringComparer.Ordinal)]),
        GoldenJsonContext.Default.GoldenFile) + "\n";

    /// <summary>Holds an outcome against its vector.</summary>
    /// <returns>What differs; null when nothing does.</returns>
    public string? Compare(VerifyCheck check, CheckOutcome outcome)
    {
        if (outcome.OutputHash is null)
            return null;
        if (!_vectors.TryGetValue(check.GoldenKey, out GoldenVector? vector))
            return "there is no golden vector for it";
        if (vector.Inputs != outcome.InputHash)
            return "its operands are not those of the golden vector: the generator changed";
        return vector.Output == outcome.OutputHash ? null : "the result differs from the golden vector";
    }
}
