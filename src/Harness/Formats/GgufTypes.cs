using System.Globalization;

namespace Kernels.Harness.Formats;

/// <summary>The tensor types of GGUF by their numbers (enum ggml_type).</summary>
internal static class GgufTypes
{
    private static readonly Dictionary<uint, TensorType> s_byNumber = new()
    {
        [0] = TensorType.F32,
        [1] = TensorType.F16,
        [2] = TensorType.Q4_0,
        [3] = TensorType.Opaque("Q4_1", 32, 20),
        [6] = TensorType.Opaque("Q5_0", 32, 22),
        [7] = TensorType.Opaque("Q5_1", 32, 24),
        [8] = TensorType.Q8_0,
        [9] = TensorType.Opaque("Q8_1", 32, 36),
        [10] = TensorType.Opaque("Q2_K", 256, 84),
        [11] = TensorType.Opaque("Q3_K", 256, 110),
        [12] = TensorType.Opaque("Q4_K", 256, 144),
        [13] = TensorType.Opaque("Q5_K", 256, 176),
        [14] = TensorType.Opaque("Q6_K", 256, 210),
        [15] = TensorType.Opaque("Q8_K", 256, 292),
        [16] = TensorType.Opaque("IQ2_XXS", 256, 66),
        [17] = TensorType.Opaque("IQ2_XS", 256, 74),
        [18] = TensorType.Opaque("IQ3_XXS", 256, 98),
        [19] = TensorType.Opaque("IQ1_S", 256, 50),
        [20] = TensorType.Opaque("IQ4_NL", 32, 18),
        [21] = TensorType.Opaque("IQ3_S", 256, 110),
        [22] = TensorType.Opaque("IQ2_S", 256, 82),
        [23] = TensorType.Opaque("IQ4_XS", 256, 136),
        [24] = TensorType.I8,
        [25] = TensorType.Opaque("I16", 1, 2),
        [26] = TensorType.I32,
        [27] = TensorType.Opaque("I64", 1, 8),
        [28] = TensorType.Opaque("F64", 1, 8),
        [29] = TensorType.Opaque("IQ1_M", 256, 56),
        [30] = TensorType.BF16,
        [34] = TensorType.Opaque("TQ1_0", 256, 54),
        [35] = TensorType.Opaque("TQ2_0", 256, 66),
        [39] = TensorType.Opaque("MXFP4", 32, 17),
        [40] = TensorType.Opaque("NVFP4", 64, 36),
    };

    /// <summary>The type of that number; a type of unknown size if the number is new.</summary>
    public static TensorType Find(uint number) =>
        s_byNumber.TryGetValue(number, out TensorType? type)
            ? type
            : TensorType.Unknown("GGML_TYPE_" + number.ToString(CultureInfo.InvariantCulture));
}
