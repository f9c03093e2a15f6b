using System.Diagnostics.CodeAnalysis;

namespace Kernels.Harness.Formats;

/// <summary>The types of GGUF metadata values, with their numbers in the file.</summary>
[SuppressMessage("Naming", "CA1720", Justification = "The names are those of the format.")]
public enum GgufValueType
{
    /// <summary>An unsigned byte.</summary>
    UInt8 = 0,

    /// <summary>A signed byte.</summary>
    Int8 = 1,

    /// <summary>An unsigned 16-bit integer.</summary>
    UInt16 = 2,

    /// <summary>A signed 16-bit integer.</summary>
    Int16 = 3,

    /// <summary>An unsigned 32-bit integer.</summary>
    UInt32 = 4,

    /// <summary>A signed 32-bit integer.</summary>
    Int32 = 5,

    /// <summary>IEEE binary32.</summary>
    Float32 = 6,

    /// <summary>A byte that is 0 or 1.</summary>
    Bool = 7,

    /// <summary>UTF-8 text.</summary>
    String = 8,

    /// <summary>Values of one type; they may be arrays themselves.</summary>
    Array = 9,

    /// <summary>An unsigned 64-bit integer.</summary>
    UInt64 = 10,

    /// <summary>A signed 64-bit integer.</summary>
    Int64 = 11,

    /// <summary>IEEE binary64.</summary>
    Float64 = 12,
}

/// <summary>A metadata value of a GGUF file.</summary>
/// <param name="Type">Its type in the file.</param>
/// <param name="Value">The .NET value of that type; a <see cref="GgufArray"/> for an array.</param>
public sealed record GgufValue(GgufValueType Type, object Value)
{
    /// <summary>The value if it is an integer of any type that a long can hold.</summary>
    /// <param name="value">The integer.</param>
    public bool TryGetInteger(out long value)
    {
        (bool isInteger, value) = Value switch
        {
            byte number => (true, number),
            sbyte number => (true, number),
            ushort number => (true, number),
            short number => (true, number),
            uint number => (true, number),
            int number => (true, number),
            long number => (true, number),
            ulong number when number <= long.MaxValue => (true, (long)number),
            _ => (false, 0L),
        };
        return isInteger;
    }

    /// <summary>The value if it is a string.</summary>
    /// <param name="value">The string.</param>
    public bool TryGetString([NotNullWhen(true)] out string? value)
    {
        value = Value as string;
        return value is not null;
    }
}

/// <summary>An array in the metadata of a GGUF file.</summary>
/// <param name="ElementType">The type of all its elements.</param>
/// <param name="Items">
/// A .NET array of that type: for example float[] for <see cref="GgufValueType.Float32"/>, string[] for strings,
/// GgufArray[] for arrays.
/// </param>
public sealed record GgufArray(GgufValueType ElementType, Array Items);
