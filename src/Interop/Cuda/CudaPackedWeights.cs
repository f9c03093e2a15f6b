using System.Diagnostics;
using Kernels.Handles;
using Kernels.Native;

namespace Kernels;

/// <summary>Weights W[N,K] in the memory of a device, in the one layout that every class of kernels reads.</summary>
/// <remarks>Immutable: any number of threads and streams of the context may use them at once. Work that uses them must have ended before they
/// are disposed.</remarks>
public sealed unsafe class CudaPackedWeights : IDisposable
{
    private readonly CudaWeightsHandle _handle;

    /// <summary>Brings weights to a device. No hot call: it allocates host memory of their size meanwhile.</summary>
    /// <param name="context">The device's context.</param>
    /// <param name="host">The context that packed the weights, or one like it.</param>
    /// <param name="weights">The weights; free for use when the call returns.</param>
    /// <param name="stream">Where the copy is put, or null for the default stream. Work of other streams must wait for it.</param>
    /// <exception cref="ArgumentException">The stream belongs to another context.</exception>
    /// <exception cref="KernelException">There is not enough memory (<see cref="KernelStatus.OutOfMemory"/>), or the driver reports an
    /// error.</exception>
    public CudaPackedWeights(CudaContext context, KernelContext host, PackedWeights weights, CudaStream? stream = null)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(weights);
        using WeightsUse weightsUse = weights.Use();
        using ContextUse hostUse = host.Use();
        using var use = new CudaUse(context, stream);
        Context = context;
        Shape = weights.Shape;
        _handle = new CudaWeightsHandle(context.Handle, hostUse, weightsUse, use.Stream);
        DeviceBytes = NativeMethods.krn_cuda_weights_device_bytes(_handle.Weights);
    }

    /// <summary>The context.</summary>
    public CudaContext Context { get; }

    /// <summary>Shape and format.</summary>
    public WeightsShape Shape { get; }

    /// <summary>Bytes that the weights take on the device.</summary>
    public long DeviceBytes { get; }

    /// <summary>Bytes of device memory that weights take.</summary>
    /// <param name="weights">The weights.</param>
    /// <returns>The bytes, as <see cref="DeviceBytes"/> would tell.</returns>
    public static long DeviceBytesOf(PackedWeights weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        using WeightsUse use = weights.Use();
        long bytes = 0;
        KernelException.ThrowIfFailed(NativeMethods.krn_cuda_weights_bytes(use.Pointer, &bytes));
        return bytes;
    }

    /// <summary>Frees the memory on the device, when the last call that uses it has returned.</summary>
    public void Dispose() => _handle.Dispose();

    /// <summary>Keeps the weights alive during a native call in a context, which must be theirs.</summary>
    [StackTraceHidden]
    internal CudaWeightsUse Use(CudaContext context, string name)
    {
        if (Context != context)
            throw new ArgumentException("The weights belong to another context.", name);
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        bool added = false;
        _handle.DangerousAddRef(ref added);
        return new CudaWeightsUse(_handle);
    }
}
