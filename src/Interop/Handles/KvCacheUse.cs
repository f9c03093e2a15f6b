using Kernels.Native;

namespace Kernels.Handles;

/// <summary>Keeps a cache alive during a native call; an exclusive use also keeps other calls out, a shared one those that change it.</summary>
internal readonly unsafe ref struct KvCacheUse
{
    private readonly KvCache _cache;
    private readonly bool _exclusive;

    internal KvCacheUse(KvCache cache, krn_kv_cache* pointer, bool exclusive)
    {
        _cache = cache;
        _exclusive = exclusive;
        Pointer = pointer;
    }

    public krn_kv_cache* Pointer { get; }

    public void Dispose() => _cache.EndUse(_exclusive);
}
