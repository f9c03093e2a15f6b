using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>A linear layer of a model: the weight W[N,K] of Y = X . W^T, row-major, K contiguous.</summary>
public sealed class LinearLayer
{
    internal LinearLayer(ModelTensor tensor)
    {
        Tensor = tensor;
    }

    /// <summary>The name of the weight in the file.</summary>
    public string Name => Tensor.Name;

    /// <summary>Outputs.</summary>
    public long N => Tensor.Shape[0];

    /// <summary>Inputs.</summary>
    public long K => Tensor.Shape[1];

    /// <summary>How the weight is stored.</summary>
    public TensorType Type => Tensor.Type;

    /// <summary>Whether the weight can be read as floats; if not, <see cref="Load()"/> says why.</summary>
    public bool CanLoad => Type.CanDecode;

    /// <summary>The tensor itself.</summary>
    public ModelTensor Tensor { get; }

    /// <summary>Reads the whole weight as N * K floats.</summary>
    /// <exception cref="ModelFormatException">
    /// The type cannot be read as floats, or the file became shorter.
    /// </exception>
    /// <exception cref="InvalidOperationException">N * K is more than an array can hold.</exception>
    public float[] Load() => Tensor.ReadFloats();

    /// <summary>Reads whole rows.</summary>
    /// <param name="firstRow">The first of them.</param>
    /// <param name="destination">Filled entirely; its length is a multiple of <see cref="K"/>.</param>
    /// <exception cref="ArgumentException">
    /// The length is not a multiple of K, or the rows are not all inside the weight.
    /// </exception>
    /// <exception cref="ModelFormatException">
    /// The type cannot be read as floats, or the file became shorter.
    /// </exception>
    public void LoadRows(long firstRow, Span<float> destination)
    {
        if (firstRow < 0 || firstRow > N)
        {
            throw new ArgumentOutOfRangeException(nameof(firstRow), firstRow, $"The weight has {N} rows.");
        }

        if (destination.Length % K != 0)
        {
            throw new ArgumentException($"{destination.Length} elements are not whole rows of {K}.", nameof(destination));
        }

        if (destination.Length / K > N - firstRow)
        {
            throw new ArgumentException(
                $"{destination.Length / K} rows from row {firstRow} are not all inside the {N} rows of the weight.",
                nameof(destination));
        }

        Tensor.ReadFloats(firstRow * K, destination);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {Type} N={N} K={K}";
}
