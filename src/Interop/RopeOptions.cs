using System.Diagnostics;
using System.Runtime.CompilerServices;
using Kernels.Native;

namespace Kernels;

/// <summary>Which elements of a head are rotated together.</summary>
public enum RopeLayout
{
    /// <summary>i and i + half: GPT-NeoX, and Llama as Hugging Face keeps it.</summary>
    Half = 0,

    /// <summary>2i and 2i + 1: GPT-J, and Llama as it was published.</summary>
    Interleaved = 1,
}

/// <summary>How frequencies are changed for contexts longer than a model was trained on.</summary>
public enum RopeScaling
{
    /// <summary>Not at all.</summary>
    None = 0,

    /// <summary>All are divided by <see cref="RopeOptions.Factor"/>.</summary>
    Linear = 1,

    /// <summary>As in Llama 3: low ones are divided, high ones stay, those between become something between.</summary>
    Llama3 = 2,
}

/// <summary>The rotary position embedding of a model.</summary>
/// <param name="Layout">Which elements are rotated together.</param>
/// <param name="HeadDim">Elements of a head, 1 to 65536.</param>
public readonly record struct RopeOptions(RopeLayout Layout, long HeadDim)
{
    private const long MaxHeadDim = 65536;
    private const double MaxFactor = 1 << 30;

    /// <summary>Elements of a head that are rotated: even, at most <see cref="HeadDim"/>. 0 means all.</summary>
    public long RotaryDim { get; init; }

    /// <summary>The base of the frequencies; at least 1. 0 means 10000.</summary>
    public double ThetaBase { get; init; }

    /// <summary>How frequencies are changed.</summary>
    public RopeScaling Scaling { get; init; }

    /// <summary>1 to 2^30; read only with a scaling.</summary>
    public double Factor { get; init; }

    /// <summary>Pairs that turn less often than this within the original context have their frequency divided; above
    /// 0. This and the two below are read only with <see cref="RopeScaling.Llama3"/>.</summary>
    public double LowFreqFactor { get; init; }

    /// <summary>Pairs that turn more often than this within the original context keep their frequency; above
    /// <see cref="LowFreqFactor"/>, at most 2^30.</summary>
    public double HighFreqFactor { get; init; }

    /// <summary>The context length that the model was trained on first; at least 1.</summary>
    public long OriginalContext { get; init; }

    /// <summary>How many elements of a head are rotated.</summary>
    internal long RotatedElements => RotaryDim == 0 ? HeadDim : RotaryDim;

    /// <summary>Checks options and brings them to the C form.</summary>
    [StackTraceHidden]
    internal static unsafe krn_rope_options ToNative(RopeOptions options, [CallerArgumentExpression(nameof(options))] string? name = null)
    {
        Guard.Defined(options.Layout, name);
        Guard.Defined(options.Scaling, name);
        if (options.HeadDim is < 1 or > MaxHeadDim)
            throw new ArgumentOutOfRangeException(name, options.HeadDim, $"HeadDim must be 1 to {MaxHeadDim}.");
        if (options.RotatedElements < 2 || options.RotatedElements > options.HeadDim || options.RotatedElements % 2 != 0)
            throw new ArgumentOutOfRangeException(name, options.RotatedElements, "RotaryDim must be even and at most HeadDim.");
        if (options.ThetaBase != 0 && !(options.ThetaBase >= 1 && double.IsFinite(options.ThetaBase)))
            throw new ArgumentOutOfRangeException(name, options.ThetaBase, "ThetaBase must be at least 1 and finite, or 0 for 10000.");
        if (options.Scaling != RopeScaling.None && options.Factor is not (>= 1 and <= MaxFactor))
            throw new ArgumentOutOfRangeException(name, options.Factor, "Factor must be 1 to 2^30.");
        if (options.Scaling == RopeScaling.Llama3)
        {
            if (options.LowFreqFactor is not (> 0 and <= MaxFactor))
                throw new ArgumentOutOfRangeException(name, options.LowFreqFactor, "LowFreqFactor must be above 0 and at most 2^30.");
            if (!(options.HighFreqFactor > options.LowFreqFactor && options.HighFreqFactor <= MaxFactor))
                throw new ArgumentOutOfRangeException(name, options.HighFreqFactor, "HighFreqFactor must be above LowFreqFactor and at most 2^30.");
            if (options.OriginalContext < 1)
                throw new ArgumentOutOfRangeException(name, options.OriginalContext, "OriginalContext must be at least 1.");
        }

        return new krn_rope_options
        {
            struct_size = (uint)sizeof(krn_rope_options),
            layout = (int)options.Layout,
            head_dim = options.HeadDim,
            rotary_dim = options.RotaryDim,
            theta_base = options.ThetaBase,
            scaling = (int)options.Scaling,
            factor = options.Factor,
            low_freq_factor = options.LowFreqFactor,
            high_freq_factor = options.HighFreqFactor,
            original_context = options.OriginalContext,
        };
    }
}
