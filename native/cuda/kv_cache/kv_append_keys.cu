/* krn_cuda_kv_append of keys to which something is done, with scales of their tokens, of their head, or none: a thread
 * block makes 16 tokens of a head in shared memory and stores them from there. Before that the means of sequences that
 * were empty, in which the tokens are added in order. */
#include "cuda/kv_cache/kv_keys.cuh"

namespace {

using namespace kernels;

template <int32_t type> KRN_DEVICE void append_keys(const krn_cuda_kv_keys_params &p) {
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const KvSlice slice = kv_slice(p.cache, entry, ptx::block_x(), p.device_flags);
    if (slice.page == nullptr)
        return;
    const krn_cuda_kv_section &section = p.cache.keys;
    const int32_t at = slice.start % p.cache.page_tokens, count = slice.end - slice.begin;
    uint8_t *const scales = slice.page + section.scales_at;
    const Tile tile = key_tile(count, p.cache.head_dim);
    change_keys<type>(p, tile, entry, slice.head, slice.begin, slice.row);
    const KvBlock block = {
        slice.begin - slice.start,
        count,
        p.cache.head_dim,
        slice.head,
        true,
        slice.page + section.codes_at + at / KRN_CUDA_KV_BLOCK * section.block_bytes,
        reinterpret_cast<float *>(scales) + at,
        scales + 4 * p.cache.page_tokens + at,
        ptx::shared_base(),
        tile.rank,
        tile.threads,
    };
    const TileSource source = {tile, p.cache.head_dim};
    derive_scales(block, source, p.codes, section, p.device_flags);
    ptx::sync_threads();
    store_block(block, source, p.codes, section);
}

template <int32_t type> KRN_DEVICE void take_mean(const krn_cuda_kv_keys_params &p) {
    /* Loads that are on their way at the same time. */
    constexpr int32_t AHEAD = 8;
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const int32_t index = ptx::block_x() * KRN_CUDA_KV_MEAN_THREADS + ptx::thread_x(), dim = p.cache.head_dim;
    if (entry.rows == 0 || entry.rows != entry.length || index >= p.cache.kv_heads * dim)
        return;
    if (p.cache.mean_is_set != nullptr && ptx::load_global_nc(p.cache.mean_is_set + entry.sequence) != 0)
        return;
    const int32_t head = index / dim, c = index % dim, half = p.rope.rotary_dim / 2;
    const bool turns = c < p.rope.rotary_dim;
    const int32_t i = !turns ? 0 : p.rope.is_half ? c % half : c / 2;
    const KeyPair pair = turns ? key_pair(p.rope, i) : KeyPair{c, c, false};
    float sum = 0;
    KRN_UNROLL_NONE
    for (int32_t first = 0; first < entry.rows; first += AHEAD) {
        float a[AHEAD], b[AHEAD];
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < AHEAD; e++) {
            const int32_t token = first + e < entry.rows ? first + e : first;
            const uint8_t *const source = key_row<type>(p, entry.first_row + token, head);
            a[e] = load_element<type>(source, pair.first);
            b[e] = turns ? load_element<type>(source, pair.second) : 0.0f;
        }
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < AHEAD; e++) {
            if (first + e >= entry.rows)
                continue;
            float x = a[e];
            const float *const angles = turns ? angles_of(p.rope, entry.first_row + first + e, first + e) : nullptr;
            if (angles != nullptr) {
                const Turned turned = turn(p.rope, angles, i, a[e], b[e]);
                x = c == pair.first ? turned.first : turned.second;
            } else if (c == pair.second) {
                x = turns ? b[e] : x;
            }
            sum = ptx::add_rn(sum, x);
        }
    }
    const float mean = ptx::div_rn(sum, ptx::f32_from_s32_rn(entry.rows));
    if (!is_finite(magnitude_bits(mean)))
        raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
    ptx::store_global(kv_mean(p.cache, entry.sequence, head) + c, mean);
}

} // namespace

KRN_KERNEL(krn_cuda_kv_append_keys_f32, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    append_keys<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_kv_append_keys_f16, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    append_keys<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_kv_append_keys_bf16, krn_cuda_kv_keys_params, KRN_CUDA_KV_KEYS_THREADS, 2) {
    append_keys<KRN_TYPE_BF16>(p);
}
KRN_KERNEL(krn_cuda_kv_means_f32, krn_cuda_kv_keys_params, KRN_CUDA_KV_MEAN_THREADS, 8) { take_mean<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_kv_means_f16, krn_cuda_kv_keys_params, KRN_CUDA_KV_MEAN_THREADS, 8) { take_mean<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_kv_means_bf16, krn_cuda_kv_keys_params, KRN_CUDA_KV_MEAN_THREADS, 8) {
    take_mean<KRN_TYPE_BF16>(p);
}
