using System.Runtime.InteropServices;
using System.Text;
using Kernels.Harness.Formats;
using Kernels.Harness.Models;
using Kernels.Harness.Tests.Formats;

namespace Kernels.Harness.Tests.Models;

public sealed class ModelFileTests : IDisposable
{
    private const string Llama2c = "stories260K/stories260K.bin";
    private const string Gguf = "stories260K/stories260K.gguf";

    private static readonly (string File, string Name, long N, long K)[] s_tinyLlm =
    [
        ("q_proj.bin", "model.layers.0.self_attn.q_proj.weight", 192, 192),
        ("k_proj.bin", "model.layers.0.self_attn.k_proj.weight", 96, 192),
        ("v_proj.bin", "model.layers.0.self_attn.v_proj.weight", 96, 192),
        ("o_proj.bin", "model.layers.0.self_attn.o_proj.weight", 192, 192),
        ("gate_proj.bin", "model.layers.0.mlp.gate_proj.weight", 1024, 192),
        ("up_proj.bin", "model.layers.0.mlp.up_proj.weight", 1024, 192),
        ("down_proj.bin", "model.layers.0.mlp.down_proj.weight", 192, 1024),
    ];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [DataFact(Llama2c, Gguf)]
    public void TheSameModelHasTheSameLayersInEveryFormat()
    {
        using ModelFile llama2c = ModelFile.Open(TestData.PathOf(Llama2c));
        using ModelFile gguf = ModelFile.Open(TestData.PathOf(Gguf));
        Assert.Equal(ModelFormat.Llama2c, llama2c.Format);
        Assert.Equal(ModelFormat.Gguf, gguf.Format);

        // The conversion to GGUF wrote the context of the rotary base, but not the base, and the shared classifier a
        // second time.
        Assert.Equal(512, llama2c.Facts.ContextLength);
        Assert.Equal(2048, gguf.Facts.ContextLength);
        Assert.Equal(llama2c.Facts, gguf.Facts with { ContextLength = 512, RopeTheta = 10000 });
        var expected = new ModelFacts
        {
            Architecture = "llama",
            Dim = 64,
            HiddenDim = 172,
            Layers = 5,
            Heads = 8,
            KvHeads = 4,
            VocabularySize = 512,
            ContextLength = 512,
            HeadDim = 8,
            NormEpsilon = 1e-5f,
            RopeTheta = 10000,
        };
        Assert.Equal(expected, llama2c.Facts);

        Assert.Equal(35, llama2c.LinearLayers.Count);
        Assert.Equal(36, gguf.LinearLayers.Count);
        Assert.Single(gguf.LinearLayers, layer => layer is { Name: "output.weight", N: 512, K: 64 });
        (string InGguf, string InLlama2c, long N, long K)[] pairs =
        [
            ("attn_q", "attention.wq", 64, 64),
            ("attn_k", "attention.wk", 32, 64),
            ("attn_output", "attention.wo", 64, 64),
            ("ffn_gate", "feed_forward.w1", 172, 64),
            ("ffn_down", "feed_forward.w2", 64, 172),
        ];
        foreach ((string inGguf, string inLlama2c, long n, long k) in pairs)
        {
            LinearLayer first = Assert.Single(gguf.LinearLayers, layer => layer.Name == $"blk.3.{inGguf}.weight");
            LinearLayer second = Assert.Single(llama2c.LinearLayers, layer => layer.Name == $"layers.3.{inLlama2c}.weight");
            Assert.Equal((n, k), (first.N, first.K));
            Assert.Equal((n, k), (second.N, second.K));
            Assert.Equal(first.Load(), second.Load());
        }
    }

    [DataTheory(
        "tinyllm-layer0/q_proj.bin", "tinyllm-layer0/k_proj.bin", "tinyllm-layer0/v_proj.bin", "tinyllm-layer0/o_proj.bin",
        "tinyllm-layer0/gate_proj.bin", "tinyllm-layer0/up_proj.bin", "tinyllm-layer0/down_proj.bin", "tinyllm-layer0/norm1.bin",
        "tinyllm-layer0/norm2.bin", "tinyllm-layer0/config.json")]
    [InlineData(false)]
    [InlineData(true)]
    public void TinyLlmAsSafetensorsKeepsItsBits(bool asHalf)
    {
        var writer = new SafetensorsWriter();
        writer.AddMetadata("format", "pt");
        foreach ((string file, string name, long n, long k) in s_tinyLlm)
        {
            float[] values = ReadRaw(file);
            if (asHalf)
            {
                // The manifest says that the original was binary16; rounding to it is exact then.
                writer.Add(name, [n, k], Array.ConvertAll(values, value => (Half)value));
            }
            else
            {
                writer.Add(name, [n, k], values);
            }
        }

        writer.Add("model.layers.0.input_layernorm.weight", [192], ReadRaw("norm1.bin"));
        writer.Add("model.layers.0.post_attention_layernorm.weight", [192], ReadRaw("norm2.bin"));
        writer.Save(_folder.PathOf("model.safetensors"));
        File.WriteAllBytes(_folder.PathOf("config.json"), File.ReadAllBytes(TestData.PathOf("tinyllm-layer0/config.json")));

        using ModelFile model = ModelFile.Open(_folder.Path);
        Assert.Equal(ModelFormat.Safetensors, model.Format);
        var expected = new ModelFacts
        {
            Architecture = "llama",
            Dim = 192,
            HiddenDim = 1024,
            Layers = 1,
            Heads = 2,
            KvHeads = 1,
            VocabularySize = 32000,
            ContextLength = 1024,
            NormEpsilon = 1e-5f,
            IsTied = false,
        };
        Assert.Equal(expected, model.Facts);
        Assert.Equal(9, model.Tensors.Count);
        Assert.Equal(7, model.LinearLayers.Count);
        foreach ((string file, string name, long n, long k) in s_tinyLlm)
        {
            LinearLayer layer = Assert.Single(model.LinearLayers, layer => layer.Name == name);
            Assert.Equal((n, k, asHalf ? "F16" : "F32"), (layer.N, layer.K, layer.Type.Name));
            Assert.Equal(ReadRaw(file), layer.Load());
        }
    }

    [Fact]
    public void RowsCanBeReadInParts()
    {
        var writer = new SafetensorsWriter();
        writer.Add("lm_head.weight", [4, 3], Enumerable.Range(0, 12).Select(i => (float)i).ToArray());
        writer.Save(_folder.PathOf("model.safetensors"));
        using ModelFile model = ModelFile.Open(_folder.PathOf("model.safetensors"));
        LinearLayer layer = Assert.Single(model.LinearLayers);
        float[] rows = new float[6];
        layer.LoadRows(1, rows);
        Assert.Equal([3f, 4, 5, 6, 7, 8], rows);
        layer.LoadRows(4, []);
        Assert.Throws<ArgumentException>("destination", () => layer.LoadRows(3, rows));
        Assert.Throws<ArgumentException>("destination", () => layer.LoadRows(0, rows.AsSpan(1)));
        Assert.Throws<ArgumentOutOfRangeException>("firstRow", () => layer.LoadRows(-1, rows));
        Assert.Throws<ArgumentOutOfRangeException>("firstRow", () => layer.LoadRows(5, rows));

        model.Dispose();
        Assert.Throws<ObjectDisposedException>(() => layer.Load());
    }

    [Fact]
    public void LayersWithoutDecoderAreListedAndRefused()
    {
        byte[] content = new GgufBuilder().Tensor("blk.0.ffn_up.weight", 12, [256, 2], new byte[288]).Build();
        using ModelFile model = ModelFile.Open(_folder.Write("q4_k.gguf", content));
        LinearLayer layer = Assert.Single(model.LinearLayers);
        Assert.Equal((2, 256, "Q4_K", false), (layer.N, layer.K, layer.Type.Name, layer.CanLoad));
        Assert.Contains(
            "'blk.0.ffn_up.weight' has type Q4_K",
            Assert.Throws<ModelFormatException>(layer.Load).Reason,
            StringComparison.Ordinal);
    }

    [Fact]
    public void ContentDecidesOverTheExtension()
    {
        var builder = new Llama2cBuilder();
        byte[] safetensors = SafetensorsFileTests.Content("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4);
        (string Name, byte[] Content, ModelFormat Format)[] files =
        [
            ("gguf.bin", new GgufBuilder().Build(), ModelFormat.Gguf),
            ("gguf", new GgufBuilder().Build(), ModelFormat.Gguf),
            ("legacy.gguf", builder.Build(), ModelFormat.Llama2c),
            ("legacy", builder.Build(), ModelFormat.Llama2c),
            ("v2.safetensors", (builder with { Version = 2 }).Build(), ModelFormat.Llama2c),
            ("tensors.bin", safetensors, ModelFormat.Safetensors),
        ];
        foreach ((string name, byte[] content, ModelFormat format) in files)
        {
            using ModelFile model = ModelFile.Open(_folder.Write(name, content));
            Assert.Equal(format, model.Format);
        }
    }

    [Theory]
    [InlineData("x.pt", "PK\u0003\u0004 and more", "zip archive")]
    [InlineData("x.dat", "hello, this is text and no model at all", "neither safetensors, nor GGUF")]
    [InlineData("x.dat", "", "the file is empty")]
    [InlineData("x.gguf", "hello, this is text", "starts with 'GGUF'")]
    [InlineData("x.safetensors", "hello, this is text", "more than the 100000000")]
    [InlineData("x.bin", "short", "the file ends at byte 5")]
    public void UnknownContentIsRefusedWithAReason(string name, string content, string reason)
    {
        string path = _folder.Write(name, Encoding.Latin1.GetBytes(content));
        var refusal = Assert.Throws<ModelFormatException>(() => ModelFile.Open(path));
        Assert.Contains(reason, refusal.Reason, StringComparison.Ordinal);
        Assert.Equal(path, refusal.FilePath);
    }

    [Fact]
    public void ADamagedConfigIsNamed()
    {
        new SafetensorsWriter().Save(_folder.PathOf("model.safetensors"));
        string config = _folder.Write("config.json", "{\"hidden_size\": }"u8);
        Assert.Equal(config, Assert.Throws<ModelFormatException>(() => ModelFile.Open(_folder.Path)).FilePath);

        _folder.Write(
            "config.json", """{"hidden_size":"wide","num_key_value_heads":null,"num_hidden_layers":[1],"vocab_size":7}"""u8);
        using ModelFile model = ModelFile.Open(_folder.Path);
        Assert.Equal(new ModelFacts { VocabularySize = 7 }, model.Facts);
    }

    /// <summary>
    /// A file that is mostly a hole, larger than an array can be: only what is asked for is read.
    /// </summary>
    [SparseFileFact]
    public void AFileOfManyGigabytesIsNotLoaded()
    {
        const long Rows = 1 << 20;
        const long Columns = 4096;
        string entry = $"\"dtype\":\"F16\",\"shape\":[{Rows},{Columns}],\"data_offsets\":[0,{Rows * Columns * 2}]";
        byte[] header = SafetensorsFileTests.Content("{\"lm_head.weight\":{" + entry + "}}", 0);
        string path = _folder.Write("large.safetensors", header);
        using (FileStream stream = new(path, FileMode.Open, FileAccess.Write))
        {
            stream.SetLength(header.Length + Rows * Columns * 2);
            stream.Position = stream.Length - 2;
            stream.Write(MemoryMarshal.AsBytes([(Half)1.5f]));
        }

        using ModelFile model = ModelFile.Open(path);
        LinearLayer layer = Assert.Single(model.LinearLayers);
        Assert.Throws<InvalidOperationException>(() => layer.Load());
        float[] row = new float[Columns];
        layer.LoadRows(Rows - 1, row);
        Assert.Equal(1.5f, row[^1]);
        Assert.Equal(0f, row[^2]);
    }

    [AttributeUsage(AttributeTargets.Method)]
    private sealed class SparseFileFactAttribute : FactAttribute
    {
        public SparseFileFactAttribute()
        {
            Skip = OperatingSystem.IsWindows() ? "Windows would fill the hole in a file of 8 GB." : null!;
        }
    }

    private static float[] ReadRaw(string file) =>
        MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(TestData.PathOf("tinyllm-layer0/" + file))).ToArray();
}
