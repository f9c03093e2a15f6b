using System.Runtime.InteropServices;

namespace Kernels.Harness.Peers;

/// <summary>The part of ONNX Runtime's C interface that runs a model: functions of the table OrtApi by their place, which never changes
/// once a release has it.</summary>
internal sealed unsafe class OrtApi
{
    // The table of release 1.16, in which MatMulNBits first appeared.
    private const uint TableVersion = 16;

    private const int
        GetErrorMessage = 2, CreateSessionFromArray = 8, RunSession = 9, CreateSessionOptions = 10, CreateTensor = 49, CreateCpuMemoryInfo = 69,
        ReleaseEnv = 92, ReleaseStatus = 93, ReleaseMemoryInfo = 94, ReleaseSession = 95, ReleaseValue = 96, ReleaseSessionOptions = 100,
        CreateEnvWithGlobalThreadPools = 119, DisablePerSessionThreads = 120, CreateThreadingOptions = 121, ReleaseThreadingOptions = 122,
        SetGlobalIntraOpNumThreads = 147, SetGlobalInterOpNumThreads = 148;

    private readonly void** _table;

    /// <summary>Finds the table.</summary>
    /// <exception cref="PeerUnusableException">The library is too old.</exception>
    public OrtApi(nint library)
    {
        void** @base = ((delegate* unmanaged[Stdcall]<void**>)PeerCatalog.Export(library, "OrtGetApiBase"))();
        var getApi = (delegate* unmanaged[Stdcall]<uint, void**>)@base[0];
        var getVersion = (delegate* unmanaged[Stdcall]<byte*>)@base[1];
        Version = Marshal.PtrToStringUTF8((nint)getVersion()) ?? "unknown";
        // An older library answers with null, and says so on its error stream.
        _table = getApi(TableVersion);
        if (_table is null)
            throw new PeerUnusableException($"version {Version} was found, and 1.{TableVersion} or a newer one is needed");
    }

    /// <summary>Such as "1.21.0".</summary>
    public string Version { get; }

    /// <summary>Makes the environment, of which a process has one at a time, with a pool of threads that all sessions share.</summary>
    public nint MakeEnvironment(int threads)
    {
        const int OnlyFatal = 4;
        nint options = 0, environment = 0;
        Check(((delegate* unmanaged[Stdcall]<nint*, nint>)_table[CreateThreadingOptions])(&options));
        Check(((delegate* unmanaged[Stdcall]<nint, int, nint>)_table[SetGlobalIntraOpNumThreads])(options, threads));
        Check(((delegate* unmanaged[Stdcall]<nint, int, nint>)_table[SetGlobalInterOpNumThreads])(options, 1));
        var create = (delegate* unmanaged[Stdcall]<int, byte*, nint, nint*, nint>)_table[CreateEnvWithGlobalThreadPools];
        fixed (byte* name = "kernels\0"u8)
            Check(create(OnlyFatal, name, options, &environment));
        Release(ReleaseThreadingOptions, options);
        return environment;
    }

    /// <summary>Frees the environment; there must be no session left.</summary>
    public void FreeEnvironment(nint environment) => Release(ReleaseEnv, environment);

    /// <summary>Makes a session of a model; constants are packed in here.</summary>
    /// <param name="environment">The environment.</param>
    /// <param name="model">The file's bytes.</param>
    /// <param name="session">The session.</param>
    /// <returns>What the library says is wrong; null when nothing is.</returns>
    public string? TryMakeSession(nint environment, byte[] model, out nint session)
    {
        nint options = 0, made = 0, status;
        Check(((delegate* unmanaged[Stdcall]<nint*, nint>)_table[CreateSessionOptions])(&options));
        Check(((delegate* unmanaged[Stdcall]<nint, nint>)_table[DisablePerSessionThreads])(options));
        var create = (delegate* unmanaged[Stdcall]<nint, void*, nuint, nint, nint*, nint>)_table[CreateSessionFromArray];
        fixed (byte* bytes = model)
            status = create(environment, bytes, (nuint)model.Length, options, &made);
        Release(ReleaseSessionOptions, options);
        session = made;
        return Message(status);
    }

    /// <summary>Frees a session.</summary>
    public void FreeSession(nint session) => Release(ReleaseSession, session);

    /// <summary>Makes a tensor of memory that stays the caller's.</summary>
    public nint MakeTensor(AlignedBuffer memory, OnnxType type, params ReadOnlySpan<long> dims)
    {
        const int ArenaAllocator = 1, DefaultMemory = 0;
        nint info = 0, value = 0;
        Check(((delegate* unmanaged[Stdcall]<int, int, nint*, nint>)_table[CreateCpuMemoryInfo])(ArenaAllocator, DefaultMemory, &info));
        var create = (delegate* unmanaged[Stdcall]<nint, void*, nuint, long*, nuint, int, nint*, nint>)_table[CreateTensor];
        // The memory is not managed: its address stays when the pin ends.
        fixed (byte* data = memory.Slice<byte>(0, 1))
        fixed (long* shape = dims)
            Check(create(info, data, (nuint)memory.Length, shape, (nuint)dims.Length, (int)type, &value));
        Release(ReleaseMemoryInfo, info);
        return value;
    }

    /// <summary>Frees a tensor, not its memory.</summary>
    public void FreeTensor(nint value) => Release(ReleaseValue, value);

    /// <summary>Runs a model of one input and one output.</summary>
    public void Run(nint session, nint input, nint output)
    {
        fixed (byte* inputName = "X\0"u8, outputName = "Y\0"u8)
        {
            byte* inputNames = inputName, outputNames = outputName;
            Run(session, &inputNames, &input, 1, &outputNames, &output, 1);
        }
    }

    /// <summary>Runs a model on tensors by name; an output may be an input's memory where the op allows that.</summary>
    public void Run(nint session, OrtArguments inputs, OrtArguments outputs)
    {
        fixed (nint* inputValues = inputs.Values, outputValues = outputs.Values)
            Run(session, inputs.Names, inputValues, inputs.Values.Length, outputs.Names, outputValues, outputs.Values.Length);
    }

    private void Run(nint session, byte** inputNames, nint* inputs, int inputCount, byte** outputNames, nint* outputs, int outputCount) =>
        Check(((delegate* unmanaged[Stdcall]<nint, nint, byte**, nint*, nuint, byte**, nuint, nint*, nint>)_table[RunSession])(
            session, 0, inputNames, inputs, (nuint)inputCount, outputNames, (nuint)outputCount, outputs));

    private void Release(int function, nint thing) => ((delegate* unmanaged[Stdcall]<nint, void>)_table[function])(thing);

    private void Check(nint status)
    {
        if (Message(status) is { } message)
            throw new PeerFailedException(message);
    }

    private string? Message(nint status)
    {
        if (status == 0)
            return null;
        byte* text = ((delegate* unmanaged[Stdcall]<nint, byte*>)_table[GetErrorMessage])(status);
        string message = Marshal.PtrToStringUTF8((nint)text) ?? "no reason given";
        Release(ReleaseStatus, status);
        return message;
    }
}

/// <summary>Tensors by name, as a run takes them.</summary>
internal sealed unsafe class OrtArguments : IDisposable
{
    private readonly byte** _names;

    /// <summary>Keeps names and values, which stay their owner's.</summary>
    public OrtArguments(params IReadOnlyList<(string Name, nint Value)> arguments)
    {
        Values = [.. arguments.Select(argument => argument.Value)];
        _names = (byte**)NativeMemory.Alloc((nuint)arguments.Count, (nuint)sizeof(byte*));
        for (int i = 0; i < arguments.Count; i++)
            _names[i] = (byte*)Marshal.StringToCoTaskMemUTF8(arguments[i].Name);
    }

    /// <summary>The tensors.</summary>
    public nint[] Values { get; }

    /// <summary>Their names, each ended by 0.</summary>
    public byte** Names => _names;

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < Values.Length; i++)
            Marshal.FreeCoTaskMem((nint)_names[i]);
        NativeMemory.Free(_names);
    }
}
