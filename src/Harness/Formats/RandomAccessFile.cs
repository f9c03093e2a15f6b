using Microsoft.Win32.SafeHandles;

namespace Kernels.Harness.Formats;

/// <summary>
/// A file that is read at given offsets, from any thread. Positional reads rather than a memory map: a file that
/// another process shortens gives an exception here, where a map would end the process with SIGBUS.
/// </summary>
internal sealed class RandomAccessFile : IDisposable
{
    private readonly SafeFileHandle _handle;

    private RandomAccessFile(string path, SafeFileHandle handle, long length)
    {
        Path = path;
        _handle = handle;
        Length = length;
    }

    public string Path { get; }

    /// <summary>The length in bytes when the file was opened; every bound is checked against it.</summary>
    public long Length { get; }

    public static RandomAccessFile Open(string path)
    {
        SafeFileHandle handle = File.OpenHandle(
            path, FileMode.Open, FileAccess.Read, FileShare.Read, FileOptions.RandomAccess);
        try
        {
            return new RandomAccessFile(path, handle, RandomAccess.GetLength(handle));
        }
        catch (NotSupportedException notSeekable)
        {
            handle.Dispose();
            throw new ModelFormatException(path, 0, "is a pipe or a device, not a file", notSeekable);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Fills <paramref name="destination"/> with the bytes at <paramref name="offset"/>.</summary>
    public void Read(long offset, Span<byte> destination)
    {
        if (offset < 0 || offset > Length || destination.Length > Length - offset)
        {
            throw Fail(offset, $"{destination.Length} bytes are needed here, but the file ends at byte {Length}");
        }

        while (!destination.IsEmpty)
        {
            int count = RandomAccess.Read(_handle, destination, offset);
            if (count == 0)
            {
                throw Fail(offset, "the file became shorter while it was being read");
            }

            destination = destination[count..];
            offset += count;
        }
    }

    /// <summary>Reads the whole of a small file.</summary>
    public byte[] ReadAll(long limitBytes)
    {
        if (Length > limitBytes)
        {
            throw Fail(limitBytes, $"the file has {Length} bytes, more than the {limitBytes} that such a file may have");
        }

        byte[] content = new byte[Length];
        Read(0, content);
        return content;
    }

    public ModelFormatException Fail(long offset, string reason, Exception? innerException = null) =>
        new(Path, offset, reason, innerException);

    public void Dispose() => _handle.Dispose();
}
