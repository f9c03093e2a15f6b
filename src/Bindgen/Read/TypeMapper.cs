using System.Xml.Linq;

namespace Kernels.Bindgen.Read;

/// <summary>Spells the types of castxml's XML in C and in C#.</summary>
internal sealed class TypeMapper(IReadOnlyDictionary<string, XElement> elements)
{
    private static readonly Dictionary<string, string> s_fixedWidth = new(StringComparer.Ordinal)
    {
        ["int8_t"] = "sbyte",
        ["uint8_t"] = "byte",
        ["int16_t"] = "short",
        ["uint16_t"] = "ushort",
        ["int32_t"] = "int",
        ["uint32_t"] = "uint",
        ["int64_t"] = "long",
        ["uint64_t"] = "ulong",
    };

    // Types whose width is the same on every platform; `long` and `size_t` are not in the ABI.
    private static readonly Dictionary<string, string> s_fundamental = new(StringComparer.Ordinal)
    {
        ["void"] = "void",
        ["char"] = "sbyte",
        ["signed char"] = "sbyte",
        ["unsigned char"] = "byte",
        ["int"] = "int",
        ["unsigned int"] = "uint",
        ["float"] = "float",
        ["double"] = "double",
    };

    /// <summary>The type with an id.</summary>
    /// <param name="id">The id in the XML.</param>
    /// <param name="user">What has the type, for a message.</param>
    public TypeName Map(string id, string user)
    {
        XElement element = elements[id];
        switch (element.Name.LocalName)
        {
            case "FundamentalType":
                string name = Name(element);
                return s_fundamental.TryGetValue(name, out string? builtIn)
                    ? new(name, builtIn)
                    : throw Unsupported(user, $"type {name}, whose width depends on the platform");
            case "Typedef":
                return Typedef(element, user);
            case "CvQualifiedType":
                TypeName plain = Map(Type(element), user);
                return plain with { C = plain.C.EndsWith('*') ? $"{plain.C} const" : $"const {plain.C}" };
            case "PointerType" when elements[Type(element)].Name.LocalName == "FunctionType":
                return FunctionPointer(elements[Type(element)], user);
            case "PointerType":
                TypeName target = Map(Type(element), user);
                return new(target.C.EndsWith('*') ? $"{target.C}*" : $"{target.C} *", $"{target.CSharp}*");
            case "ElaboratedType":
                return Map(Type(element), user);
            case "Struct" or "Enumeration":
                return new(Name(element), Name(element));
            default:
                throw Unsupported(user, $"a type of the kind {element.Name.LocalName}");
        }
    }

    /// <summary>Whether a typedef names a pointer to a function.</summary>
    public bool IsCallback(XElement typedef)
    {
        XElement target = elements[Type(typedef)];
        return target.Name.LocalName == "PointerType" && elements[Type(target)].Name.LocalName == "FunctionType";
    }

    private TypeName Typedef(XElement element, string user)
    {
        string name = Name(element);
        if (s_fixedWidth.TryGetValue(name, out string? fixedWidth))
            return new(name, fixedWidth);
        TypeName target = Map(Type(element), user);
        return new(name, target.CSharp, IsCallback(element) ? name : null);
    }

    private TypeName FunctionPointer(XElement function, string user)
    {
        List<TypeName> parameters = Arguments(function, user).ToList();
        TypeName returns = Map(Required(function, "returns"), user);
        string types = string.Join(", ", parameters.Append(returns).Select(type => type.CSharp));
        return new(
            $"{returns.C} (*)({string.Join(", ", parameters.Select(type => type.C))})", $"delegate* unmanaged[Cdecl]<{types}>");
    }

    private IEnumerable<TypeName> Arguments(XElement function, string user) =>
        function.Elements().Select(argument => argument.Name.LocalName == "Argument"
            ? Map(Type(argument), user)
            : throw Unsupported(user, "a variable number of arguments"));

    private static string Type(XElement element) => Required(element, "type");

    private static string Name(XElement element) => Required(element, "name");

    private static string Required(XElement element, string attribute) =>
        (string?)element.Attribute(attribute)
        ?? throw new BindgenException($"castxml wrote a {element.Name.LocalName} without the attribute '{attribute}'; is its version 0.4 or newer?");

    private static BindgenException Unsupported(string user, string what) =>
        new($"{user} has {what}, which has no place in the ABI (see the conventions in common.h).");
}
