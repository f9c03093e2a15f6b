namespace Kernels;

/// <summary>Where the bytes of a <see cref="KvCache"/> go.</summary>
/// <param name="KeyCodes">Codes, or floats, of the keys of all pages.</param>
/// <param name="ValueCodes">The same of values, whose head dimension is rounded up to 16.</param>
/// <param name="KeyScales">Scales and zero points of keys.</param>
/// <param name="ValueScales">Scales and zero points of values.</param>
/// <param name="Tails">Incomplete groups of keys, in F32.</param>
/// <param name="Means">Means of keys.</param>
/// <param name="Tables">Page tables, lengths, counts of references, static scales.</param>
/// <param name="Padding">What rounds parts up to 64 bytes.</param>
/// <param name="Total">The sum.</param>
public readonly record struct KvCacheSizes(
    long KeyCodes, long ValueCodes, long KeyScales, long ValueScales, long Tails, long Means, long Tables, long Padding, long Total);
