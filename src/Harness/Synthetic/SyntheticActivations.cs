namespace Kernels.Harness.Synthetic;

/// <summary>How synthetic activations are distributed.</summary>
public sealed record ActivationProfile
{
    /// <summary>The standard deviation of the natural logarithm of the scales of ordinary channels; 0 to 0.5.</summary>
    public double ChannelSpread { get; init; } = 0.3;

    /// <summary>The standard deviation of the natural logarithm of the scales of tokens; 0 to 0.3.</summary>
    public double TokenSpread { get; init; } = 0.25;

    /// <summary>
    /// The share of channels that are outliers, 0 to 0.1; rounded to a whole number of channels, but at least one if
    /// there are 64 channels or more and the share is not 0.
    /// </summary>
    public double OutlierFraction { get; init; } = 0.002;

    /// <summary>The least factor by which an outlier channel is larger than an ordinary one; 1 or more.</summary>
    public double OutlierMinimum { get; init; } = 20;

    /// <summary>The greatest such factor; at most 200.</summary>
    public double OutlierMaximum { get; init; } = 100;
}

/// <summary>
/// Activations X[M,K], M tokens of K channels, with what makes the activations of large language models hard to
/// quantize:
/// <code>X[m,k] = token[m] * (offset[k] + scale[k] * t[m,k])</code>
/// where t has Student's t distribution with 8 degrees of freedom at variance 1 (cut at 32), and z, z' below are nearly
/// normal (within -6 .. 6).
/// <list type="bullet">
/// <item>Tokens: token[m] = exp(0.25 z[m]).</item>
/// <item>Ordinary channels: offset 0, scale[k] = exp(0.3 z'[k]).</item>
/// <item>Outlier channels, 0.2% of all at random places, the same for every token: 1 / r of their root mean square r is
/// uniform between 1/100 and 1/20, so that half of them are below 33, and they keep to one side of zero, as real ones
/// do: offset[k] = +-0.95 r, scale[k] = 0.3122 r.</item>
/// </list>
/// All values are finite in binary16 too.
/// </summary>
public sealed class SyntheticActivations : SyntheticMatrix
{
    private const int MinChannelsForOutlier = 64;

    // Weights of the same seed must have nothing in common with these.
    private const ulong Domain = 0x6163746976617465;

    // Streams 0, 1, ... are those of the rows; the channels have the last one.
    private const ulong ChannelStream = ulong.MaxValue;

    // The squares of the two add up to 1.
    private const double OutlierOffset = 0.95;
    private const double OutlierScale = 0.31224989991991990;

    private readonly double _tokenSpread;
    private readonly float[] _offset;
    private readonly float[] _scale;
    private readonly int[] _outliers;

    /// <summary>Describes the activations: the channels are drawn, the elements are not made yet.</summary>
    /// <param name="tokens">M, the rows.</param>
    /// <param name="channels">K, the columns.</param>
    /// <param name="seed">Any number.</param>
    /// <param name="profile">The distribution; null for the default.</param>
    public SyntheticActivations(long tokens, long channels, ulong seed, ActivationProfile? profile = null)
        : base(tokens, channels, seed)
    {
        profile ??= new ActivationProfile();
        Require.InRange(profile.ChannelSpread, 0, 0.5, nameof(ActivationProfile.ChannelSpread));
        Require.InRange(profile.TokenSpread, 0, 0.3, nameof(ActivationProfile.TokenSpread));
        Require.InRange(profile.OutlierFraction, 0, 0.1, nameof(ActivationProfile.OutlierFraction));
        Require.InRange(profile.OutlierMinimum, 1, 200, nameof(ActivationProfile.OutlierMinimum));
        Require.InRange(profile.OutlierMaximum, profile.OutlierMinimum, 200, nameof(ActivationProfile.OutlierMaximum));

        _tokenSpread = profile.TokenSpread;
        _offset = new float[channels];
        _scale = new float[channels];
        var random = new Xoshiro256(seed ^ Domain, ChannelStream);
        for (int i = 0; i < _scale.Length; i++)
        {
            _scale[i] = (float)PortableMath.Exp(profile.ChannelSpread * random.NextNormal());
        }

        _outliers = DrawOutliers(ref random, _scale.Length, profile.OutlierFraction);
        foreach (int channel in _outliers)
        {
            double place = random.NextUniform();
            double magnitude = 1 / ((1 - place) / profile.OutlierMinimum + place / profile.OutlierMaximum);
            double sign = random.NextBelow(2) == 0 ? 1 : -1;
            _offset[channel] = (float)(sign * OutlierOffset * magnitude);
            _scale[channel] = (float)(OutlierScale * magnitude);
        }
    }

    /// <summary>The outlier channels, in rising order.</summary>
    public IReadOnlyList<int> OutlierChannels => _outliers;

    private protected override void FillRow(long row, Span<float> destination)
    {
        var random = new Xoshiro256(Seed ^ Domain, (ulong)row);
        float token = (float)PortableMath.Exp(_tokenSpread * random.NextNormal());
        StudentT.Fill(ref random, destination);
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = token * (_offset[i] + _scale[i] * destination[i]);
        }
    }

    private static int[] DrawOutliers(ref Xoshiro256 random, int channels, double fraction)
    {
        int count = (int)Math.Round(channels * fraction);
        if (count == 0 && fraction > 0 && channels >= MinChannelsForOutlier)
        {
            count = 1;
        }

        var chosen = new SortedSet<int>();
        while (chosen.Count < count)
        {
            chosen.Add((int)random.NextBelow(channels));
        }

        return [.. chosen];
    }
}
