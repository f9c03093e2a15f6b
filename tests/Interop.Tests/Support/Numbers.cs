namespace Kernels.Tests.Support;

/// <summary>Inputs that are the same in every run.</summary>
internal static class Numbers
{
    /// <summary>Bell-shaped floats with an outlier now and then, as activations have.</summary>
    public static float[] Floats(long count, int seed)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (int i = 0; i < values.Length; i++)
        {
            double sum = random.NextDouble() + random.NextDouble() + random.NextDouble() + random.NextDouble() - 2;
            values[i] = (float)(sum * (random.Next(50) == 0 ? 20 : 1));
        }

        return values;
    }

    public static byte[] Bytes(long count, int seed)
    {
        var values = new byte[count];
        new Random(seed).NextBytes(values);
        return values;
    }

    public static int[] Integers(long count, int low, int high, int seed)
    {
        var random = new Random(seed);
        return Enumerable.Range(0, (int)count).Select(_ => random.Next(low, high + 1)).ToArray();
    }

    public static Half[] ToHalf(float[] values) => Array.ConvertAll(values, value => (Half)value);

    public static BFloat16[] ToBFloat16(float[] values) => Array.ConvertAll(values, BFloat16.FromSingle);
}
