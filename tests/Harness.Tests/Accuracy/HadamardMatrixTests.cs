using System.Numerics;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Tests.Accuracy;

/// <summary>Our matrices beside published ones. Matrices are equivalent when negating and permuting rows and columns turns one into the other;
/// that leaves the profile as it is: how often |sum over columns of h_a h_b h_c h_d| takes which value, over all sets of four rows. A different
/// profile proves another class; the same one is what is asserted where the construction is the same, up to transposition.</summary>
public class HadamardMatrixTests
{
    private const string Published = "quantized/hadamards.safetensors";

    // With C(n, 4) sets of rows, up to where the test takes a few seconds.
    private const int MaxOrder = 128;

    [DataFact(Published)]
    public void EveryPublishedOrderHasAMatrixButTwo()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.PathOf(Published));
        int[] missing = [.. file.Tensors.Select(tensor => int.Parse(tensor.Name)).Where(n => !Hadamard.IsSupported(n)).Order()];
        Assert.Equal([188, 236], missing);
    }

    // Orders whose published matrix bears the name of the construction that we use: Sylvester, Paley I of a prime, Paley II.
    [DataFact(Published)]
    public void MatricesOfTheSameConstructionHaveTheSameProfile()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.PathOf(Published));
        int compared = 0;
        foreach (int n in new[] { 4, 8, 12, 28, 36, 44, 60, 64, 68, 76, 84, 108, 124, 128 })
        {
            long[] own = ProfileOf(OwnRows(n));
            UInt128[] rows = PublishedRows(file, n);
            Assert.True(own.SequenceEqual(ProfileOf(rows)) || own.SequenceEqual(ProfileOf(Transposed(rows))), $"order {n}");
            compared++;
        }

        Assert.Equal(14, compared);
    }

    [DataFact(Published)]
    public void PublishedMatricesAreOrthogonalAsOursAre()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.PathOf(Published));
        foreach (int n in file.Tensors.Select(tensor => int.Parse(tensor.Name)).Where(n => n <= MaxOrder && n > 1))
        {
            foreach (UInt128[] rows in new[] { OwnRows(n), PublishedRows(file, n) })
            {
                for (int a = 0; a < n; a++)
                {
                    for (int b = 0; b < a; b++)
                        Assert.Equal(n / 2, Differences(rows[a] ^ rows[b]));
                }
            }
        }
    }

    private static int Differences(UInt128 bits) => (int)UInt128.PopCount(bits);

    // Entry i: how many sets of four rows have the absolute sum i.
    private static long[] ProfileOf(UInt128[] rows)
    {
        int n = rows.Length;
        var profile = new long[n + 1];
        var low = Array.ConvertAll(rows, row => (ulong)row);
        var high = Array.ConvertAll(rows, row => (ulong)(row >> 64));
        for (int a = 0; a < n; a++)
        {
            for (int b = a + 1; b < n; b++)
            {
                for (int c = b + 1; c < n; c++)
                {
                    ulong lowBits = low[a] ^ low[b] ^ low[c], highBits = high[a] ^ high[b] ^ high[c];
                    for (int d = c + 1; d < n; d++)
                        profile[Math.Abs(n - 2 * (BitOperations.PopCount(lowBits ^ low[d]) + BitOperations.PopCount(highBits ^ high[d])))]++;
                }
            }
        }

        return profile;
    }

    private static UInt128[] OwnRows(int n)
    {
        var matrix = new sbyte[n * n];
        Hadamard.Matrix(n, matrix);
        return ToRows(n, i => matrix[i] < 0);
    }

    private static UInt128[] PublishedRows(SafetensorsFile file, int n)
    {
        Assert.True(file.TryFind($"{n}", out ModelTensor? tensor));
        var bytes = new byte[n * n];
        tensor.ReadBytes(0, bytes);
        return ToRows(n, i => (sbyte)bytes[i] < 0);
    }

    private static UInt128[] ToRows(int n, Func<int, bool> isNegative)
    {
        var rows = new UInt128[n];
        for (int i = 0; i < n * n; i++)
        {
            if (isNegative(i))
                rows[i / n] |= UInt128.One << (i % n);
        }

        return rows;
    }

    private static UInt128[] Transposed(UInt128[] rows) => ToRows(rows.Length, i => (rows[i % rows.Length] >> (i / rows.Length) & 1) != 0);
}
