using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Kernels.Harness.Formats;

/// <summary>
/// Reads the head of a little-endian file forwards, through a buffer. Nothing is allocated for a count before the file
/// has shown that it is long enough to hold so many.
/// </summary>
internal sealed class HeaderReader
{
    private const int BufferBytes = 64 * 1024;

    private static readonly UTF8Encoding s_strictUtf8 = new(
        encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly RandomAccessFile _file;
    private readonly long _end;
    private readonly byte[] _buffer;
    private long _bufferStart;
    private int _bufferCount;

    /// <summary>
    /// Starts at the first byte; to read past <paramref name="limitBytes"/> is an error, as past the end of the file.
    /// </summary>
    public HeaderReader(RandomAccessFile file, long limitBytes)
    {
        _file = file;
        _end = Math.Min(file.Length, limitBytes);
        _buffer = new byte[Math.Min(BufferBytes, _end)];
    }

    /// <summary>The offset of the next byte.</summary>
    public long Position { get; private set; }

    public T Read<T>()
        where T : unmanaged
    {
        T value = default;
        ReadBytes(MemoryMarshal.AsBytes(new Span<T>(ref value)));
        return value;
    }

    public T[] ReadArray<T>(ulong count)
        where T : unmanaged
    {
        Require(count, Unsafe.SizeOf<T>());
        T[] values = GC.AllocateUninitializedArray<T>((int)count);
        ReadBytes(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>A string: its length in bytes as u64, then UTF-8.</summary>
    public string ReadString(long maximumBytes)
    {
        long start = Position;
        ulong length = Read<ulong>();
        if (length > (ulong)maximumBytes)
        {
            throw _file.Fail(start, $"a string claims {length} bytes, more than the {maximumBytes} that are allowed here");
        }

        byte[] bytes = ReadArray<byte>(length);
        try
        {
            return s_strictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException fault)
        {
            throw _file.Fail(start + sizeof(ulong), "a string is not valid UTF-8", fault);
        }
    }

    /// <summary>
    /// Makes sure that <paramref name="count"/> things of at least so many bytes each can still follow.
    /// </summary>
    public void Require(ulong count, int bytesEach)
    {
        if ((UInt128)count * (uint)bytesEach > (ulong)(_end - Position))
        {
            string end = _end == _file.Length ? "the file ends" : "a header may end";
            throw _file.Fail(Position, $"{count} x {bytesEach} bytes or more must follow, but {end} at byte {_end}");
        }
    }

    private void ReadBytes(Span<byte> destination)
    {
        Require(1, destination.Length);
        while (!destination.IsEmpty)
        {
            int at = (int)(Position - _bufferStart);
            if (at >= _bufferCount)
            {
                _bufferStart = Position;
                _bufferCount = (int)Math.Min(_buffer.Length, _end - Position);
                _file.Read(_bufferStart, _buffer.AsSpan(0, _bufferCount));
                at = 0;
            }

            int count = Math.Min(destination.Length, _bufferCount - at);
            _buffer.AsSpan(at, count).CopyTo(destination);
            destination = destination[count..];
            Position += count;
        }
    }
}
