using System.Text;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Tests.Formats;

public sealed class SafetensorsFileTests : IDisposable
{
    private const string Hadamards = "quantized/hadamards.safetensors";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [DataFact(Hadamards)]
    public void ListsIntegerMatrices()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.PathOf(Hadamards));
        Assert.Equal(66, file.Tensors.Count);
        Assert.Equal("had.224.pal", file.Metadata["224"]);
        foreach (ModelTensor tensor in file.Tensors)
        {
            Assert.Same(TensorType.I8, tensor.Type);
            Assert.Equal(tensor.Name, tensor.Shape[0].ToString(System.Globalization.CultureInfo.InvariantCulture));
            Assert.Equal(tensor.Shape[0], tensor.Shape[1]);
            byte[] bytes = new byte[tensor.ByteCount];
            tensor.ReadBytes(0, bytes);
            Assert.DoesNotContain(bytes, value => (sbyte)value is not (1 or -1));
            Assert.Contains(
                "I8", Assert.Throws<ModelFormatException>(() => tensor.ReadFloats()).Reason, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void WhatTheWriterWroteIsReadBack()
    {
        float[] floats = [0, -0f, float.NaN, float.PositiveInfinity, float.Epsilon, 3.25f];
        Half[] halfs = [(Half)1.5f, Half.MaxValue, Half.Epsilon];
        ushort[] bfloats = [0x3f80, 0xc000, 0x0001];
        var writer = new SafetensorsWriter();
        writer.Add("bytes", [3], new byte[] { 1, 2, 255 });
        writer.Add("signed", [1, 2], new sbyte[] { -128, 127 });
        writer.Add("halfs", [3], halfs);
        writer.AddBFloat16("bfloats", [3, 1], bfloats);
        writer.Add("floats", [2, 3], floats);
        writer.Add("ints", [2], new[] { int.MinValue, 7 });
        writer.Add("nothing", [4, 0], Array.Empty<float>());
        writer.Add("scalar", [], new[] { 42f });
        writer.AddMetadata("format", "pt");
        writer.AddMetadata("\u00e9", "\"quoted\"\n");
        string path = _folder.PathOf("model.safetensors");
        writer.Save(path);
        Assert.Equal([path], Directory.GetFiles(_folder.Path));

        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.Equal(["floats", "ints", "nothing", "scalar", "bfloats", "halfs", "bytes", "signed"], Names(file));
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal("\"quoted\"\n", file.Metadata["\u00e9"]);
        Assert.Equal(floats, Find(file, "floats").ReadFloats());
        Assert.Equal(halfs.Select(half => (float)half), Find(file, "halfs").ReadFloats());
        Assert.Equal([1f, -2f, BitConverter.UInt32BitsToSingle(0x10000)], Find(file, "bfloats").ReadFloats());
        ushort[] bits = new ushort[2];
        Find(file, "bfloats").ReadBits16(1, bits);
        Assert.Equal(bfloats[1..], bits);
        Assert.Empty(Find(file, "nothing").ReadFloats());
        Assert.Equal([42f], Find(file, "scalar").ReadFloats());
        byte[] signed = new byte[2];
        Find(file, "signed").ReadBytes(0, signed);
        Assert.Equal([128, 127], signed);
        Assert.All(file.Tensors, tensor => Assert.Equal(0, tensor.FileOffset % tensor.Type.BlockBytes));
        Assert.Equal(0, file.Tensors[0].FileOffset % 8);
    }

    [Fact]
    public void ShardsAreReadThroughTheIndex()
    {
        WriteShard("model-1.safetensors", ("a", 1f), ("unused", 5f));
        WriteShard("model-2.safetensors", ("b", 2f), ("a", 9f));
        const string Index = """{"metadata":{"total_size":8},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}""";
        string index = _folder.Write("model.safetensors.index.json", Encoding.UTF8.GetBytes(Index));
        foreach (string path in (string[])[_folder.Path, index])
        {
            using SafetensorsFile file = SafetensorsFile.Open(path);
            Assert.Equal(["a", "b"], Names(file));
            Assert.Equal([1f], Find(file, "a").ReadFloats());
            Assert.Equal([2f], Find(file, "b").ReadFloats());
            Assert.EndsWith("model-2.safetensors", Find(file, "b").FilePath, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("""{"weight_map":{"a":"../model-1.safetensors"}}""", "not the name of a file beside")]
    [InlineData("""{"weight_map":{"a":"..\\model-1.safetensors"}}""", "not the name of a file beside")]
    [InlineData("""{"weight_map":{"a":"/etc/passwd"}}""", "not the name of a file beside")]
    [InlineData("""{"weight_map":{"a":".."}}""", "not the name of a file beside")]
    [InlineData("""{"weight_map":{"a":""}}""", "not the name of a file beside")]
    [InlineData("""{"weight_map":{"a":"model-1.safetensors\u0000"}}""", "not the name of a file beside")]
    [InlineData("""{"weight_map":{"a":"model-3.safetensors"}}""", "is not beside it")]
    [InlineData("""{"weight_map":{"a":"model-1.safetensors","b":"model-1.safetensors"}}""", "does not hold it")]
    [InlineData("""{"weight_map":{"a":"model-1.safetensors","a":"model-1.safetensors"}}""", "comes twice")]
    [InlineData("""{"weight_map":{"a":1}}""", "a string is expected")]
    [InlineData("""{"weight_map":[]}""", "an object is expected")]
    [InlineData("""{"metadata":{}}""", "no weight_map")]
    [InlineData("""{"weight_map":{}""", "malformed")]
    [InlineData("", "malformed")]
    public void BadIndexIsRefusedWithAReason(string index, string reason)
    {
        WriteShard("model-1.safetensors", ("a", 1f));
        string path = _folder.Write("model.safetensors.index.json", Encoding.UTF8.GetBytes(index));
        var refusal = Assert.Throws<ModelFormatException>(() => SafetensorsFile.Open(_folder.Path));
        Assert.Contains(reason, refusal.Reason, StringComparison.Ordinal);
        Assert.Equal(path, refusal.FilePath);
        Assert.InRange(refusal.Offset, 0, index.Length);
    }

    [Fact]
    public void DirectoryTellsWhatItLacks()
    {
        Assert.Contains(
            "holds no",
            Assert.Throws<ModelFormatException>(() => SafetensorsFile.Open(_folder.Path)).Reason,
            StringComparison.Ordinal);
        WriteShard("x.safetensors", ("a", 1f));
        using (SafetensorsFile file = SafetensorsFile.Open(_folder.Path))
        {
            Assert.Equal(["a"], Names(file));
        }

        WriteShard("y.safetensors", ("a", 1f));
        Assert.Contains(
            "name one of them",
            Assert.Throws<ModelFormatException>(() => SafetensorsFile.Open(_folder.Path)).Reason,
            StringComparison.Ordinal);
        WriteShard("model.safetensors", ("b", 1f));
        using SafetensorsFile model = SafetensorsFile.Open(_folder.Path);
        Assert.Equal(["b"], Names(model));
    }

    [Fact]
    public void OddButValidHeadersAreRead()
    {
        // Padding, a field that is new, an unaligned tensor, a dtype that is new, tensors out of order.
        const string Header = """
            {"f":{"dtype":"F32","shape":[1],"data_offsets":[3,7],"later":{"x":[1]}},"q":{"dtype":"F3","shape":[9,9],"data_offsets":[0,3]}}
            """;
        using SafetensorsFile file = SafetensorsFile.Open(_folder.Write("odd.safetensors", Content(Header + "   \n", 7)));
        Assert.Equal(["q", "f"], Names(file));
        Assert.Equal("F3", file.Tensors[0].Type.Name);
        Assert.False(file.Tensors[0].Type.CanDecode);
        Assert.Equal([0f], file.Tensors[1].ReadFloats());
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "does not take the 4 bytes")]
    [InlineData("""{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}""", 1, "does not take the 1 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}""", 4, "are not inside")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "are not inside")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775807]}}""", 4, "are not inside")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775808]}}""", 4, "an integer from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "an integer from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4, "an integer from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}""", 4, "malformed")]
    [InlineData("""{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}""", 4, "an integer from 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}""", 4, "overflows")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}""", 0, "overflows")]
    [InlineData("""{"a":{"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]}}""", 8, "does not take")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "leaves a gap")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "overlaps")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 5, "the file goes on")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "comes twice")]
    [InlineData("""{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}""", 4, "comes twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1]}}""", 4, "must have dtype")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "must have dtype")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "at most 2")]
    [InlineData("""{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}""", 4, "a string is expected")]
    [InlineData("""{"a":[]}""", 0, "an object is expected")]
    [InlineData("""{"__metadata__":{"x":1}}""", 0, "a string is expected")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "an escape that is not a character")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} x""", 4, "malformed")]
    [InlineData("""{"a":{"x":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}}""", 0, "malformed")]
    [InlineData("""{"a":{""", 0, "malformed")]
    [InlineData("""[]""", 0, "starts with '{'")]
    [InlineData("", 0, "starts with '{'")]
    public void LyingHeaderIsRefusedWithAReason(string header, int dataBytes, string reason)
    {
        byte[] content = Content(header, dataBytes);
        string path = _folder.Write("bad.safetensors", content);
        var refusal = Assert.Throws<ModelFormatException>(() => SafetensorsFile.Open(path));
        Assert.Contains(reason, refusal.Reason, StringComparison.Ordinal);
        Assert.Equal(path, refusal.FilePath);
        Assert.InRange(refusal.Offset, 0, content.Length);
    }

    [Theory]
    [InlineData(100_000_001UL, "more than the 100000000")]
    [InlineData(ulong.MaxValue, "more than the 100000000")]
    [InlineData(3UL, "the file ends at byte 10")]
    public void HeaderLengthIsChecked(ulong length, string reason)
    {
        string path = _folder.Write("bad.safetensors", [.. BitConverter.GetBytes(length), .. "{}"u8]);
        Assert.Contains(
            reason, Assert.Throws<ModelFormatException>(() => SafetensorsFile.Open(path)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void InvalidUtf8IsRefused()
    {
        byte[] content = Content("""{"a~":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4);
        content[Array.IndexOf(content, (byte)'~')] = 0xFF;
        string path = _folder.Write("bad.safetensors", content);
        Assert.Contains(
            "UTF-8", Assert.Throws<ModelFormatException>(() => SafetensorsFile.Open(path)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void FileThatIsShortenedAfterwardsIsNoticed()
    {
        string path = _folder.Write(
            "model.safetensors", Content("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8));
        using SafetensorsFile file = SafetensorsFile.Open(path);
        using (FileStream stream = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            stream.SetLength(stream.Length - 2);
        }

        Assert.Contains(
            "became shorter",
            Assert.Throws<ModelFormatException>(() => file.Tensors[0].ReadFloats()).Reason,
            StringComparison.Ordinal);
    }

    [Fact]
    public void MissingFileIsNotAFormatError()
    {
        Assert.Throws<FileNotFoundException>(() => SafetensorsFile.Open(_folder.PathOf("absent.safetensors")));
    }

    internal static byte[] Content(string header, int dataBytes)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return [.. BitConverter.GetBytes((long)json.Length), .. json, .. new byte[dataBytes]];
    }

    private static IEnumerable<string> Names(SafetensorsFile file) => file.Tensors.Select(tensor => tensor.Name);

    private static ModelTensor Find(SafetensorsFile file, string name)
    {
        Assert.True(file.TryFind(name, out ModelTensor? tensor));
        return tensor;
    }

    private void WriteShard(string name, params (string Name, float Value)[] tensors)
    {
        var writer = new SafetensorsWriter();
        foreach ((string tensor, float value) in tensors)
        {
            writer.Add(tensor, [1], new[] { value });
        }

        writer.Save(_folder.PathOf(name));
    }
}
