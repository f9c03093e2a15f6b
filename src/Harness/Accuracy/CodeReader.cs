namespace Kernels.Harness.Accuracy;

/// <summary>Reads rows of 8- and 4-bit codes as integers.</summary>
internal static class CodeReader
{
    /// <summary>Widens a row of codes.</summary>
    /// <param name="type">S8, U8, S4, U4 or C4.</param>
    /// <param name="row">The bytes of the row.</param>
    /// <param name="codes">Receives as many codes as it has room for.</param>
    public static void Widen(ElementType type, ReadOnlySpan<byte> row, Span<int> codes)
    {
        switch (type)
        {
            case ElementType.S8:
                for (int i = 0; i < codes.Length; i++)
                    codes[i] = (sbyte)row[i];
                break;
            case ElementType.U8:
                for (int i = 0; i < codes.Length; i++)
                    codes[i] = row[i];
                break;
            case ElementType.U4 or ElementType.C4:
                for (int i = 0; i < codes.Length; i++)
                    codes[i] = Nibble(row, i);
                break;
            case ElementType.S4:
                for (int i = 0; i < codes.Length; i++)
                    codes[i] = (Nibble(row, i) ^ 8) - 8;
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a type of codes.");
        }
    }

    /// <summary>Narrows integers to a row of codes; the unused high nibble of an odd row is zero.</summary>
    public static void Narrow(ElementType type, ReadOnlySpan<int> codes, Span<byte> row)
    {
        if (type is ElementType.S8 or ElementType.U8)
        {
            for (int i = 0; i < codes.Length; i++)
                row[i] = unchecked((byte)codes[i]);
            return;
        }

        row[..((codes.Length + 1) / 2)].Clear();
        for (int i = 0; i < codes.Length; i++)
            row[i / 2] |= (byte)((codes[i] & 15) << (4 * (i % 2)));
    }

    private static int Nibble(ReadOnlySpan<byte> row, int index) => (row[index / 2] >> (4 * (index % 2))) & 15;
}
