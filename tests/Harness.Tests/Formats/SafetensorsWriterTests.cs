using System.Text;
using Kernels.Harness.Formats;

namespace Kernels.Harness.Tests.Formats;

public sealed class SafetensorsWriterTests
{
    [Fact]
    public void BytesDependOnTheContentAlone()
    {
        var first = new SafetensorsWriter();
        first.Add("a", [2], new[] { 1f, 2f });
        first.Add("b", [1], new byte[] { 9 });
        first.AddMetadata("x", "1");
        first.AddMetadata("y", "2");
        var second = new SafetensorsWriter();
        second.AddMetadata("y", "2");
        second.AddMetadata("x", "1");
        second.Add("b", TensorType.U8, [1], stream => stream.WriteByte(9));
        second.Add("a", [2], new[] { 1f, 2f });

        byte[] bytes = Write(first);
        Assert.Equal(bytes, Write(second));

        const string Header = """{"__metadata__":{"x":"1","y":"2"},"a":"""
            + """{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":"""
            + """{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}""";
        int padded = (Header.Length + 7) / 8 * 8;
        Assert.Equal(padded, BitConverter.ToInt64(bytes));
        Assert.Equal(Header.PadRight(padded), Encoding.UTF8.GetString(bytes, 8, padded));
        Assert.Equal([0, 0, 128, 63, 0, 0, 0, 64, 9], bytes[(8 + padded)..]);
    }

    [Fact]
    public void NoTensorsAreAValidFile()
    {
        Assert.Equal([8, 0, 0, 0, 0, 0, 0, 0, .. "{}      "u8], Write(new SafetensorsWriter()));
    }

    [Fact]
    public void WhatCannotBeWrittenIsRefused()
    {
        var writer = new SafetensorsWriter();
        writer.Add("a", [1], new[] { 1f });
        Assert.Throws<ArgumentException>("name", () => writer.Add("a", [1], new[] { 1f }));
        Assert.Throws<ArgumentException>("name", () => writer.Add("__metadata__", [1], new[] { 1f }));
        Assert.Throws<ArgumentException>("name", () => writer.Add("\ud800", [1], new[] { 1f }));
        Assert.Throws<ArgumentException>("shape", () => writer.Add("b", [2], new[] { 1f }));
        Assert.Throws<ArgumentException>("shape", () => writer.Add("b", [-1], new[] { 1f }));
        Assert.Throws<ArgumentException>("shape", () => writer.Add("b", TensorType.F32, [long.MaxValue], stream => { }));
        Assert.Throws<ArgumentException>("type", () => writer.Add("b", TensorType.Q8_0, [32], stream => { }));
        Assert.Throws<ArgumentException>("key", () => writer.AddMetadata("\udc00", "x"));
        Assert.Throws<ArgumentNullException>("value", () => writer.AddMetadata("x", null!));
    }

    [Fact]
    public void AFileThatCouldNotBeFinishedLeavesNothing()
    {
        using var folder = new TemporaryFolder();
        var writer = new SafetensorsWriter();
        writer.Add("a", TensorType.U8, [2], stream => stream.WriteByte(9));
        Assert.Throws<InvalidOperationException>(() => writer.Save(folder.PathOf("model.safetensors")));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    private static byte[] Write(SafetensorsWriter writer)
    {
        using var stream = new MemoryStream();
        writer.WriteTo(stream);
        return stream.ToArray();
    }
}
