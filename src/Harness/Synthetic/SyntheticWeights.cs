namespace Kernels.Harness.Synthetic;

/// <summary>How synthetic weights are distributed.</summary>
public sealed record WeightProfile
{
    /// <summary>
    /// The root mean square of the weights of a typical row; null for 1 / sqrt(columns), which keeps the variance of a
    /// layer's output near that of its input, as trained layers roughly do.
    /// </summary>
    public double? Rms { get; init; }

    /// <summary>The standard deviation of the natural logarithm of the row scales; 0 to 0.5.</summary>
    public double RowSpread { get; init; } = 0.25;
}

/// <summary>
/// Weights W[N,K] with the shape of those of trained transformers:
/// <code>W[n,k] = rms * exp(spread * z[n]) * t[n,k]</code>
/// where t has Student's t distribution with 8 degrees of freedom at variance 1 (cut at 32), and z is nearly normal
/// (within -6 .. 6). With the default spread of 0.25 the kurtosis over the whole matrix is about 5.8 (a normal
/// distribution has 3, the layers of small real models 3.2 to 6.4), and output channels differ in scale by a factor of
/// about 2.7 between the 2.5th and the 97.5th percentile.
/// </summary>
public sealed class SyntheticWeights : SyntheticMatrix
{
    private readonly double _rms;
    private readonly double _rowSpread;

    /// <summary>Describes the weights; nothing is made yet.</summary>
    /// <param name="outputs">N, the rows.</param>
    /// <param name="inputs">K, the columns.</param>
    /// <param name="seed">Any number.</param>
    /// <param name="profile">The distribution; null for the default.</param>
    public SyntheticWeights(long outputs, long inputs, ulong seed, WeightProfile? profile = null)
        : base(outputs, inputs, seed)
    {
        profile ??= new WeightProfile();
        Require.InRange(profile.RowSpread, 0, 0.5, nameof(WeightProfile.RowSpread));
        _rms = profile.Rms ?? 1 / Math.Sqrt(Math.Max(inputs, 1));
        Require.InRange(_rms, 1e-6, 10, nameof(WeightProfile.Rms));
        _rowSpread = profile.RowSpread;
    }

    private protected override void FillRow(long row, Span<float> destination)
    {
        var random = new Xoshiro256(Seed, (ulong)row);
        float scale = (float)(_rms * PortableMath.Exp(_rowSpread * random.NextNormal()));
        StudentT.Fill(ref random, destination);
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] *= scale;
        }
    }
}
