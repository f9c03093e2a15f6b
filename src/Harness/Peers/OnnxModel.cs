using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>Types of elements in ONNX's numbering (TensorProto.DataType), which is also that of ONNX Runtime's C interface for these.</summary>
internal enum OnnxType
{
    /// <summary>binary32.</summary>
    F32 = 1,

    /// <summary>Unsigned 8-bit integer.</summary>
    U8 = 2,

    /// <summary>8-bit integer.</summary>
    S8 = 3,

    /// <summary>32-bit integer.</summary>
    S32 = 6,
}

/// <summary>A constant of a model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Type of its elements.</param>
/// <param name="Dims">Sizes.</param>
/// <param name="Data">Elements, little-endian.</param>
internal sealed record OnnxConstant(string Name, OnnxType Type, long[] Dims, ReadOnlyMemory<byte> Data)
{
    /// <summary>A constant of f32.</summary>
    public static OnnxConstant Of(string name, long[] dims, float[] values) =>
        new(name, OnnxType.F32, dims, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
}

/// <summary>An input or an output of a model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Type of its elements.</param>
/// <param name="Dims">Sizes.</param>
internal sealed record OnnxTensor(string Name, OnnxType Type, long[] Dims);

/// <summary>A model of one node Y = op(X, constants...), as ONNX writes it.</summary>
/// <param name="Op">Such as "MatMulNBits".</param>
/// <param name="Domain">The op's domain; empty for ONNX's own.</param>
/// <param name="Input">Type of X.</param>
/// <param name="Output">Type of Y.</param>
/// <param name="Attributes">Integer attributes.</param>
/// <param name="Constants">The other inputs in order.</param>
internal sealed record OnnxModel(
    string Op, string Domain, OnnxType Input, OnnxType Output, IReadOnlyList<(string Name, long Value)> Attributes,
    IReadOnlyList<OnnxConstant> Constants)
{
    /// <summary>Name of the input and of the output.</summary>
    public const string InputName = "X", OutputName = "Y";

    /// <summary>The file for X of M x K and Y of M x N.</summary>
    public byte[] Serialize(long m, long n, long k) =>
        new OnnxNode(Op, Domain, [new OnnxTensor(InputName, Input, [m, k])], [new OnnxTensor(OutputName, Output, [m, n])], Attributes, Constants).Serialize();
}

/// <summary>A model of one node with any number of inputs and outputs.</summary>
/// <param name="Op">Such as "GroupQueryAttention".</param>
/// <param name="Domain">The op's domain; empty for ONNX's own.</param>
/// <param name="Inputs">The first inputs in order.</param>
/// <param name="Outputs">The outputs in order.</param>
/// <param name="Attributes">Integer attributes.</param>
/// <param name="Constants">The inputs behind them.</param>
internal sealed record OnnxNode(
    string Op, string Domain, IReadOnlyList<OnnxTensor> Inputs, IReadOnlyList<OnnxTensor> Outputs,
    IReadOnlyList<(string Name, long Value)> Attributes, IReadOnlyList<OnnxConstant> Constants)
{
    // The first version of the format whose opset 17 has all ops used here in today's form; every runtime since 2022 reads it.
    private const int IrVersion = 8, OpsetVersion = 17;

    // Numbers of fields in onnx.proto.
    private const int ModelIrVersion = 1, ModelGraph = 7, ModelOpset = 8, OpsetDomain = 1, OpsetNumber = 2;
    private const int GraphNode = 1, GraphName = 2, GraphInitializer = 5, GraphInput = 11, GraphOutput = 12;
    private const int NodeInput = 1, NodeOutput = 2, NodeName = 3, NodeOpType = 4, NodeAttribute = 5, NodeDomain = 7;
    private const int AttributeName = 1, AttributeInteger = 3, AttributeType = 20, AttributeTypeInteger = 2;
    private const int TensorDims = 1, TensorType = 2, TensorName = 8, TensorRawData = 9;
    private const int ValueName = 1, ValueType = 2, TypeTensor = 1, TypeElement = 1, TypeShape = 2, ShapeDim = 1, DimValue = 1;

    /// <summary>The file.</summary>
    public byte[] Serialize()
    {
        ProtobufWriter graph = new ProtobufWriter().Message(GraphNode, Node()).Text(GraphName, "node");
        foreach (OnnxConstant constant in Constants)
            graph.Message(GraphInitializer, Tensor(constant));
        foreach (OnnxTensor input in Inputs)
            graph.Message(GraphInput, Value(input));
        foreach (OnnxTensor output in Outputs)
            graph.Message(GraphOutput, Value(output));
        ProtobufWriter model = new ProtobufWriter().Integer(ModelIrVersion, IrVersion).Message(ModelGraph, graph)
            .Message(ModelOpset, new ProtobufWriter().Text(OpsetDomain, "").Integer(OpsetNumber, OpsetVersion));
        if (Domain.Length > 0)
            model.Message(ModelOpset, new ProtobufWriter().Text(OpsetDomain, Domain).Integer(OpsetNumber, 1));
        return model.ToArray();
    }

    private ProtobufWriter Node()
    {
        var node = new ProtobufWriter();
        foreach (string input in Inputs.Select(tensor => tensor.Name).Concat(Constants.Select(constant => constant.Name)))
            node.Text(NodeInput, input);
        foreach (OnnxTensor output in Outputs)
            node.Text(NodeOutput, output.Name);
        node.Text(NodeName, "node").Text(NodeOpType, Op);
        foreach ((string name, long value) in Attributes)
        {
            node.Message(NodeAttribute, new ProtobufWriter().Text(AttributeName, name).Integer(AttributeInteger, value)
                .Integer(AttributeType, AttributeTypeInteger));
        }

        return node.Text(NodeDomain, Domain);
    }

    private static ProtobufWriter Tensor(OnnxConstant constant)
    {
        var tensor = new ProtobufWriter();
        foreach (long size in constant.Dims)
            tensor.Integer(TensorDims, size);
        return tensor.Integer(TensorType, (int)constant.Type).Text(TensorName, constant.Name).Bytes(TensorRawData, constant.Data.Span);
    }

    private static ProtobufWriter Value(OnnxTensor value)
    {
        var shape = new ProtobufWriter();
        foreach (long size in value.Dims)
            shape.Message(ShapeDim, new ProtobufWriter().Integer(DimValue, size));
        ProtobufWriter tensor = new ProtobufWriter().Integer(TypeElement, (int)value.Type).Message(TypeShape, shape);
        return new ProtobufWriter().Text(ValueName, value.Name).Message(ValueType, new ProtobufWriter().Message(TypeTensor, tensor));
    }
}
