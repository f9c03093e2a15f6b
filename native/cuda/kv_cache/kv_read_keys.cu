/* krn_cuda_kv_read of keys that are rotated, centered, or have scales of their channels: a thread block puts up to 16
 * tokens of a head into shared memory, from their page or the tail of their sequence, rotates them back there, and adds
 * the mean. */
#include "cuda/kv_cache/kv_keys.cuh"

namespace {

using namespace kernels;

/* Where the codes of 16 tokens lie, and their scales: of the tokens, of the channels, or of the head. */
struct Stored {
    const uint8_t *codes, *scales;
    int32_t zeros_at;
    bool is_by_channel;
};

template <int32_t bits>
KRN_DEVICE void load_block(const krn_cuda_kv_keys_params &p, const KvSlice &slice, const Stored &from,
                           const TileSource &keys) {
    constexpr int32_t PER_DWORD = 32 / bits;
    constexpr uint32_t MASK = 0xFFFFFFFFu >> (32 - bits);
    const krn_cuda_kv_section &section = p.cache.keys;
    const int32_t dwords = KRN_CUDA_KV_BLOCK * p.cache.head_dim / PER_DWORD;
    const auto *const scales = reinterpret_cast<const float *>(from.scales);
    for (int32_t i = keys.tile.rank; i < dwords; i += keys.tile.threads) {
        const int32_t token = i % KRN_CUDA_KV_BLOCK, row = slice.start + token - slice.begin;
        if (row < 0 || slice.start + token >= slice.end)
            continue;
        const uint32_t dword = ptx::load_global_nc(reinterpret_cast<const uint32_t *>(from.codes) + i);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < PER_DWORD; e++) {
            const int32_t c = i / KRN_CUDA_KV_BLOCK * PER_DWORD + e, index = from.is_by_channel ? c : token;
            int32_t zero = static_zero(section, slice.head);
            if (section.type == KRN_TYPE_U4 && (section.has_zero_points || from.is_by_channel))
                zero = ptx::load_global_nc(from.scales + from.zeros_at + index);
            float x = value_of<bits>(section.type, dword >> shift_in_dword<bits>(e) & MASK, true, zero);
            if (bits <= 8 && (section.has_scales || from.is_by_channel))
                x = ptx::mul_rn(x, ptx::load_global_nc(scales + index));
            else if (section.static_scales != nullptr)
                x = ptx::mul_rn(x, ptx::load_global_nc(section.static_scales + slice.head));
            keys.set(row, c, x);
        }
    }
}

KRN_DEVICE void load_tile(const krn_cuda_kv_keys_params &p, const KvEntry &entry, const KvSlice &slice,
                          const TileSource &keys) {
    const krn_cuda_kv_section &section = p.cache.keys;
    const int32_t at = slice.start % p.cache.page_tokens, paged = kv_paged_keys(p.cache, entry.length);
    if (slice.start >= paged) {
        const float *const tail = kv_tail(p.cache, entry.sequence, slice.head);
        load_block<32>(
            p, slice,
            {reinterpret_cast<const uint8_t *>(tail + (slice.start - paged) * p.cache.head_dim), nullptr, 0, false},
            keys);
        return;
    }
    Stored from = {slice.page + section.codes_at + at / KRN_CUDA_KV_BLOCK * section.block_bytes,
                   slice.page + section.scales_at + 4 * at, 4 * p.cache.page_tokens - 3 * at, false};
    if (section.group != 0)
        from = {from.codes, slice.page + section.scales_at + at / section.group * section.group_bytes,
                4 * p.cache.head_dim, true};
    switch (section.bits) {
    case 32: load_block<32>(p, slice, from, keys); break;
    case 16: load_block<16>(p, slice, from, keys); break;
    case 8: load_block<8>(p, slice, from, keys); break;
    default: load_block<4>(p, slice, from, keys); break;
    }
}

template <int32_t type> KRN_DEVICE void read_keys(const krn_cuda_kv_keys_params &p) {
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const KvSlice slice = kv_slice(p.cache, entry, ptx::block_x(), p.device_flags);
    if (slice.page == nullptr)
        return;
    const int32_t dim = p.cache.head_dim, count = slice.end - slice.begin;
    const Tile tile = key_tile(count, dim);
    const TileSource keys = {tile, dim};
    load_tile(p, entry, slice, keys);
    fill_rest(tile);
    if (p.rotation.n != 0)
        transform_in_place(tile, p.rotation);
    else
        ptx::sync_threads();
    const float *const mean = p.cache.means != nullptr ? kv_mean(p.cache, entry.sequence, slice.head) : nullptr;
    for (int32_t i = tile.rank; i < tile.elems; i += tile.threads) {
        const int32_t row = i / dim, c = i % dim;
        float x = keys.element(row, c);
        if (mean != nullptr)
            x = ptx::add_rn(x, ptx::load_global_nc(mean + c));
        uint8_t *const target = static_cast<uint8_t *>(p.target) + (slice.row + row) * p.ld_bytes;
        store_element<type>(target, static_cast<int64_t>(slice.head) * dim + c, x);
    }
}

} // namespace

KRN_KERNEL(krn_cuda_kv_read_keys_f32, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    read_keys<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_kv_read_keys_f16, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    read_keys<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_kv_read_keys_bf16, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    read_keys<KRN_TYPE_BF16>(p);
}
