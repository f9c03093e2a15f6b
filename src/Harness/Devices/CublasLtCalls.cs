using System.Globalization;
using System.Runtime.InteropServices;

namespace Kernels.Harness.Devices;

/// <summary>A product by cuBLASLt on rotated random operands.</summary>
internal sealed class CublasLtCalls : ICudaCalls
{
    private const ulong Seed = 29;

    private readonly CublasLt _library;
    private readonly CublasLtType _type;
    private readonly CublasLtFormat _format;
    private readonly MatrixShape _shape;
    private readonly CublasLtPlan _plan;
    private readonly CudaBuffer<byte> _workspace;
    private readonly List<(CudaBuffer<byte> W, CudaBuffer<byte> X, CudaBuffer<byte> Y)> _operands = [];

    public CublasLtCalls(CublasLt library, CudaContext context, CublasLtType type, MatrixShape shape, CublasLtPlan plan, int rotations)
    {
        _library = library;
        _type = type;
        _format = CublasLtFormat.Of(type);
        _shape = shape;
        _plan = plan;
        _workspace = new CudaBuffer<byte>(context, CublasLt.WorkspaceBytes);
        try
        {
            for (int i = 0; i < rotations; i++)
            {
                _operands.Add((
                    Operand(context, shape.N * shape.K, Seed), Operand(context, shape.M * shape.K, Seed + 1),
                    DeviceMemory.Zeros<byte>(context, shape.M * shape.N * _format.OutputBytes)));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What is not like our call.</summary>
    public string Note => _type switch
    {
        CublasLtType.Bf16 => "weights and activations in bf16",
        CublasLtType.F16 => "weights and activations in f16",
        _ => "s8 codes to s32 sums, without scales",
    };

    /// <inheritdoc/>
    public void Call(int rotation, CudaStream stream)
    {
        (CudaBuffer<byte> w, CudaBuffer<byte> x, CudaBuffer<byte> y) = _operands[rotation];
        _library.Multiply(_plan, _type == CublasLtType.Int8, w.Address, x.Address, y.Address, _workspace.Address, stream.Address);
    }

    /// <summary>Compares the first and the last output of a call that has ended with the products in float64: what is wrong, in a sentence, or null.</summary>
    public string? Check()
    {
        foreach ((long m, long n) in new[] { (0L, 0L), (_shape.M - 1, _shape.N - 1) })
        {
            double[] w = Row(_operands[0].W, n), x = Row(_operands[0].X, m);
            double exact = 0, magnitude = 0;
            for (int k = 0; k < w.Length; k++)
            {
                exact += w[k] * x[k];
                magnitude += Math.Abs(w[k] * x[k]);
            }

            // Sums in binary32 in any order, tensor cores' being coarser by a bit or two, and the rounding of the result. Integers are exact.
            double sums = _type == CublasLtType.Int8 ? 0 : 4 * _shape.K * Math.ScaleB(1, -24) * magnitude;
            double rounding = _type switch { CublasLtType.Bf16 => Math.ScaleB(1, -8), CublasLtType.F16 => Math.ScaleB(1, -11), _ => 0 };
            double made = Output((m * _shape.N) + n);
            if (!(Math.Abs(made - exact) <= sums + (rounding * (Math.Abs(exact) + sums))))
                return string.Create(CultureInfo.InvariantCulture, $"Y[{m},{n}] is {made:R}, the exact result {exact:R}");
        }

        return null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((CudaBuffer<byte> w, CudaBuffer<byte> x, CudaBuffer<byte> y) in _operands)
        {
            w.Dispose();
            x.Dispose();
            y.Dispose();
        }

        _workspace.Dispose();
        _library.Release(_plan);
    }

    private CudaBuffer<byte> Operand(CudaContext context, long elements, ulong seed) => _type switch
    {
        CublasLtType.Int8 => DeviceMemory.RandomBytes(context, elements, seed),
        CublasLtType.F16 => DeviceMemory.NormalBytes(context, elements, seed, value => (Half)value),
        _ => DeviceMemory.NormalBytes(context, elements, seed, value => (BFloat16)value),
    };

    private double[] Row(CudaBuffer<byte> matrix, long row)
    {
        byte[] bytes = new byte[_shape.K * _format.InputBytes];
        matrix.CopyTo(bytes, row * bytes.Length);
        return [.. Enumerable.Range(0, (int)_shape.K).Select(k => Value(bytes, k, isInput: true))];
    }

    private double Output(long at)
    {
        byte[] bytes = new byte[_format.OutputBytes];
        _operands[0].Y.CopyTo(bytes, at * bytes.Length);
        return Value(bytes, 0, isInput: false);
    }

    private double Value(byte[] bytes, int at, bool isInput) => _type switch
    {
        CublasLtType.Bf16 => MemoryMarshal.Cast<byte, BFloat16>(bytes)[at].ToSingle(),
        CublasLtType.F16 => (double)MemoryMarshal.Cast<byte, Half>(bytes)[at],
        _ => isInput ? (sbyte)bytes[at] : MemoryMarshal.Cast<byte, int>(bytes)[at],
    };
}
