namespace Kernels;

/// <summary>Which elements of a head share a scale in a <see cref="KvCache"/>. The numbers are those of the C interface.</summary>
public enum KvGranularity
{
    /// <summary>Those of one token. Also what F32 and BF16 take, which have no scales.</summary>
    Token = 0,

    /// <summary>Those of one channel in <see cref="KvCacheOptions.KeyGroup"/> tokens (KIVI); keys only.</summary>
    Channel = 1,

    /// <summary>All of them: scales are given when the cache is made.</summary>
    Static = 2,
}
