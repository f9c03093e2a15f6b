namespace Kernels;

/// <summary>What a CUDA device has.</summary>
/// <param name="Name">Name of the device, such as "NVIDIA H200".</param>
/// <param name="ComputeCapability">Its compute capability.</param>
/// <param name="Multiprocessors">Streaming multiprocessors.</param>
/// <param name="SharedBytesPerBlock">Shared memory that one block can have at most.</param>
/// <param name="SharedBytesPerMultiprocessor">Shared memory of a multiprocessor.</param>
/// <param name="ThreadsPerMultiprocessor">Threads that a multiprocessor can hold.</param>
/// <param name="RegistersPerMultiprocessor">32-bit registers of a multiprocessor.</param>
/// <param name="L2Bytes">Second-level cache.</param>
/// <param name="MemoryBytes">Device memory.</param>
/// <param name="ClockKhz">Highest clock of the multiprocessors.</param>
/// <param name="MemoryClockKhz">Highest clock of the memory.</param>
/// <param name="MemoryBusBits">Width of the memory bus.</param>
/// <param name="DriverVersion">Version of the CUDA driver's interface; null on the emulator.</param>
public sealed record CudaProperties(
    string Name,
    Version ComputeCapability,
    int Multiprocessors,
    int SharedBytesPerBlock,
    int SharedBytesPerMultiprocessor,
    int ThreadsPerMultiprocessor,
    int RegistersPerMultiprocessor,
    long L2Bytes,
    long MemoryBytes,
    int ClockKhz,
    int MemoryClockKhz,
    int MemoryBusBits,
    Version? DriverVersion);
