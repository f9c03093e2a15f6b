using Kernels.Native;

namespace Kernels;

/// <summary>The memory of a call of krn_gemm.</summary>
internal readonly unsafe struct GemmRegions
{
    private const string Output = "output.Data";
    private const string WorkspaceName = "workspace";

    private readonly Region _data;
    private readonly Region _scales;
    private readonly Region _zeroPoints;
    private readonly Region _bias;
    private readonly Region _residual;
    private readonly Region _a;
    private readonly Region _b;
    private readonly Region _result;
    private readonly Region _workspace;
    private readonly bool _residualIsOutput;

    public GemmRegions(in krn_activations x, in krn_gemm_output y, in krn_gemm_options options, in Region workspace, long m, WeightsShape shape)
    {
        var type = (ElementType)x.type;
        var outputType = (ElementType)y.type;
        _data = new Region(x.data, m, Bytes(type, shape.K), Bytes(type, x.ld));
        _scales = new Region(x.scales, m * sizeof(float));
        _zeroPoints = new Region(x.zero_points, m * sizeof(int));
        _bias = new Region(y.bias, shape.N * sizeof(float));
        _residual = new Region(y.residual, m, Bytes(outputType, shape.N), Bytes(outputType, y.residual_ld));
        _result = new Region(y.data, m, Bytes(outputType, shape.N), Bytes(outputType, y.ld));
        _workspace = workspace;
        _residualIsOutput = y.residual == y.data && y.residual_ld == y.ld;
        if (options.lora == null)
            return;
        krn_lora lora = *options.lora;
        var loraType = (ElementType)lora.type;
        _a = new Region(lora.a, lora.rank, Bytes(loraType, shape.K), Bytes(loraType, lora.a_ld));
        _b = new Region(lora.b, shape.N, Bytes(loraType, lora.rank), Bytes(loraType, lora.b_ld));
    }

    /// <summary>What is written shares no byte with anything else, but for a residual that is the output.</summary>
    public void CheckOverlap()
    {
        CheckInputs(_result, Output);
        if (!_residualIsOutput)
            Guard.Disjoint(_result, _residual, Output, "output.Residual");

        Guard.Disjoint(_workspace, _result, WorkspaceName, Output);
        CheckInputs(_workspace, WorkspaceName);
        Guard.Disjoint(_workspace, _residual, WorkspaceName, "output.Residual");
    }

    /// <summary>Bytes of a row. The leading dimension of a single row may be anything, so an overflow is no error.</summary>
    private static long Bytes(ElementType type, long elements) =>
        type.Bits() == 4 ? (elements / 2) + (elements % 2) : unchecked(elements * (type.Bits() / 8));

    private void CheckInputs(in Region written, string name)
    {
        Guard.Disjoint(written, _data, name, "activations");
        Guard.Disjoint(written, _scales, name, "activations.Scales");
        Guard.Disjoint(written, _zeroPoints, name, "activations.ZeroPoints");
        Guard.Disjoint(written, _bias, name, "output.Bias");
        Guard.Disjoint(written, _a, name, "options.Lora.A");
        Guard.Disjoint(written, _b, name, "options.Lora.B");
    }
}
