/* krn_cuda_kv_append of keys with a scale per channel within a group of tokens (KIVI). A thread block takes a group of
 * a head, 16 tokens at a time: once it is complete it finds the range of every channel, then it makes the tokens again
 * and stores their codes. The thread block of the first group also writes the incomplete one to the tail, in which the
 * keys of the first may have waited until then. */
#include "cuda/kv_cache/kv_keys.cuh"

namespace {

using namespace kernels;

/* A group of a head, and the tokens of its sequence that were there before. */
struct Group {
    int32_t head, start, old_length;
    float *tail;
};

/* Tokens start..start+15, of which first..first+count-1 are new and lie in the tile; in a group that is complete those
 * before them, which waited in the tail, follow. */
struct GroupBlock {
    Tile tile;
    int32_t start, first, count;

    KRN_DEVICE_MEMBER int32_t row(int32_t token) const { return (token + count) % KRN_CUDA_KV_BLOCK; }
};

KRN_DEVICE GroupBlock block_at(const krn_cuda_kv_keys_params &p, const KvEntry &entry, const Group &g, int32_t start) {
    const int32_t old = g.old_length - start, rest = entry.length - start;
    const int32_t first = old < 0 ? 0 : old < KRN_CUDA_KV_BLOCK ? old : KRN_CUDA_KV_BLOCK;
    const int32_t end = rest < KRN_CUDA_KV_BLOCK ? rest : KRN_CUDA_KV_BLOCK;
    return {key_tile(end - first, p.cache.head_dim), start, first, end - first};
}

/* Old tokens from the tail. Begins and ends with a barrier. */
KRN_DEVICE void take_old(const krn_cuda_kv_keys_params &p, const Group &g, const GroupBlock &b) {
    const int32_t dim = p.cache.head_dim;
    const TileSource keys = {b.tile, dim};
    const float *const tail = g.tail + (b.start - g.start) * dim;
    ptx::sync_threads();
    for (int32_t i = b.tile.rank; i < KRN_CUDA_KV_BLOCK * dim && b.first > 0; i += b.tile.threads)
        if (i % KRN_CUDA_KV_BLOCK < b.first)
            keys.set(b.row(i % KRN_CUDA_KV_BLOCK), i / KRN_CUDA_KV_BLOCK, ptx::load_global(tail + i));
    ptx::sync_threads();
}

/* A thread has channels thread, thread + threads... */
constexpr int32_t CHANNELS = KRN_CUDA_KV_MAX_HEAD_DIM / KRN_CUDA_KV_KEYS_THREADS;

KRN_DEVICE void extend_ranges(const krn_cuda_kv_keys_params &p, const GroupBlock &b, Range (&ranges)[CHANNELS]) {
    const TileSource keys = {b.tile, p.cache.head_dim};
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < CHANNELS; n++) {
        const int32_t c = b.tile.rank + n * b.tile.threads;
        for (int32_t row = 0; row < KRN_CUDA_KV_BLOCK && c < p.cache.head_dim; row++)
            extend(ranges[n], keys.element(row, c));
    }
}

KRN_DEVICE void derive_channels(const krn_cuda_kv_keys_params &p, const Range (&ranges)[CHANNELS], uint8_t *scales) {
    const int32_t dim = p.cache.head_dim;
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < CHANNELS; n++) {
        const int32_t c = ptx::thread_x() + n * ptx::block_threads();
        if (c >= dim)
            continue;
        const Scale scale = scale_of(p.codes, ranges[n]);
        if (!is_finite(ranges[n].magnitude()))
            raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
        ptx::store_shared(ptx::shared_base() + 16 * static_cast<uint32_t>(c),
                          encoder_of_range(p.codes, ranges[n], scale));
        ptx::store_global(reinterpret_cast<float *>(scales) + c, scale.scale);
        if (p.cache.keys.type == KRN_TYPE_U4)
            ptx::store_global(scales + 4 * dim + c, static_cast<uint8_t>(scale.zero));
    }
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

/* New tokens to the tail, whose group begins at `start`. What is behind them in a new block of 16 becomes zeros. */
KRN_DEVICE void store_tail(const krn_cuda_kv_keys_params &p, const Group &g, const GroupBlock &b, int32_t start) {
    const int32_t dim = p.cache.head_dim, end = b.first + b.count;
    const TileSource keys = {b.tile, dim};
    float *const tail = g.tail + (b.start - start) * dim;
    for (int32_t i = b.tile.rank; i < KRN_CUDA_KV_BLOCK * dim; i += b.tile.threads) {
        const int32_t t = i % KRN_CUDA_KV_BLOCK;
        if (t < b.first || (t >= end && b.first > 0))
            continue;
        const float x = t < end ? keys.element(t - b.first, i / KRN_CUDA_KV_BLOCK) : 0.0f;
        if (!is_finite(magnitude_bits(x)))
            raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
        ptx::store_global(tail + i, x);
    }
}

/* The page of a group, nullptr when the table names none. */
KRN_DEVICE uint8_t *page_of(const krn_cuda_kv_keys_params &p, const KvEntry &entry, const Group &g) {
    uint8_t *const page = kv_head(p.cache, entry.sequence, g.start, g.head);
    if (page == nullptr)
        raise_flag(p.device_flags, KRN_CUDA_FLAG_PAGES);
    return page;
}

template <int32_t type> KRN_DEVICE void append_groups(const krn_cuda_kv_keys_params &p) {
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const krn_cuda_kv_section &section = p.cache.keys;
    const int32_t group = section.group, index = ptx::block_x() / p.cache.kv_heads;
    const int32_t old_length = entry.length - entry.rows, incomplete = entry.length / group * group;
    Group g = {ptx::block_x() % p.cache.kv_heads, (old_length / group + index) * group, old_length, nullptr};
    if (entry.rows == 0 || g.start >= entry.length || (index > 0 && g.start == incomplete))
        return;
    g.tail = kv_tail(p.cache, entry.sequence, g.head);
    uint8_t *const page = g.start < incomplete ? page_of(p, entry, g) : nullptr;
    const int32_t at = g.start % p.cache.page_tokens, blocks = group / KRN_CUDA_KV_BLOCK;
    /* Steps: the tokens of a complete group, the same once more, and new ones of the incomplete group. One loop, because
     * what it does to keys is thousands of instructions. */
    const int32_t group_steps = page != nullptr ? 2 * blocks : 0;
    const int32_t tail_from = (old_length > incomplete ? old_length : incomplete) / KRN_CUDA_KV_BLOCK;
    const int32_t tail_steps = index == 0 && incomplete < entry.length
                                   ? (entry.length + KRN_CUDA_KV_BLOCK - 1) / KRN_CUDA_KV_BLOCK - tail_from
                                   : 0;
    Range ranges[CHANNELS] = {};
    KRN_UNROLL_NONE
    for (int32_t step = 0; step < group_steps + tail_steps; step++) {
        const bool is_tail = step >= group_steps;
        const int32_t block = step % blocks;
        const GroupBlock b = block_at(p, entry, g,
                                      is_tail ? (tail_from + step - group_steps) * KRN_CUDA_KV_BLOCK
                                              : g.start + block * KRN_CUDA_KV_BLOCK);
        if (b.count > 0)
            change_keys<type>(p, b.tile, entry, g.head, b.start + b.first,
                              entry.first_row + b.start + b.first - old_length);
        if (is_tail) {
            store_tail(p, g, b, incomplete);
            continue;
        }
        take_old(p, g, b);
        if (step < blocks)
            extend_ranges(p, b, ranges);
        if (step == blocks - 1)
            derive_channels(p, ranges, page + section.scales_at + at / group * section.group_bytes);
        uint8_t *const codes = page + section.codes_at + (at / KRN_CUDA_KV_BLOCK + block) * section.block_bytes;
        if (step >= blocks && section.bits == 8)
            store_codes<8>(p, b, codes);
        else if (step >= blocks)
            store_codes<4>(p, b, codes);
    }
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
