/* krn_cuda_kv_append of keys with a scale per channel within a group of tokens (KIVI). A thread block takes a group of
 * a head: once it is complete it finds the range of every channel, 16 tokens at a time, makes the tokens again and
 * stores their codes. The thread block of the first group also writes the incomplete one to the tail, in which the
 * keys of the first may have waited until then. */
#include "cuda/kv_cache/kv_keys.cuh"

namespace {

using namespace kernels;

/* A group of a head, and the tokens of its sequence that were there before. */
struct Group {
    const KvEntry &entry;
    int32_t head, start, old_length;
    float *tail;
};

/* Tokens start..start+15 of a group of which all are there. New tokens lie first in the tile, and behind them those
 * that waited in the tail. */
struct GroupBlock {
    Tile tile;
    int32_t count;

    KRN_DEVICE_MEMBER int32_t row(int32_t token) const { return (token + count) % KRN_CUDA_KV_BLOCK; }
};

KRN_DEVICE float *tail_block(const krn_cuda_kv_keys_params &p, const Group &g, int32_t start) {
    return g.tail + (start - g.start) * p.cache.head_dim;
}

template <int32_t type>
KRN_DEVICE GroupBlock make_block(const krn_cuda_kv_keys_params &p, const Group &g, int32_t start) {
    const int32_t dim = p.cache.head_dim, old = g.old_length - start;
    const int32_t count = old <= 0 ? KRN_CUDA_KV_BLOCK : old < KRN_CUDA_KV_BLOCK ? KRN_CUDA_KV_BLOCK - old : 0;
    const GroupBlock block = {key_tile(count, dim), count};
    if (count > 0) {
        const int32_t first = start + KRN_CUDA_KV_BLOCK - count;
        change_keys<type>(p, block.tile, g.entry, g.head, first, g.entry.first_row + first - g.old_length);
    }
    const TileSource keys = {block.tile, dim};
    const float *const tail = tail_block(p, g, start);
    ptx::sync_threads();
    for (int32_t i = block.tile.rank; i < KRN_CUDA_KV_BLOCK * dim && old > 0; i += block.tile.threads)
        if (i % KRN_CUDA_KV_BLOCK < old)
            keys.set(block.row(i % KRN_CUDA_KV_BLOCK), i / KRN_CUDA_KV_BLOCK, ptx::load_global(tail + i));
    ptx::sync_threads();
    return block;
}

template <int32_t bits>
KRN_DEVICE void store_codes(const krn_cuda_kv_keys_params &p, const GroupBlock &b, uint8_t *codes) {
    constexpr int32_t PER_DWORD = 32 / bits;
    const krn_cuda_kv_section &section = p.cache.keys;
    const TileSource keys = {b.tile, p.cache.head_dim};
    const uint32_t flip = flip_of(section, true);
    const int32_t dwords = KRN_CUDA_KV_BLOCK * p.cache.head_dim / PER_DWORD;
    for (int32_t i = b.tile.rank; i < dwords; i += b.tile.threads) {
        const int32_t row = b.row(i % KRN_CUDA_KV_BLOCK), channel = i / KRN_CUDA_KV_BLOCK * PER_DWORD;
        uint32_t dword = 0;
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < PER_DWORD; e++) {
            const auto encoder =
                ptx::load_shared<Encoder>(ptx::shared_base() + 16 * static_cast<uint32_t>(channel + e));
            dword |= stored<bits>(p.codes, section.type, flip, encoder, keys.element(row, channel + e))
                     << shift_in_dword<bits>(e);
        }
        ptx::store_global(reinterpret_cast<uint32_t *>(codes) + i, dword);
    }
}

template <int32_t type> KRN_DEVICE void store_group(const krn_cuda_kv_keys_params &p, const Group &g) {
    constexpr int32_t CHANNELS = KRN_CUDA_KV_MAX_HEAD_DIM / KRN_CUDA_KV_KEYS_THREADS;
    const krn_cuda_kv_section &section = p.cache.keys;
    const int32_t dim = p.cache.head_dim, at = g.start % p.cache.page_tokens, threads = ptx::block_threads();
    uint8_t *const page = kv_head(p.cache, g.entry.sequence, g.start, g.head);
    if (page == nullptr) {
        raise_flag(p.device_flags, KRN_CUDA_FLAG_PAGES);
        return;
    }
    Range ranges[CHANNELS] = {};
    KRN_UNROLL_NONE
    for (int32_t start = g.start; start < g.start + section.group; start += KRN_CUDA_KV_BLOCK) {
        const GroupBlock block = make_block<type>(p, g, start);
        const TileSource keys = {block.tile, dim};
        KRN_UNROLL_ALL
        for (int32_t n = 0; n < CHANNELS; n++) {
            const int32_t c = ptx::thread_x() + n * threads;
            for (int32_t row = 0; row < KRN_CUDA_KV_BLOCK && c < dim; row++)
                extend(ranges[n], keys.element(row, c));
        }
    }
    uint8_t *const scales = page + section.scales_at + at / section.group * section.group_bytes;
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < CHANNELS; n++) {
        const int32_t c = ptx::thread_x() + n * threads;
        if (c >= dim)
            continue;
        const Scale scale = scale_of(p.codes, ranges[n]);
        if (!is_finite(ranges[n].magnitude()))
            raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
        ptx::store_shared(ptx::shared_base() + 16 * static_cast<uint32_t>(c),
                          encoder_of_range(p.codes, ranges[n], scale));
        ptx::store_global(reinterpret_cast<float *>(scales) + c, scale.scale);
        if (section.type == KRN_TYPE_U4)
            ptx::store_global(scales + 4 * dim + c, static_cast<uint8_t>(scale.zero));
    }
    KRN_UNROLL_NONE
    for (int32_t start = 0; start < section.group; start += KRN_CUDA_KV_BLOCK) {
        const GroupBlock block = make_block<type>(p, g, g.start + start);
        uint8_t *const codes = page + section.codes_at + (at + start) / KRN_CUDA_KV_BLOCK * section.block_bytes;
        if (section.bits == 8)
            store_codes<8>(p, block, codes);
        else
            store_codes<4>(p, block, codes);
    }
}

/* New tokens of an incomplete group. What is behind them in their last block becomes zeros. */
template <int32_t type> KRN_DEVICE void store_tail(const krn_cuda_kv_keys_params &p, const Group &g) {
    const int32_t dim = p.cache.head_dim;
    const int32_t begin = g.old_length > g.start ? g.old_length : g.start;
    KRN_UNROLL_NONE
    for (int32_t start = begin / KRN_CUDA_KV_BLOCK * KRN_CUDA_KV_BLOCK; start < g.entry.length;
         start += KRN_CUDA_KV_BLOCK) {
        const int32_t first = begin > start ? begin - start : 0, rest = g.entry.length - start;
        const int32_t end = rest < KRN_CUDA_KV_BLOCK ? rest : KRN_CUDA_KV_BLOCK;
        const Tile tile = key_tile(end - first, dim);
        change_keys<type>(p, tile, g.entry, g.head, start + first, g.entry.first_row + start + first - g.old_length);
        const TileSource keys = {tile, dim};
        float *const tail = tail_block(p, g, start);
        for (int32_t i = tile.rank; i < KRN_CUDA_KV_BLOCK * dim; i += tile.threads) {
            const int32_t t = i % KRN_CUDA_KV_BLOCK;
            if (t < first || (t >= end && first > 0))
                continue;
            const float x = t < end ? keys.element(t - first, i / KRN_CUDA_KV_BLOCK) : 0.0f;
            if (!is_finite(magnitude_bits(x)))
                raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
            ptx::store_global(tail + i, x);
        }
    }
}

template <int32_t type> KRN_DEVICE void append_groups(const krn_cuda_kv_keys_params &p) {
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const int32_t group = p.cache.keys.group, index = ptx::block_x() / p.cache.kv_heads;
    const int32_t old_length = entry.length - entry.rows, incomplete = entry.length / group * group;
    Group g = {entry, ptx::block_x() % p.cache.kv_heads, (old_length / group + index) * group, old_length, nullptr};
    if (entry.rows == 0 || g.start >= entry.length || (index > 0 && g.start == incomplete))
        return;
    g.tail = kv_tail(p.cache, entry.sequence, g.head);
    if (g.start < incomplete)
        store_group<type>(p, g);
    if (index > 0 || incomplete == entry.length)
        return;
    g.start = incomplete;
    store_tail<type>(p, g);
}

} // namespace

KRN_KERNEL(krn_cuda_kv_append_groups_f32, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    append_groups<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_kv_append_groups_f16, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    append_groups<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_kv_append_groups_bf16, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    append_groups<KRN_TYPE_BF16>(p);
}
