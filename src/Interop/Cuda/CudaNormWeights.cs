using System.Diagnostics.CodeAnalysis;

namespace Kernels;

/// <summary>Weight, bias and epsilon of a norm on a device.</summary>
[SuppressMessage("Performance", "CA1815", Justification = "Arguments of a call, which nobody compares.")]
public readonly struct CudaNormWeights
{
    private CudaNormWeights(ElementType type, ICudaBuffer? weight, ICudaBuffer? bias, float epsilon)
    {
        Type = type;
        Weight = weight;
        Bias = bias;
        Epsilon = epsilon;
    }

    /// <summary>F32, F16 or BF16: of weight and bias.</summary>
    public ElementType Type { get; }

    /// <summary>Added to the mean square or the variance; positive and finite.</summary>
    public float Epsilon { get; }

    internal ICudaBuffer? Weight { get; }

    internal ICudaBuffer? Bias { get; }

    /// <summary>A norm with a weight and perhaps a bias.</summary>
    /// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="weight">One factor per column; null for ones.</param>
    /// <param name="epsilon">Added to the mean square or the variance; positive and finite.</param>
    /// <param name="bias">Added per column; null for none.</param>
    /// <returns>The weights.</returns>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> is another type.</exception>
    public static CudaNormWeights Of<T>(CudaBuffer<T>? weight, float epsilon, CudaBuffer<T>? bias = null)
        where T : unmanaged => new(ElementTypes.Of<T>(), weight, bias, epsilon);
}
