using System.Text;
using Kernels.Harness.Cases;
using Kernels.Harness.Peers;

namespace Kernels.Harness.Tests.Peers;

/// <summary>What is written is decoded again here, by the rules of the wire format and nothing of the writer.</summary>
public sealed class OnnxModelTests
{
    private static readonly long[] s_integers = [0, 1, 127, 128, 300, int.MaxValue, long.MaxValue, -1];

    [Theory]
    [InlineData(0, "0800")]
    [InlineData(1, "0801")]
    [InlineData(300, "08AC02")]
    [InlineData(-1, "08FFFFFFFFFFFFFFFFFF01")]
    public void IntegersHaveTheBytesOfTheFormat(long value, string hex) =>
        Assert.Equal(hex, Convert.ToHexString(new ProtobufWriter().Integer(1, value).ToArray()));

    [Fact]
    public void TextAndMessagesHaveTheBytesOfTheFormat()
    {
        Assert.Equal("120774657374696E67", Convert.ToHexString(new ProtobufWriter().Text(2, "testing").ToArray()));
        Assert.Equal("1A03089601", Convert.ToHexString(new ProtobufWriter().Message(3, new ProtobufWriter().Integer(1, 150)).ToArray()));
    }

    [Fact]
    public void EveryFieldIsReadBack()
    {
        var writer = new ProtobufWriter();
        foreach (long value in s_integers)
            writer.Integer(20, value);
        byte[] blob = [.. Enumerable.Range(0, 1000).Select(i => (byte)i)];
        writer.Bytes(9, blob).Text(300, "name");
        Field[] fields = Decode(writer.ToArray());
        Assert.Equal(s_integers, fields[..s_integers.Length].Select(f => (long)f.Value));
        Assert.All(fields[..s_integers.Length], f => Assert.Equal(20, f.Number));
        Assert.Equal((9, Convert.ToHexString(blob)), (fields[^2].Number, Convert.ToHexString(fields[^2].Bytes)));
        Assert.Equal((300, "name"), (fields[^1].Number, Encoding.UTF8.GetString(fields[^1].Bytes)));
    }

    [Fact]
    public void AModelHasItsNodeConstantsAndShapes()
    {
        var model = new OnnxModel(
            "MatMulNBits", "com.microsoft", OnnxType.F32, OnnxType.F32, [("K", 64), ("bits", 4)],
            [new OnnxConstant("B", OnnxType.U8, [3, 2, 16], new byte[96]), OnnxConstant.Of("scales", [3, 2], [1, 2, 3, 4, 5, 6])]);
        Field[] fields = Decode(model.Serialize(m: 5, n: 3, k: 64));
        Assert.Equal(8ul, One(fields, 1).Value);
        Field[][] opsets = [.. fields.Where(f => f.Number == 8).Select(f => Decode(f.Bytes))];
        Assert.Equal([("", 17ul), ("com.microsoft", 1ul)], opsets.Select(o => (TextOf(One(o, 1)), One(o, 2).Value)));

        Field[] graph = Decode(One(fields, 7).Bytes);
        Field[] node = Decode(One(graph, 1).Bytes);
        Assert.Equal(["X", "B", "scales"], node.Where(f => f.Number == 1).Select(TextOf));
        Assert.Equal(("Y", "MatMulNBits", "com.microsoft"), (TextOf(One(node, 2)), TextOf(One(node, 4)), TextOf(One(node, 7))));
        Assert.Equal(
            [("K", 64ul, 2ul), ("bits", 4ul, 2ul)],
            node.Where(f => f.Number == 5).Select(f => Decode(f.Bytes)).Select(a => (TextOf(One(a, 1)), One(a, 3).Value, One(a, 20).Value)));

        Field[][] constants = [.. graph.Where(f => f.Number == 5).Select(f => Decode(f.Bytes))];
        Assert.Equal([3ul, 2ul, 16ul], constants[0].Where(f => f.Number == 1).Select(f => f.Value));
        Assert.Equal((2ul, "B", 96), (One(constants[0], 2).Value, TextOf(One(constants[0], 8)), One(constants[0], 9).Bytes.Length));
        Assert.Equal(1ul, One(constants[1], 2).Value);
        Assert.Equal(6f, BitConverter.ToSingle(One(constants[1], 9).Bytes.AsSpan(20)));

        foreach ((int number, string name, ulong[] shape) in new[] { (11, "X", new[] { 5ul, 64ul }), (12, "Y", [5ul, 3ul]) })
        {
            Field[] value = Decode(One(graph, number).Bytes);
            Field[] tensor = Decode(One(Decode(One(value, 2).Bytes), 1).Bytes);
            Assert.Equal((name, 1ul), (TextOf(One(value, 1)), One(tensor, 1).Value));
            Assert.Equal(shape, Decode(One(tensor, 2).Bytes).Select(dim => One(Decode(dim.Bytes), 1).Value));
        }
    }

    [Fact]
    public void AttentionTakesItsCacheInAndGivesItBack()
    {
        var spec = new AttentionSpec(AttentionScheme.Parse("decode-kv8"), 8, 2, 64, 100, 1, Batch: 2);
        Field[] graph = Decode(One(Decode(OrtAttentionCall.Model(spec).Serialize()), 7).Bytes);
        Field[] node = Decode(One(graph, 1).Bytes);
        Assert.Equal(
            ["query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length"], node.Where(f => f.Number == 1).Select(TextOf));
        Assert.Equal(["output", "present_key", "present_value"], node.Where(f => f.Number == 2).Select(TextOf));
        Assert.Equal(
            [("num_heads", 8ul), ("kv_num_heads", 2ul)],
            node.Where(f => f.Number == 5).Select(f => Decode(f.Bytes)).Select(a => (TextOf(One(a, 1)), One(a, 3).Value)));
        foreach (int number in new[] { 11, 12 })
        {
            Field[][] values = [.. graph.Where(f => f.Number == number).Select(f => Decode(f.Bytes))];
            Field[] cache = Decode(One(Decode(One(values[^1], 2).Bytes), 1).Bytes);
            Assert.Equal([2ul, 2ul, 100ul, 64ul], Decode(One(cache, 2).Bytes).Select(dim => One(Decode(dim.Bytes), 1).Value));
        }

        // Lengths of the sequences: 100, and 45 of the shorter one; what is told is the last token's number.
        Field[] last = Decode(graph.First(f => f.Number == 5).Bytes);
        Assert.Equal("63000000" + "2C000000", Convert.ToHexString(One(last, 9).Bytes));
    }

    private readonly record struct Field(int Number, ulong Value, byte[] Bytes);

    private static Field One(Field[] fields, int number) => Assert.Single(fields, f => f.Number == number);

    private static string TextOf(Field field) => Encoding.UTF8.GetString(field.Bytes);

    private static Field[] Decode(byte[] message)
    {
        var fields = new List<Field>();
        int at = 0;
        while (at < message.Length)
        {
            ulong tag = Varint();
            ulong value = Varint();
            switch (tag & 7)
            {
                case 0:
                    fields.Add(new Field((int)(tag >> 3), value, []));
                    break;
                case 2:
                    fields.Add(new Field((int)(tag >> 3), value, message[at..(at + (int)value)]));
                    at += (int)value;
                    break;
                default:
                    Assert.Fail($"encoding {tag & 7}");
                    break;
            }
        }

        return [.. fields];

        ulong Varint()
        {
            ulong value = 0;
            for (int shift = 0; ; shift += 7)
            {
                byte next = message[at++];
                value |= (ulong)(next & 0x7F) << shift;
                if (next < 0x80)
                    return value;
            }
        }
    }
}
