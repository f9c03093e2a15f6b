using System.Diagnostics;
using Kernels.Harness.Formats;
using Kernels.Harness.Models;

namespace Kernels.Harness.Tests.Formats;

/// <summary>
/// Small valid files are shortened in their heads and their data, and damaged in every byte of their heads. Whatever
/// comes of it, it is a <see cref="ModelFormatException"/> or a model whose tensors can all be read; never another
/// exception, a hang, or memory that the file could not fill.
/// </summary>
public sealed class MutationTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Names { get; } =
    [
        "a.gguf", "a.safetensors", "legacy.bin", "untied.bin", "version1.bin", "version2.bin",
        "model.safetensors.index.json", "config.json",
    ];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void ShortenedFilesAreRefused(string name)
    {
        (byte[] content, int headBytes) = Make(name);
        Assert.True(TryRead(name, content));
        int step = 1;
        for (int length = 0; length < content.Length; length += step)
        {
            Assert.False(
                TryRead(name, content.AsSpan(0, length)), $"{name} was accepted with {length} of {content.Length} bytes.");

            // Data is all the same; what is left of the head is not.
            step = length < headBytes || length > content.Length - 20 ? 1 : 7;
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void FilesThatGoOnAreRefused(string name)
    {
        (byte[] content, int _) = Make(name);
        Assert.False(TryRead(name, [.. content, 1]));
        Assert.False(TryRead(name, [.. content, .. new byte[100]]));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void DamagedHeadsAreReadOrRefused(string name)
    {
        (byte[] content, int headBytes) = Make(name);
        for (int at = 0; at < headBytes; at++)
        {
            byte right = content[at];
            int[] wrongBytes = [0, 0x7F, 0xFF, right ^ 0x80, right + 1, right - 1, '9', '"', '}'];
            foreach (int wrong in wrongBytes)
            {
                content[at] = (byte)wrong;
                TryRead(name, content);
            }

            content[at] = right;
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void RandomDamageIsReadOrRefused(string name)
    {
        // A fixed seed: a failure can be seen again.
        var random = new Random(20240229);
        (byte[] original, int headBytes) = Make(name);
        for (int round = 0; round < 500; round++)
        {
            byte[] content = [.. original];
            for (int i = random.Next(1, 9); i > 0; i--)
            {
                content[random.Next(headBytes)] = (byte)random.Next(256);
            }

            if (round % 4 == 0)
            {
                // Eight bytes of ones, as a length or count that is far too large.
                content.AsSpan(random.Next(Math.Max(headBytes - 8, 1)), 8).Fill(0xFF);
            }

            TryRead(name, content);
        }
    }

    /// <summary>True if the file could be read to the last tensor, false if it was refused as it should be.</summary>
    private bool TryRead(string name, ReadOnlySpan<byte> content)
    {
        string path = _folder.Write(name, content);
        string model = name == "config.json" ? _folder.Path : path;
        long allocatedBefore = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        bool isRead;
        try
        {
            using ModelFile file = ModelFile.Open(model);
            foreach (ModelTensor tensor in file.Tensors)
            {
                ReadAll(tensor);
            }

            isRead = true;
        }
        catch (ModelFormatException refusal)
        {
            Assert.InRange(
                refusal.Offset,
                0,
                Math.Max(content.Length, new FileInfo(refusal.FilePath) is { Exists: true } file ? file.Length : 0));
            Assert.False(string.IsNullOrWhiteSpace(refusal.Reason));
            isRead = false;
        }

        Assert.True(Stopwatch.GetElapsedTime(start) < s_patience, "It took too long.");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - allocatedBefore, 0, 4 * 1024 * 1024);
        return isRead;
    }

    private static void ReadAll(ModelTensor tensor)
    {
        try
        {
            tensor.ReadFloats();
        }
        catch (ModelFormatException) when (!tensor.Type.CanDecode)
        {
            tensor.ReadBytes(0, new byte[tensor.ByteCount]);
        }
    }

    private (byte[] Content, int HeadBytes) Make(string name)
    {
        switch (name)
        {
            case "a.gguf":
                byte[] gguf = MakeGguf();
                return (gguf, gguf.Length - 3 * 64);
            case "a.safetensors":
                byte[] safetensors = MakeSafetensors();
                return (safetensors, safetensors.Length - 28);
            case "model.safetensors.index.json":
                _folder.Write("shard.safetensors", MakeSafetensors());
                byte[] index = [.. """{"metadata":{"total_size":28},"weight_map":{"a":"shard.safetensors","b":"shard.safetensors"}}"""u8];
                return (index, index.Length);
            case "config.json":
                _folder.Write("model.safetensors", MakeSafetensors());
                byte[] config = [.. """{"model_type":"llama","hidden_size":64,"layers":[1,{"x":null}],"vocab_size":512}"""u8];
                return (config, config.Length);
            default:
                Llama2cBuilder builder = name switch
                {
                    "version1.bin" => new Llama2cBuilder { Version = 1 },
                    "version2.bin" => new Llama2cBuilder { Version = 2, SharedClassifier = false },
                    "untied.bin" => new Llama2cBuilder { SharedClassifier = false, Layers = 1 },
                    _ => new Llama2cBuilder { Layers = 1 },
                };
                return (builder.Build(), builder.Version == 0 ? 28 : 64);
        }
    }

    private static byte[] MakeSafetensors()
    {
        var writer = new SafetensorsWriter();
        writer.AddMetadata("format", "pt");
        writer.Add("a", [2, 3], new float[6]);
        writer.Add("b", [2], new Half[2]);
        using var stream = new MemoryStream();
        writer.WriteTo(stream);
        return stream.ToArray();
    }

    private static byte[] MakeGguf() => new GgufBuilder()
        .Pair("general.architecture", "llama")
        .Pair("general.alignment", 32)
        .Pair("nested", GgufValueType.Array, writer =>
        {
            writer.Write((uint)GgufValueType.Array);
            writer.Write(1UL);
            writer.Write((uint)GgufValueType.String);
            writer.Write(2UL);
            GgufBuilder.WriteString(writer, "x");
            GgufBuilder.WriteString(writer, "yz");
        })
        .Pair("flag", GgufValueType.Bool, writer => writer.Write(true))
        .Tensor("blk.0.attn_q.weight", 0, [4, 4], new byte[64])
        .Tensor("blk.0.attn_k.weight", 8, [32], new byte[34])
        .Tensor("output.weight", 1, [8, 4], new byte[64])
        .Build();
}
