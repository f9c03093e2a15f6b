using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>Types of elements in oneDNN's numbering.</summary>
internal enum OneDnnType
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>bfloat16.</summary>
    BF16 = 2,

    /// <summary>binary32.</summary>
    F32 = 3,

    /// <summary>32-bit integer.</summary>
    S32 = 4,

    /// <summary>8-bit integer.</summary>
    S8 = 5,

    /// <summary>Unsigned 8-bit integer.</summary>
    U8 = 6,

    /// <summary>4-bit integer.</summary>
    S4 = 11,

    /// <summary>Unsigned 4-bit integer.</summary>
    U4 = 12,
}

/// <summary>The part of oneDNN's C interface (version 3.4 or newer) that a matrix product takes. Statuses other than 0 become exceptions,
/// except where a caller asks whether something exists.</summary>
internal sealed unsafe class OneDnnApi
{
    /// <summary>Arguments of a primitive.</summary>
    public const int ArgSource = 1, ArgDestination = 17, ArgWeights = 33, ArgScales = 4096, ArgZeroPoints = 8192;

    /// <summary>Masks of scales: one for each column, or one for each group and column.</summary>
    public const int PerColumn = 2, PerGroupAndColumn = 3;

    private const int OldestMinor = 4;
    private const int CpuEngine = 1;
    private const int FpMathStrict = 0, FpMathBf16 = 1;
    private const int QueryImplementation = 8, QueryMemoryDesc = 129, QueryWeights = QueryMemoryDesc + 2;

    private readonly delegate* unmanaged[Cdecl]<nint*, int, long*, int, long*, int> _createDesc;
    private readonly delegate* unmanaged[Cdecl]<nint*, int, long*, int, int, int> _createDescAny;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _destroyDesc;
    private readonly delegate* unmanaged[Cdecl]<nint, nuint> _descBytes;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, int> _equalDescs;
    private readonly delegate* unmanaged[Cdecl]<nint*, int> _createAttributes;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _destroyAttributes;
    private readonly delegate* unmanaged[Cdecl]<nint, int, int, int, long*, int, int> _setScales;
    private readonly delegate* unmanaged[Cdecl]<nint, int, int, int, long*, int, int> _setZeroPoints;
    private readonly delegate* unmanaged[Cdecl]<nint, int, int, int> _setFpMath;
    private readonly delegate* unmanaged[Cdecl]<nint*, nint, nint, nint, nint, nint, nint, int> _createMatmul;
    private readonly delegate* unmanaged[Cdecl]<nint*, nint, nint, nint, nint, nint, int> _createReorder;
    private readonly delegate* unmanaged[Cdecl]<nint, int, int, nint> _queryDesc;
    private readonly delegate* unmanaged[Cdecl]<nint, int, int, void*, int> _query;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _destroyPrimitiveDesc;
    private readonly delegate* unmanaged[Cdecl]<nint*, nint, int> _createPrimitive;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _destroyPrimitive;
    private readonly delegate* unmanaged[Cdecl]<nint*, nint, nint, void*, int> _createMemory;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _destroyMemory;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, int, ExecutionArgument*, int> _execute;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _wait;
    private readonly delegate* unmanaged[Cdecl]<int, void> _setThreads;
    private readonly nint _engine;
    private readonly nint _stream;

    /// <summary>Finds the functions and makes the engine, of which a process needs one.</summary>
    /// <exception cref="PeerUnusableException">The library is too old, or has no OpenMP.</exception>
    public OneDnnApi(nint library)
    {
        Version = CheckVersion(new ReadOnlySpan<int>(((delegate* unmanaged[Cdecl]<int*>)PeerCatalog.Export(library, "dnnl_version"))(), 3));
        _createDesc = (delegate* unmanaged[Cdecl]<nint*, int, long*, int, long*, int>)Find("memory_desc_create_with_strides");
        _createDescAny = (delegate* unmanaged[Cdecl]<nint*, int, long*, int, int, int>)Find("memory_desc_create_with_tag");
        _destroyDesc = (delegate* unmanaged[Cdecl]<nint, int>)Find("memory_desc_destroy");
        _descBytes = (delegate* unmanaged[Cdecl]<nint, nuint>)Find("memory_desc_get_size");
        _equalDescs = (delegate* unmanaged[Cdecl]<nint, nint, int>)Find("memory_desc_equal");
        _createAttributes = (delegate* unmanaged[Cdecl]<nint*, int>)Find("primitive_attr_create");
        _destroyAttributes = (delegate* unmanaged[Cdecl]<nint, int>)Find("primitive_attr_destroy");
        _setScales = (delegate* unmanaged[Cdecl]<nint, int, int, int, long*, int, int>)Find("primitive_attr_set_scales");
        _setZeroPoints = (delegate* unmanaged[Cdecl]<nint, int, int, int, long*, int, int>)Find("primitive_attr_set_zero_points");
        _setFpMath = (delegate* unmanaged[Cdecl]<nint, int, int, int>)Find("primitive_attr_set_fpmath_mode_v2");
        _createMatmul = (delegate* unmanaged[Cdecl]<nint*, nint, nint, nint, nint, nint, nint, int>)Find("matmul_primitive_desc_create");
        _createReorder = (delegate* unmanaged[Cdecl]<nint*, nint, nint, nint, nint, nint, int>)Find("reorder_primitive_desc_create");
        _queryDesc = (delegate* unmanaged[Cdecl]<nint, int, int, nint>)Find("primitive_desc_query_md");
        _query = (delegate* unmanaged[Cdecl]<nint, int, int, void*, int>)Find("primitive_desc_query");
        _destroyPrimitiveDesc = (delegate* unmanaged[Cdecl]<nint, int>)Find("primitive_desc_destroy");
        _createPrimitive = (delegate* unmanaged[Cdecl]<nint*, nint, int>)Find("primitive_create");
        _destroyPrimitive = (delegate* unmanaged[Cdecl]<nint, int>)Find("primitive_destroy");
        _createMemory = (delegate* unmanaged[Cdecl]<nint*, nint, nint, void*, int>)Find("memory_create");
        _destroyMemory = (delegate* unmanaged[Cdecl]<nint, int>)Find("memory_destroy");
        _execute = (delegate* unmanaged[Cdecl]<nint, nint, int, ExecutionArgument*, int>)Find("primitive_execute");
        _wait = (delegate* unmanaged[Cdecl]<nint, int>)Find("stream_wait");
        _setThreads = (delegate* unmanaged[Cdecl]<int, void>)FindOpenMp(library);
        nint engine, stream;
        Check(((delegate* unmanaged[Cdecl]<nint*, int, nuint, int>)Find("engine_create"))(&engine, CpuEngine, 0), "the engine");
        // 1: an in-order stream, the default.
        Check(((delegate* unmanaged[Cdecl]<nint*, nint, uint, int>)Find("stream_create"))(&stream, engine, 1), "the stream");
        _engine = engine;
        _stream = stream;

        nint Find(string name) => PeerCatalog.Export(library, "dnnl_" + name);
    }

    /// <summary>An argument of an execution.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ExecutionArgument(int argument, nint memory)
    {
        public int Argument = argument;
        public nint Memory = memory;
    }

    /// <summary>Such as "3.7.2".</summary>
    public string Version { get; }

    /// <summary>Threads of primitives that this thread makes or executes from now on.</summary>
    public void SetThreads(int threads) => _setThreads(threads);

    /// <summary>Describes a matrix with strides in elements.</summary>
    /// <returns>The description, or 0 when the library has no such: rows of 4-bit elements cannot end within a byte.</returns>
    public nint TryDescribe(long rows, long cols, OneDnnType type, long rowStride, long colStride)
    {
        long* dims = stackalloc long[] { rows, cols };
        long* strides = stackalloc long[] { rowStride, colStride };
        nint desc;
        return _createDesc(&desc, 2, dims, (int)type, strides) == 0 ? desc : 0;
    }

    /// <summary>Describes a matrix whose layout the primitive chooses.</summary>
    /// <returns>The description, or 0 when the library has no such.</returns>
    public nint TryDescribeAny(long rows, long cols, OneDnnType type)
    {
        const int TagAny = 1;
        long* dims = stackalloc long[] { rows, cols };
        nint desc;
        return _createDescAny(&desc, 2, dims, (int)type, TagAny) == 0 ? desc : 0;
    }

    /// <summary>Frees a description.</summary>
    public void DestroyDesc(nint desc) => _destroyDesc(desc);

    /// <summary>Whether two descriptions are of the same layout.</summary>
    public bool AreEqual(nint one, nint other) => _equalDescs(one, other) != 0;

    /// <summary>Bytes of a described matrix.</summary>
    public long BytesOf(nint desc) => (long)_descBytes(desc);

    /// <summary>Attributes of a product whose weights have scales.</summary>
    /// <param name="groupLength">Rows of weights that share a scale; 0 for scales per column, less for none.</param>
    /// <param name="zeroPoints">Type of zero points in the same groups, or <see cref="OneDnnType.None"/>.</param>
    /// <param name="isDecompression">Integer weights are widened to the type of the activations.</param>
    /// <returns>Attributes, or 0 when the library has no such.</returns>
    public nint TryMakeAttributes(long groupLength, OneDnnType zeroPoints, bool isDecompression)
    {
        nint attributes;
        Check(_createAttributes(&attributes), "attributes");
        long* group = stackalloc long[] { groupLength, 1 };
        int status = 0;
        if (isDecompression)
            status |= _setFpMath(attributes, FpMathBf16, 1);
        if (groupLength > 0)
            status |= _setScales(attributes, ArgWeights, PerGroupAndColumn, 2, group, (int)OneDnnType.F32);
        else if (groupLength == 0)
            status |= _setScales(attributes, ArgWeights, PerColumn, 0, null, (int)OneDnnType.F32);
        bool hasGroups = groupLength > 0;
        if (zeroPoints != OneDnnType.None)
            status |= _setZeroPoints(attributes, ArgWeights, hasGroups ? PerGroupAndColumn : PerColumn, hasGroups ? 2 : 0, group, (int)zeroPoints);
        if (status == 0)
            return attributes;
        DestroyAttributes(attributes);
        return 0;
    }

    /// <summary>Frees attributes.</summary>
    public void DestroyAttributes(nint attributes) => _destroyAttributes(attributes);

    /// <summary>Asks for a matrix product.</summary>
    /// <returns>Its description, or 0 when there is no implementation of it, or only the reference, which nobody would use.</returns>
    public nint TryDescribeMatmul(nint source, nint weights, nint destination, nint attributes)
    {
        nint matmul;
        if (_createMatmul(&matmul, _engine, source, weights, 0, destination, attributes) != 0)
            return 0;
        if (!ImplementationOf(matmul).StartsWith("ref", StringComparison.Ordinal))
            return matmul;
        DestroyPrimitiveDesc(matmul);
        return 0;
    }

    /// <summary>Name of the implementation, such as "brg_matmul:avx512_core_vnni".</summary>
    public string ImplementationOf(nint primitiveDesc)
    {
        byte* name = null;
        Check(_query(primitiveDesc, QueryImplementation, 0, &name), "the name of an implementation");
        return Marshal.PtrToStringUTF8((nint)name) ?? "";
    }

    /// <summary>The layout that a product chose for its weights. It belongs to the product.</summary>
    public nint WeightsOf(nint matmul) => _queryDesc(matmul, QueryWeights, 0);

    /// <summary>Frees a description of a primitive.</summary>
    public void DestroyPrimitiveDesc(nint desc) => _destroyPrimitiveDesc(desc);

    /// <summary>Makes a primitive.</summary>
    public nint MakePrimitive(nint desc)
    {
        nint primitive;
        Check(_createPrimitive(&primitive, desc), "a primitive");
        return primitive;
    }

    /// <summary>Frees a primitive.</summary>
    public void DestroyPrimitive(nint primitive) => _destroyPrimitive(primitive);

    /// <summary>Gives memory a description.</summary>
    public nint MakeMemory(nint desc, void* data)
    {
        nint memory;
        Check(_createMemory(&memory, desc, _engine, data), "memory");
        return memory;
    }

    /// <summary>Frees a description of memory, not the memory.</summary>
    public void DestroyMemory(nint memory) => _destroyMemory(memory);

    /// <summary>Copies from one layout to another.</summary>
    /// <returns>Whether the library can.</returns>
    public bool TryReorder(nint fromDesc, void* from, nint toDesc, void* to)
    {
        nint desc;
        if (_createReorder(&desc, fromDesc, _engine, toDesc, _engine, 0) != 0)
            return false;
        nint primitive = MakePrimitive(desc), source = MakeMemory(fromDesc, from), target = MakeMemory(toDesc, to);
        ExecutionArgument* arguments = stackalloc ExecutionArgument[] { new(ArgSource, source), new(ArgDestination, target) };
        Execute(primitive, arguments, 2);
        DestroyMemory(target);
        DestroyMemory(source);
        DestroyPrimitive(primitive);
        DestroyPrimitiveDesc(desc);
        return true;
    }

    /// <summary>Runs a primitive and waits for it.</summary>
    public void Execute(nint primitive, ExecutionArgument* arguments, int count)
    {
        Check(_execute(primitive, _stream, count, arguments), "an execution");
        Check(_wait(_stream), "an execution");
    }

    /// <summary>Reads the version, and refuses what is too old.</summary>
    /// <param name="version">Major, minor and patch number.</param>
    internal static string CheckVersion(ReadOnlySpan<int> version)
    {
        string text = $"{version[0]}.{version[1]}.{version[2]}";
        return version[0] == 3 && version[1] >= OldestMinor
            ? text
            : throw new PeerUnusableException($"version {text} was found, and 3.{OldestMinor} or a newer 3 is needed");
    }

    // A build on another runtime than OpenMP cannot be told how many threads to take.
    private static nint FindOpenMp(nint library)
    {
        const string SetThreads = "omp_set_num_threads";
        if (NativeLibrary.TryGetExport(library, SetThreads, out nint address))
            return address;
        foreach (string name in new[] { "vcomp140.dll", "libiomp5md.dll", "libomp.dylib" })
        {
            if (NativeLibrary.TryLoad(name, out nint openMp) && NativeLibrary.TryGetExport(openMp, SetThreads, out address))
                return address;
        }

        throw new PeerUnusableException("a build was found whose threads are not those of OpenMP");
    }

    private static void Check(int status, string what)
    {
        if (status != 0)
            throw new PeerFailedException($"status {status} for {what}");
    }
}
