namespace Kernels.Bindgen.Read;

/// <summary>A type: how C spells it, how C# does, and the function-pointer typedef that documents it, if it is one.</summary>
internal sealed record TypeName(string C, string CSharp, string? Callback = null)
{
    /// <summary>Whether C# spells the type as C does, but for spaces.</summary>
    public bool IsSameInC => C.Replace(" ", string.Empty, StringComparison.Ordinal) == CSharp;
}

/// <summary>A named type in a struct or a parameter list.</summary>
internal sealed record Variable(string Name, TypeName Type);

/// <summary>A field and where it begins.</summary>
internal sealed record FieldDeclaration(string Name, TypeName Type, long OffsetBytes, Comment Comment);

/// <summary>A struct; an opaque one has no size.</summary>
internal sealed record StructDeclaration(string Name, long? SizeBytes, IReadOnlyList<FieldDeclaration> Fields, Comment Comment)
{
    public bool IsOpaque => SizeBytes is null;
}

/// <summary>One value of an enum.</summary>
internal sealed record EnumValue(string Name, string Value, Comment Comment);

/// <summary>An enum.</summary>
internal sealed record EnumDeclaration(string Name, IReadOnlyList<EnumValue> Values, Comment Comment);

/// <summary>A function.</summary>
internal sealed record FunctionDeclaration(string Name, TypeName Returns, IReadOnlyList<Variable> Parameters, Comment Comment);

/// <summary>A function-pointer typedef. C# has no name for one, so only its comment is used.</summary>
internal sealed record CallbackDeclaration(string Name, Comment Comment);

/// <summary>A macro that stands for an integer.</summary>
internal sealed record ConstantDeclaration(string Name, string Value, Comment Comment);

/// <summary>What one header declares, each kind in the order of the header.</summary>
internal sealed record Header(string FileName)
{
    public List<ConstantDeclaration> Constants { get; init; } = [];

    public List<EnumDeclaration> Enums { get; } = [];

    public List<StructDeclaration> Structs { get; } = [];

    public List<FunctionDeclaration> Functions { get; } = [];

    public List<CallbackDeclaration> Callbacks { get; } = [];

    public bool IsEmpty => Constants.Count + Enums.Count + Structs.Count + Functions.Count == 0;

    /// <summary>The constant that names the library with the functions: those of cuda.h and cuda_*.h are in one of their own.</summary>
    public string LibraryName => FileName is "cuda.h" || FileName.StartsWith("cuda_", StringComparison.Ordinal) ? "CudaLibraryName" : "LibraryName";

    /// <summary>kv_cache.h becomes KvCache.</summary>
    public string ClassName => string.Concat(
        Path.GetFileNameWithoutExtension(FileName)
            .Split('_', StringSplitOptions.RemoveEmptyEntries)
            .Select(word => char.ToUpperInvariant(word[0]) + word[1..]));
}
