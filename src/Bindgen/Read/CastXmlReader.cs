using System.Globalization;
using System.Xml.Linq;

namespace Kernels.Bindgen.Read;

/// <summary>Reads the declarations of our headers from castxml's XML.</summary>
internal sealed class CastXmlReader
{
    private const int BitsPerByte = 8;

    private readonly Dictionary<string, XElement> _elements;
    private readonly Dictionary<string, HeaderText> _texts = new(StringComparer.Ordinal);
    private readonly TypeMapper _types;

    private CastXmlReader(string root, XDocument document)
    {
        _elements = document.Root!.Elements().ToDictionary(element => (string)element.Attribute("id")!, StringComparer.Ordinal);
        _types = new TypeMapper(_elements);
        string headers = Path.GetFullPath(Path.Combine(root, Repository.HeaderDirectory)) + Path.DirectorySeparatorChar;
        foreach ((string id, XElement element) in _elements)
        {
            if (element.Name.LocalName != "File")
                continue;
            string path = Path.GetFullPath((string)element.Attribute("name")!);
            if (path.StartsWith(headers, StringComparison.Ordinal))
                _texts.Add(id, new HeaderText(path));
        }
    }

    /// <summary>The headers in the order of their names, each with its declarations in the order of its text.</summary>
    public static List<Header> Read(string root, XDocument document) => new CastXmlReader(root, document).Read();

    private List<Header> Read()
    {
        var headers = _texts.ToDictionary(
            pair => pair.Key, pair => new Header(pair.Value.FileName) { Constants = pair.Value.Constants().ToList() }, StringComparer.Ordinal);
        // Comments also name a file, but have no line of their own.
        IEnumerable<XElement> declarations = _elements.Values
            .Where(element => element.Attribute("line") is not null && headers.ContainsKey((string?)element.Attribute("file") ?? string.Empty))
            .OrderBy(Line);
        foreach (XElement element in declarations)
        {
            Header header = headers[(string)element.Attribute("file")!];
            switch (element.Name.LocalName)
            {
                case "Enumeration":
                    header.Enums.Add(ReadEnum(element));
                    break;
                case "Struct":
                    header.Structs.Add(ReadStruct(element));
                    break;
                case "Function":
                    header.Functions.Add(ReadFunction(element));
                    break;
                case "Typedef" when _types.IsCallback(element):
                    header.Callbacks.Add(new(Name(element), CommentOf(element)));
                    break;
                case "Union" or "Variable":
                    throw new BindgenException($"{Where(element)}: a {element.Name.LocalName.ToLowerInvariant()} has no place in the ABI.");
            }
        }

        return headers.Values.OrderBy(header => header.FileName, StringComparer.Ordinal).ToList();
    }

    private EnumDeclaration ReadEnum(XElement element)
    {
        HeaderText text = Text(element);
        List<EnumValue> values = element.Elements("EnumValue")
            .Select(value => new EnumValue(
                Name(value), (string)value.Attribute("init")!, text.CommentBeforeValue(Line(element), Name(value))))
            .ToList();
        return new(Name(element), values, CommentOf(element));
    }

    private StructDeclaration ReadStruct(XElement element)
    {
        if (element.Attribute("incomplete") is not null)
            return new(Name(element), null, [], CommentOf(element));

        string[] members = ((string?)element.Attribute("members") ?? string.Empty).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        List<FieldDeclaration> fields = members
            .Select(id => _elements[id])
            .Where(member => member.Name.LocalName == "Field")
            .Select(ReadField)
            .ToList();
        return new(Name(element), Bytes(element, "size"), fields, CommentOf(element));
    }

    private FieldDeclaration ReadField(XElement element)
    {
        if (element.Attribute("bits") is not null)
            throw new BindgenException($"{Where(element)}: a bit field has no place in the ABI.");
        return new(Name(element), _types.Map((string)element.Attribute("type")!, Where(element)), Bytes(element, "offset"), CommentOf(element));
    }

    private FunctionDeclaration ReadFunction(XElement element)
    {
        if (element.Element("Ellipsis") is not null)
            throw new BindgenException($"{Where(element)}: a variable number of arguments has no place in the ABI.");
        List<Variable> parameters = element.Elements("Argument")
            .Select(argument => new Variable(
                (string?)argument.Attribute("name") ?? throw new BindgenException($"{Where(element)}: a parameter has no name."),
                _types.Map((string)argument.Attribute("type")!, Where(element))))
            .ToList();
        Comment comment = Text(element).CommentBefore(Line(element), parameters.Select(parameter => parameter.Name).ToList());
        return new(Name(element), _types.Map((string)element.Attribute("returns")!, Where(element)), parameters, comment);
    }

    private Comment CommentOf(XElement element) => Text(element).CommentBefore(Line(element));

    private HeaderText Text(XElement element) => _texts[(string)element.Attribute("file")!];

    private string Where(XElement element) => $"{Text(element).FileName}:{Line(element)}: {Name(element)}";

    private static string Name(XElement element) => (string)element.Attribute("name")!;

    private static int Line(XElement element) => int.Parse((string)element.Attribute("line")!, CultureInfo.InvariantCulture);

    private static long Bytes(XElement element, string attribute) =>
        long.Parse((string)element.Attribute(attribute)!, CultureInfo.InvariantCulture) / BitsPerByte;
}
