using Kernels.Harness.Synthetic;

namespace Kernels.Harness.Benchmarks;

/// <summary>Activations on which quantization is tried: those of a generator, or what a model computes.</summary>
internal interface IActivationSource
{
    /// <summary>What they are, in a few words.</summary>
    string Name { get; }

    /// <summary>Elements of a token.</summary>
    int Channels { get; }

    /// <summary>Tokens, row after row; as many as there are, up to <paramref name="most"/>.</summary>
    float[] Tokens(int most);
}

/// <summary>The documented generator, with its outlier channels.</summary>
internal sealed class SyntheticActivationSource(int channels, long seed) : IActivationSource
{
    /// <inheritdoc/>
    public string Name => $"synthetic, {channels} channels";

    /// <inheritdoc/>
    public int Channels => channels;

    /// <inheritdoc/>
    public float[] Tokens(int most) => new SyntheticActivations(most, channels, (ulong)seed).ToArray();
}
