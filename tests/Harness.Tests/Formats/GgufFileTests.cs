using Kernels.Harness.Formats;
using static Kernels.Harness.Tests.Formats.GgufBuilder;

namespace Kernels.Harness.Tests.Formats;

public sealed class GgufFileTests : IDisposable
{
    private const string Golden = "quantized/tinyllm-down-golden.gguf";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>
    /// The reference dequantization in the file is ggml's own: the same bits are expected, not nearly the same.
    /// </summary>
    [DataTheory(Golden)]
    [InlineData("down.f16", "F16")]
    [InlineData("down.bf16", "BF16")]
    [InlineData("down.q4_0", "Q4_0")]
    [InlineData("down.q8_0", "Q8_0")]
    public void DequantizesToTheBitsOfGgml(string name, string type)
    {
        using GgufFile file = GgufFile.Open(TestData.PathOf(Golden));
        ModelTensor quantized = Find(file, name);
        ModelTensor expected = Find(file, name + ".deq16");
        Assert.Equal(type, quantized.Type.Name);
        Assert.Equal([192L, 1024L], quantized.Shape);
        Assert.Equal([16L, 1024L], expected.Shape);

        float[] values = quantized.ReadFloats();
        AssertSameBits(expected.ReadFloats(), values.AsSpan(0, (int)expected.ElementCount));
    }

    [DataTheory(Golden)]
    [InlineData("q4_0")]
    [InlineData("q8_0")]
    [InlineData("bf16")]
    [InlineData("f16")]
    public void ErrorOfTheWholeTensorIsTheOneInTheMetadata(string name)
    {
        using GgufFile file = GgufFile.Open(TestData.PathOf(Golden));
        float[] original = Find(file, "down.F32").ReadFloats();
        float[] values = Find(file, "down." + name).ReadFloats();
        double error = original.Zip(values, (x, y) => ((double)x - y) * ((double)x - y)).Sum();
        double norm = original.Sum(x => (double)x * x);

        double expected = (float)file.Metadata["rel_rmse." + name].Value;
        Assert.Equal(expected, Math.Sqrt(error / norm), 1e-7);
    }

    [DataFact(Golden)]
    public void TypesWithoutDecoderAreListedAndRefused()
    {
        using GgufFile file = GgufFile.Open(TestData.PathOf(Golden));
        Assert.Equal(39, file.Tensors.Count);
        string[] types =
        [
            "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
            "IQ4_NL", "IQ4_XS", "IQ3_S", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4",
        ];
        foreach (string type in types)
        {
            ModelTensor tensor = Assert.Single(file.Tensors, tensor => tensor.Type.Name == type);
            Assert.Equal(192 * 1024 / tensor.Type.BlockElements * tensor.Type.BlockBytes, tensor.ByteCount);
            Assert.False(tensor.Type.CanDecode);
            var refusal = Assert.Throws<ModelFormatException>(() => tensor.ReadFloats());
            Assert.Contains(type, refusal.Message, StringComparison.Ordinal);
            Assert.Equal(tensor.FileOffset, refusal.Offset);
            tensor.ReadBytes(0, new byte[16]);
        }
    }

    [DataFact(Golden)]
    public void AnyPartOfABlockTensorReadsLikeTheWhole()
    {
        (int First, int Count)[] parts =
        [
            (0, 0), (0, 1), (31, 1), (31, 2), (5, 20), (17, 20000), (32, 64), (196607, 1), (196608, 0), (1000, 195608),
        ];
        using GgufFile file = GgufFile.Open(TestData.PathOf(Golden));
        foreach (string name in (string[])["down.q4_0", "down.q8_0", "down.f16", "down.bf16", "down.F32"])
        {
            ModelTensor tensor = Find(file, name);
            float[] whole = tensor.ReadFloats();
            foreach ((int first, int count) in parts)
            {
                float[] part = new float[count];
                tensor.ReadFloats(first, part);
                AssertSameBits(whole.AsSpan(first, count), part);
            }

            Assert.Throws<ArgumentOutOfRangeException>(() => tensor.ReadFloats(-1, new float[1]));
            Assert.Throws<ArgumentOutOfRangeException>(() => tensor.ReadFloats(196608, new float[1]));
            Assert.Throws<ArgumentOutOfRangeException>(() => tensor.ReadFloats(long.MaxValue, new float[1]));
        }
    }

    [DataFact(Golden)]
    public void BitsOf16BitTypesAreThoseOfTheFile()
    {
        using GgufFile file = GgufFile.Open(TestData.PathOf(Golden));
        ushort[] bits = new ushort[1000];
        Find(file, "down.bf16").ReadBits16(7, bits);
        float[] values = new float[1000];
        Find(file, "down.bf16").ReadFloats(7, values);
        Assert.Equal(values, bits.Select(word => BitConverter.UInt32BitsToSingle((uint)word << 16)));

        Find(file, "down.f16").ReadBits16(7, bits);
        Find(file, "down.f16").ReadFloats(7, values);
        Assert.Equal(values, bits.Select(word => (float)BitConverter.UInt16BitsToHalf(word)));
        Assert.Throws<ModelFormatException>(() => Find(file, "down.F32").ReadBits16(0, bits));
    }

    [Fact]
    public void ReadsEveryTypeOfMetadata()
    {
        byte[] content = new GgufBuilder { Version = 2 }
            .Pair("u8", GgufValueType.UInt8, writer => writer.Write((byte)200))
            .Pair("i8", GgufValueType.Int8, writer => writer.Write((sbyte)-3))
            .Pair("u16", GgufValueType.UInt16, writer => writer.Write((ushort)60000))
            .Pair("i16", GgufValueType.Int16, writer => writer.Write((short)-30000))
            .Pair("u32", 4000000000)
            .Pair("i32", GgufValueType.Int32, writer => writer.Write(-7))
            .Pair("f32", GgufValueType.Float32, writer => writer.Write(1.5f))
            .Pair("bool", GgufValueType.Bool, writer => writer.Write(true))
            .Pair("text", "gr\u00fc\u00df dich")
            .Pair("u64", GgufValueType.UInt64, writer => writer.Write(ulong.MaxValue))
            .Pair("i64", GgufValueType.Int64, writer => writer.Write(long.MinValue))
            .Pair("f64", GgufValueType.Float64, writer => writer.Write(Math.PI))
            .Pair(
                "floats",
                GgufValueType.Array,
                writer => WriteArray(writer, GgufValueType.Float32, 2, () => writer.Write(2.5f)))
            .Pair(
                "bools",
                GgufValueType.Array,
                writer => WriteArray(writer, GgufValueType.Bool, 3, () => writer.Write((byte)1)))
            .Pair(
                "texts",
                GgufValueType.Array,
                writer => WriteArray(writer, GgufValueType.String, 2, () => WriteString(writer, "ab")))
            .Pair(
                "nested",
                GgufValueType.Array,
                writer => WriteArray(
                    writer, GgufValueType.Array, 2, () => WriteArray(writer, GgufValueType.Int32, 3, () => writer.Write(9))))
            .Pair("empty", GgufValueType.Array, writer => WriteArray(writer, GgufValueType.String, 0, () => { }))
            .Build();
        using GgufFile file = GgufFile.Open(_folder.Write("all.gguf", content));

        Assert.Equal(2u, file.Version);
        Assert.Empty(file.Tensors);
        object[] expected =
        [
            (byte)200, (sbyte)-3, (ushort)60000, (short)-30000, 4000000000u, -7, 1.5f, true,
            "gr\u00fc\u00df dich", ulong.MaxValue, long.MinValue, Math.PI,
        ];
        Assert.Equal(expected, file.Metadata.Values.Take(expected.Length).Select(value => value.Value));
        Assert.Equal(new[] { 2.5f, 2.5f }, Items(file, "floats"));
        Assert.Equal(new[] { true, true, true }, Items(file, "bools"));
        Assert.Equal(new[] { "ab", "ab" }, Items(file, "texts"));
        Assert.Empty(Items(file, "empty"));
        GgufArray[] nested = Assert.IsType<GgufArray[]>(Items(file, "nested"));
        Assert.All(nested, inner => Assert.Equal(new[] { 9, 9, 9 }, inner.Items));

        Assert.True(file.Metadata["u32"].TryGetInteger(out long integer));
        Assert.Equal(4000000000, integer);
        Assert.False(file.Metadata["u64"].TryGetInteger(out _));
        Assert.False(file.Metadata["text"].TryGetInteger(out _));
    }

    [Fact]
    public void DimensionsAreReversedAndAlignmentIsKept()
    {
        byte[] content = new GgufBuilder { Alignment = 128 }
            .Pair("general.alignment", 128)
            .Tensor("a", 0, [3, 2], Floats(1, 2, 3, 4, 5, 6))
            .Tensor("scalar", 0, [], Floats(7))
            .Build();
        using GgufFile file = GgufFile.Open(_folder.Write("aligned.gguf", content));
        Assert.Equal(128, file.Alignment);
        Assert.Equal([2L, 3L], file.Tensors[0].Shape);
        Assert.Equal([1f, 2, 3, 4, 5, 6], file.Tensors[0].ReadFloats());
        Assert.Empty(file.Tensors[1].Shape);
        Assert.Equal([7f], file.Tensors[1].ReadFloats());
        Assert.All(file.Tensors, tensor => Assert.Equal(0, tensor.FileOffset % 128));
    }

    [Fact]
    public void ATypeThatIsNewIsListed()
    {
        byte[] content = new GgufBuilder().Tensor("new", 77, [32], new byte[20]).Tensor("known", 0, [1], Floats(1)).Build();
        using GgufFile file = GgufFile.Open(_folder.Write("new.gguf", content));
        Assert.Equal("GGML_TYPE_77", file.Tensors[0].Type.Name);
        Assert.Throws<ModelFormatException>(() => file.Tensors[0].ReadFloats());
        Assert.Equal([1f], file.Tensors[1].ReadFloats());
    }

    public static TheoryData<string, byte[]> BadFiles()
    {
        byte[] row = Floats(new float[8]);
        GgufBuilder One(long[] dimensions, ulong? offset = null, uint type = 0) =>
            new GgufBuilder().Tensor("w", type, dimensions, row, offset);
        byte[] Lying(GgufValueType elements, ulong count) =>
            Value(GgufValueType.Array, writer => WriteArray(writer, elements, count, () => { }, write: 0)).Build();
        GgufBuilder Value(GgufValueType type, Action<BinaryWriter> write) => new GgufBuilder().Pair("k", type, write);
        var data = new TheoryData<string, byte[]>
        {
            { "starts with 'GGUF'", [.. "GGUX"u8, .. new byte[60]] },
            { "file ends at byte 0", [] },
            { "version 1", new GgufBuilder { Version = 1 }.Build() },
            { "version 4", new GgufBuilder { Version = 4 }.Build() },
            { "big-endian", new GgufBuilder { Version = 3u << 24 }.Build() },
            { "must follow", One([8]).Build(tensorCount: ulong.MaxValue) },
            { "must follow", One([8]).Build(pairCount: 1UL << 40) },
            { "must follow", Lying(GgufValueType.UInt8, 1UL << 62) },
            { "must follow", Lying(GgufValueType.String, 1UL << 31) },
            { "must follow", Lying(GgufValueType.Array, 1UL << 61) },
            { "a string claims", Value(GgufValueType.String, writer => writer.Write(ulong.MaxValue)).Build() },
            { "not valid UTF-8", Value(GgufValueType.String, writer => writer.Write([2, 0, 0, 0, 0, 0, 0, 0, 0xC3, 0x28])).Build() },
            { "is not the type", Value((GgufValueType)13, writer => writer.Write(0UL)).Build() },
            { "a boolean has the value 2", Value(GgufValueType.Bool, writer => writer.Write((byte)2)).Build() },
            { "nested more than", Value(GgufValueType.Array, writer => WriteNested(writer, 5000)).Build() },
            { "comes twice", new GgufBuilder().Pair("k", 1).Pair("k", 1).Build() },
            { "comes twice", One([8]).Tensor("w", 0, [8], row).Build() },
            { "general.alignment", new GgufBuilder().Pair("general.alignment", 0).Build() },
            { "general.alignment", new GgufBuilder().Pair("general.alignment", 24).Build() },
            { "general.alignment", new GgufBuilder().Pair("general.alignment", "32").Build() },
            { "claims 5 dimensions", One([1, 1, 1, 1, 8]).Build() },
            { "overflows", One([long.MaxValue, 2]).Build() },
            { "overflows", One([1L << 40, 1L << 40, 0]).Build() },
            { "negative", One([-8]).Build() },
            { "whole blocks of 32", One([8], type: 8).Build() },
            { "not inside", One([9]).Build() },
            { "not inside", One([1L << 60]).Build() },
            { "not inside", One([8], offset: 1UL << 63).Build() },
            { "not inside", One([8], offset: ulong.MaxValue - 31).Build() },
            { "not a multiple of 32", One([4], offset: 4).Build() },
            { "overlaps", One([8]).Tensor("v", 0, [8], row, offset: 0).Build() },
            { "goes on to byte", [.. One([8]).Build(), 0] },
        };
        return data;
    }

    [Theory]
    [MemberData(nameof(BadFiles))]
    public void BadFileIsRefusedWithAReason(string reason, byte[] content)
    {
        string path = _folder.Write("bad.gguf", content);
        var refusal = Assert.Throws<ModelFormatException>(() => GgufFile.Open(path));
        Assert.Contains(reason, refusal.Reason, StringComparison.Ordinal);
        Assert.Equal(path, refusal.FilePath);
        Assert.InRange(refusal.Offset, 0, content.Length);
        Assert.Equal($"{path}: byte {refusal.Offset}: {refusal.Reason}.", refusal.Message);
    }

    internal static byte[] Floats(params float[] values)
    {
        byte[] bytes = new byte[values.Length * sizeof(float)];
        Buffer.BlockCopy(values, 0, bytes, 0, bytes.Length);
        return bytes;
    }

    private static void WriteArray(BinaryWriter writer, GgufValueType type, ulong count, Action item, int? write = null)
    {
        writer.Write((uint)type);
        writer.Write(count);
        for (int i = 0; i < (write ?? (int)count); i++)
        {
            item();
        }
    }

    private static void WriteNested(BinaryWriter writer, int depth)
    {
        for (int i = 0; i < depth; i++)
        {
            writer.Write((uint)GgufValueType.Array);
            writer.Write(1UL);
        }
    }

    private static Array Items(GgufFile file, string key) => Assert.IsType<GgufArray>(file.Metadata[key].Value).Items;

    private static ModelTensor Find(GgufFile file, string name)
    {
        Assert.True(file.TryFind(name, out ModelTensor? tensor));
        return tensor;
    }

    private static void AssertSameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
            {
                Assert.Fail($"Element {i} is {actual[i]:R}, and {expected[i]:R} is expected.");
            }
        }
    }
}
