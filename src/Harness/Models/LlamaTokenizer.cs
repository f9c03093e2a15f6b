using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>
/// The tokenizer of Llama 1 and 2, a byte pair encoding of SentencePiece: text is cut into characters, and of all
/// neighbours whose concatenation is a piece of the vocabulary those with the highest score are joined, the leftmost
/// of equals, until there are none. A character that is no piece becomes its UTF-8 bytes, which have pieces of their
/// own.
/// </summary>
internal sealed class LlamaTokenizer
{
    private const int FirstOrdinaryToken = 3;
    private const long MaxFileBytes = 64 * 1024 * 1024;
    private const int MaxPieceBytes = 1024;

    // In GGUF, and in SentencePiece, a space is written so.
    private const char Space = '\u2581';

    private readonly Dictionary<string, int> _tokens = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    // Token 0, unknown, for a byte without a piece.
    private readonly int[] _byteTokens = new int[256];
    private readonly float[] _scores;

    // Pieces hold a char for each byte of UTF-8, so that any bytes can be looked up.
    private LlamaTokenizer(IReadOnlyList<string> pieces, float[] scores, Func<int, bool> isOrdinary, int beginToken)
    {
        _scores = scores;
        BeginToken = beginToken;
        for (int token = 0; token < pieces.Count; token++)
        {
            if (TryParseByte(pieces[token], out byte value))
            {
                _byteTokens[value] = token;
            }
            else if (isOrdinary(token))
            {
                _tokens.TryAdd(pieces[token], token);
            }
        }

        _lookup = _tokens.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>The token that a sequence begins with.</summary>
    public int BeginToken { get; }

    /// <summary>Tokens in the vocabulary.</summary>
    public int VocabularySize => _scores.Length;

    /// <summary>Reads a tokenizer as llama2.c writes it: the length of the longest piece, then for each token its
    /// score (f32), its length in bytes (i32) and its bytes. Token 0 is unknown, 1 begins a sequence, 2 ends
    /// it.</summary>
    /// <exception cref="ModelFormatException">The content is not valid.</exception>
    public static LlamaTokenizer Open(string path)
    {
        using RandomAccessFile file = RandomAccessFile.Open(path);
        ReadOnlySpan<byte> content = file.ReadAll(MaxFileBytes);
        var pieces = new List<string>();
        var scores = new List<float>();
        int at = sizeof(int);
        while (at < content.Length)
        {
            if (content.Length - at < 2 * sizeof(int))
            {
                throw file.Fail(at, "the tokenizer ends within a token");
            }

            float score = BinaryPrimitives.ReadSingleLittleEndian(content[at..]);
            int length = BinaryPrimitives.ReadInt32LittleEndian(content[(at + sizeof(float))..]);
            int start = at + 2 * sizeof(int);
            if (length < 0 || length > MaxPieceBytes || length > content.Length - start || !float.IsFinite(score))
            {
                throw file.Fail(at, $"token {pieces.Count} has {length} bytes and score {score}, which no tokenizer has here");
            }

            pieces.Add(Encoding.Latin1.GetString(content.Slice(start, length)));
            scores.Add(score);
            at = start + length;
        }

        return pieces.Count > FirstOrdinaryToken
            ? new LlamaTokenizer(pieces, [.. scores], token => token >= FirstOrdinaryToken, beginToken: 1)
            : throw file.Fail(0, $"a tokenizer with {pieces.Count} tokens is none");
    }

    /// <summary>The tokenizer inside a GGUF file.</summary>
    /// <exception cref="ModelFormatException">There is none, or it is of another kind.</exception>
    public static LlamaTokenizer Of(GgufFile file)
    {
        string? kind = null;
        file.Metadata.GetValueOrDefault("tokenizer.ggml.model")?.TryGetString(out kind);
        if (kind != "llama")
        {
            throw new ModelFormatException(file.Path, 0, $"the tokenizer is {BoundedJson.Shorten(kind ?? "not there")}, and only 'llama' is read here");
        }

        string[] pieces = Items<string>("tokens");
        float[] scores = Items<float>("scores");
        int[] types = Items<int>("token_type");
        if (scores.Length != pieces.Length || types.Length != pieces.Length || pieces.Length == 0)
        {
            throw new ModelFormatException(file.Path, 0, $"the tokenizer has {pieces.Length} tokens, {scores.Length} scores and {types.Length} types");
        }

        long begin = 1;
        file.Metadata.GetValueOrDefault("tokenizer.ggml.bos_token_id")?.TryGetInteger(out begin);
        if (begin < 0 || begin >= pieces.Length)
        {
            throw new ModelFormatException(file.Path, 0, $"sequences begin with token {begin}, and there are {pieces.Length}");
        }

        // The types are those of SentencePiece: 1 is an ordinary piece, 4 one that a user defined.
        return new LlamaTokenizer(
            [.. pieces.Select(piece => Bytes(piece.Replace(Space, ' ')))], scores, token => types[token] is 1 or 4, (int)begin);

        T[] Items<T>(string key) => file.Metadata.GetValueOrDefault($"tokenizer.ggml.{key}")?.Value is GgufArray { Items: T[] items }
            ? items
            : throw new ModelFormatException(file.Path, 0, $"the tokenizer has no '{key}'");
    }

    /// <summary>The tokens of a text, without the one that begins a sequence.</summary>
    public int[] Encode(string text)
    {
        if (text.Length == 0)
        {
            return [];
        }

        // A word begins with a space, the first one too.
        string bytes = Bytes(" " + text);
        Symbol[] symbols = Cut(bytes);
        Join(bytes, symbols);
        var tokens = new List<int>();
        for (int i = 0; i >= 0; i = symbols[i].Next)
        {
            ReadOnlySpan<char> piece = bytes.AsSpan(symbols[i].Start, symbols[i].Length);
            if (_lookup.TryGetValue(piece, out int token))
            {
                tokens.Add(token);
                continue;
            }

            foreach (char value in piece)
            {
                tokens.Add(_byteTokens[value]);
            }
        }

        return [.. tokens];
    }

    private static string Bytes(string text) => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text));

    private static bool TryParseByte(string piece, out byte value)
    {
        value = 0;
        return piece.Length == 6 && piece.StartsWith("<0x", StringComparison.Ordinal) && piece[5] == '>'
            && byte.TryParse(piece.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    // The characters, as a list whose members know their neighbours.
    private static Symbol[] Cut(string bytes)
    {
        var symbols = new List<Symbol>(bytes.Length);
        for (int start = 0; start < bytes.Length;)
        {
            int length = 1;
            // Bytes 10xxxxxx go on with a character.
            while (start + length < bytes.Length && (bytes[start + length] & 0xC0) == 0x80)
            {
                length++;
            }

            symbols.Add(new Symbol(start, length, symbols.Count - 1, symbols.Count + 1));
            start += length;
        }

        symbols[^1] = symbols[^1] with { Next = -1 };
        return [.. symbols];
    }

    private void Join(string bytes, Symbol[] symbols)
    {
        var candidates = new PriorityQueue<(int Left, int Right, int Length), (float Score, int Left)>(
            Comparer<(float Score, int Left)>.Create((a, b) => a.Score != b.Score ? b.Score.CompareTo(a.Score) : a.Left.CompareTo(b.Left)));
        for (int i = 0; i < symbols.Length; i++)
        {
            Propose(i, symbols[i].Next);
        }

        while (candidates.TryDequeue(out (int Left, int Right, int Length) pair, out _))
        {
            (Symbol left, Symbol right) = (symbols[pair.Left], symbols[pair.Right]);
            // One of them may have been joined with another since, and is longer or gone.
            if (left.Next != pair.Right || left.Length == 0 || left.Length + right.Length != pair.Length)
            {
                continue;
            }

            symbols[pair.Left] = left with { Length = pair.Length, Next = right.Next };
            symbols[pair.Right] = right with { Length = 0 };
            if (right.Next >= 0)
            {
                symbols[right.Next] = symbols[right.Next] with { Previous = pair.Left };
            }

            Propose(left.Previous, pair.Left);
            Propose(pair.Left, right.Next);
        }

        void Propose(int left, int right)
        {
            if (left < 0 || right < 0)
            {
                return;
            }

            int length = symbols[left].Length + symbols[right].Length;
            if (_lookup.TryGetValue(bytes.AsSpan(symbols[left].Start, length), out int token))
            {
                candidates.Enqueue((left, right, length), (_scores[token], left));
            }
        }
    }

    // A run of bytes; its neighbours, -1 for none.
    private readonly record struct Symbol(int Start, int Length, int Previous, int Next);
}
