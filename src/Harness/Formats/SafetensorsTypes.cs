namespace Kernels.Harness.Formats;

/// <summary>The dtype names of safetensors.</summary>
internal static class SafetensorsTypes
{
    private static readonly Dictionary<string, TensorType> s_byName = new TensorType[]
    {
        TensorType.F32,
        TensorType.F16,
        TensorType.BF16,
        TensorType.I8,
        TensorType.U8,
        TensorType.I32,
        TensorType.Opaque("BOOL", 1, 1),
        TensorType.Opaque("F8_E5M2", 1, 1),
        TensorType.Opaque("F8_E4M3", 1, 1),
        TensorType.Opaque("F8_E8M0", 1, 1),
        TensorType.Opaque("F8_E5M2FNUZ", 1, 1),
        TensorType.Opaque("F8_E4M3FNUZ", 1, 1),
        TensorType.Opaque("F4", 2, 1),
        TensorType.Opaque("F6_E2M3", 4, 3),
        TensorType.Opaque("F6_E3M2", 4, 3),
        TensorType.Opaque("I16", 1, 2),
        TensorType.Opaque("U16", 1, 2),
        TensorType.Opaque("U32", 1, 4),
        TensorType.Opaque("F64", 1, 8),
        TensorType.Opaque("I64", 1, 8),
        TensorType.Opaque("U64", 1, 8),
        TensorType.Opaque("C64", 1, 8),
    }.ToDictionary(type => type.Name, StringComparer.Ordinal);

    /// <summary>The type of that name; a type of unknown size if the name is new.</summary>
    public static TensorType Find(string name) =>
        s_byName.TryGetValue(name, out TensorType? type) ? type : TensorType.Unknown(name);
}
