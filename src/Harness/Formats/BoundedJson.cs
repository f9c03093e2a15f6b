using System.Text.Json;
using System.Text.Unicode;

namespace Kernels.Harness.Formats;

/// <summary>
/// Parses one JSON object of a file. A handler walks it; whatever a JSON reader may throw becomes a
/// <see cref="ModelFormatException"/>.
/// </summary>
internal static class BoundedJson
{
    /// <summary>
    /// Handles one property of an object; the reader stands on the first token of its value and is left on the last.
    /// </summary>
    public delegate void PropertyHandler(string name, ref Utf8JsonReader reader);

    private static readonly JsonReaderOptions s_options = new() { MaxDepth = 16 };

    /// <summary>
    /// Parses <paramref name="json"/>, which must be one object and nothing more than white space after it.
    /// </summary>
    public static void ParseObject(RandomAccessFile file, long offset, ReadOnlySpan<byte> json, PropertyHandler handler)
    {
        if (!Utf8.IsValid(json))
        {
            throw file.Fail(offset, "the JSON text is not valid UTF-8");
        }

        var reader = new Utf8JsonReader(json, s_options);
        try
        {
            reader.Read();
            ReadObject(ref reader, handler);
            reader.Read();
        }
        catch (JsonException fault)
        {
            // Its own message counts bytes in a line, or says it twice: the offset below is enough.
            throw file.Fail(
                offset + reader.BytesConsumed,
                "the JSON text is malformed, or not what this file must hold: " + FirstClause(fault),
                fault);
        }
        catch (InvalidOperationException fault)
        {
            // Half of a surrogate pair, written as an escape: valid JSON that no string can hold.
            throw file.Fail(offset + reader.TokenStartIndex, "the JSON text holds an escape that is not a character", fault);
        }
    }

    /// <summary>Walks the object that the reader stands on; a name that comes twice is an error.</summary>
    public static void ReadObject(ref Utf8JsonReader reader, PropertyHandler handler)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException("an object is expected here");
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (!names.Add(name))
            {
                throw new JsonException($"the name '{Shorten(name)}' comes twice");
            }

            reader.Read();
            handler(name, ref reader);
        }
    }

    /// <summary>The string that the reader stands on.</summary>
    public static string ReadString(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.String
            ? reader.GetString()!
            : throw new JsonException("a string is expected here");

    /// <summary>The integer, zero or more, that the reader stands on.</summary>
    public static long ReadCount(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long value) && value >= 0
            ? value
            : throw new JsonException("an integer from 0 to 2^63 - 1 is expected here");

    /// <summary>The array of such integers that the reader stands on.</summary>
    public static long[] ReadCounts(ref Utf8JsonReader reader, int maximumLength)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException("an array of integers is expected here");
        }

        var values = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (values.Count == maximumLength)
            {
                throw new JsonException($"an array of at most {maximumLength} integers is expected here");
            }

            values.Add(ReadCount(ref reader));
        }

        return [.. values];
    }

    /// <summary>A name out of a hostile file, short enough for a message.</summary>
    public static string Shorten(string name) => name.Length <= 100 ? name : name[..100] + "...";

    private static string FirstClause(JsonException fault)
    {
        int end = fault.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        return (end < 0 ? fault.Message : fault.Message[..end]).TrimEnd('.');
    }
}
