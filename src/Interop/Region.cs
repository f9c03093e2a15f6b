namespace Kernels;

/// <summary>The bytes of a pinned matrix: rows of a width, a stride apart. An empty one overlaps nothing.</summary>
internal readonly unsafe struct Region
{
    private readonly nuint _start;
    private readonly nuint _length;
    private readonly nuint _width;
    private readonly nuint _stride;

    public Region(void* start, long rows, long widthBytes, long strideBytes)
    {
        if (start == null || rows == 0 || widthBytes == 0)
            return;
        _start = (nuint)start;
        _width = (nuint)widthBytes;
        _stride = rows == 1 ? _width : (nuint)strideBytes; // the stride of one row is never stepped over and may be anything
        _length = ((nuint)(rows - 1) * _stride) + _width;
    }

    public Region(void* start, long bytes)
        : this(start, 1, bytes, bytes)
    {
    }

    /// <summary>Whether two regions share a byte. Exact for matrices of the same stride, such as two column blocks of one buffer;
    /// for others whose ranges interleave the answer is yes.</summary>
    public bool Overlaps(in Region other)
    {
        if (_length == 0 || other._length == 0 || _start + _length <= other._start || other._start + other._length <= _start)
            return false;
        if (_stride != other._stride)
            return true;

        (Region low, Region high) = _start <= other._start ? (this, other) : (other, this);
        nuint column = (high._start - low._start) % _stride;
        return column < low._width || column + high._width > _stride;
    }
}
