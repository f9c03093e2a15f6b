using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Kernels.Native;

/// <summary>What is used of the CUDA driver itself: names of devices, events and graphs. kernels_cuda has the rest.</summary>
/// <remarks>The driver is looked for at the first call. The suffixes are the versions of the functions that cuda.h of CUDA 12 declares.</remarks>
internal static unsafe partial class CudaDriver
{
    /// <summary>Stands for the driver, whose file has another name on every system.</summary>
    public const string LibraryName = "cuda_driver";

    /// <summary>CU_EVENT_DEFAULT.</summary>
    public const uint EventDefault = 0;

    /// <summary>CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do is no part of the graph, and no error.</summary>
    public const int CaptureThreadLocal = 1;

    private const int Success = 0;
    private const int NotReady = 600;

    private static string FileName => OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";

    /// <summary>The driver, for the resolver.</summary>
    /// <exception cref="DllNotFoundException">There is none.</exception>
    public static nint Load() => NativeLibrary.TryLoad(FileName, out nint handle)
        ? handle
        : throw new DllNotFoundException($"The CUDA driver is not installed: {FileName} cannot be loaded.");

    /// <summary>Throws if the driver reports an error.</summary>
    [StackTraceHidden]
    public static void ThrowIfFailed(int result, string function)
    {
        if (result == Success)
            return;
        sbyte* name = null;
        sbyte* text = null;
        if (cuGetErrorName(result, &name) != Success || cuGetErrorString(result, &text) != Success)
            name = text = null;
        throw new KernelException(
            KernelStatus.Device,
            $"{function} of the CUDA driver gave {NativeText.Optional(name) ?? "an error without a name"} ({result}): {NativeText.Optional(text) ?? "no description"}");
    }

    /// <summary>Whether a query says yes; "not ready" is no error.</summary>
    public static bool IsReady(int result, string function)
    {
        if (result == NotReady)
            return false;
        ThrowIfFailed(result, function);
        return true;
    }

    [LibraryImport(LibraryName)]
    public static partial int cuGetErrorName(int error, sbyte** name);

    [LibraryImport(LibraryName)]
    public static partial int cuGetErrorString(int error, sbyte** text);

    [LibraryImport(LibraryName)]
    public static partial int cuDeviceGet(int* device, int ordinal);

    [LibraryImport(LibraryName)]
    public static partial int cuDeviceGetName(sbyte* name, int length, int device);

    [LibraryImport(LibraryName)]
    public static partial int cuDeviceGetPCIBusId(sbyte* id, int length, int device);

    [LibraryImport(LibraryName)]
    public static partial int cuDevicePrimaryCtxRetain(void** context, int device);

    [LibraryImport(LibraryName)]
    public static partial int cuDevicePrimaryCtxRelease_v2(int device);

    [LibraryImport(LibraryName)]
    public static partial int cuCtxPushCurrent_v2(void* context);

    [LibraryImport(LibraryName)]
    public static partial int cuCtxPopCurrent_v2(void** context);

    [LibraryImport(LibraryName)]
    public static partial int cuEventCreate(void** cudaEvent, uint flags);

    [LibraryImport(LibraryName)]
    public static partial int cuEventDestroy_v2(void* cudaEvent);

    [LibraryImport(LibraryName)]
    public static partial int cuEventRecord(void* cudaEvent, void* stream);

    [LibraryImport(LibraryName)]
    public static partial int cuEventQuery(void* cudaEvent);

    [LibraryImport(LibraryName)]
    public static partial int cuEventSynchronize(void* cudaEvent);

    [LibraryImport(LibraryName)]
    public static partial int cuEventElapsedTime(float* milliseconds, void* start, void* end);

    [LibraryImport(LibraryName)]
    public static partial int cuStreamWaitEvent(void* stream, void* cudaEvent, uint flags);

    [LibraryImport(LibraryName)]
    public static partial int cuStreamBeginCapture_v2(void* stream, int mode);

    [LibraryImport(LibraryName)]
    public static partial int cuStreamEndCapture(void* stream, void** graph);

    [LibraryImport(LibraryName)]
    public static partial int cuGraphInstantiateWithFlags(void** executable, void* graph, ulong flags);

    [LibraryImport(LibraryName)]
    public static partial int cuGraphLaunch(void* executable, void* stream);

    [LibraryImport(LibraryName)]
    public static partial int cuGraphExecDestroy(void* executable);

    [LibraryImport(LibraryName)]
    public static partial int cuGraphDestroy(void* graph);
}
