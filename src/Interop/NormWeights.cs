using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Kernels;

/// <summary>What belongs to a norm: weight, bias and epsilon.</summary>
public readonly ref struct NormWeights
{
    private readonly ref readonly byte _weight;
    private readonly ref readonly byte _bias;

    private NormWeights(ElementType type, ref readonly byte weight, long weightLength, ref readonly byte bias, long biasLength, float epsilon)
    {
        Type = type;
        _weight = ref weight;
        WeightLength = weightLength;
        _bias = ref bias;
        BiasLength = biasLength;
        Epsilon = epsilon;
    }

    /// <summary>F32, F16 or BF16: of weight and bias.</summary>
    public ElementType Type { get; }

    /// <summary>Added to the mean square or the variance; positive and finite.</summary>
    public float Epsilon { get; }

    internal long WeightLength { get; }

    internal long BiasLength { get; }

    internal ref readonly byte Weight => ref _weight;

    internal ref readonly byte Bias => ref _bias;

    /// <summary>A norm with a weight and perhaps a bias.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="weight">One factor per column; empty for ones.</param>
    /// <param name="epsilon">Added to the mean square or the variance; positive and finite.</param>
    /// <param name="bias">Added per column; empty for none.</param>
    /// <returns>The weights.</returns>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static NormWeights Of<T>(ReadOnlySpan<T> weight, float epsilon, ReadOnlySpan<T> bias = default)
        where T : unmanaged =>
        new(
            ElementTypes.Of<T>(), ref Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(weight)), weight.Length,
            ref Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(bias)), bias.Length, epsilon);
}
