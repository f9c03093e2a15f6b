/* krn_cuda_kv_append. A warp owns a block of 16 tokens of a head, keys or values: nobody else writes its bytes. First it
 * finds the scales of its tokens, one after the other, then it composes the block dword by dword, as kv_layout.h of
 * kernels_cpu draws it; 32 dwords that follow each other are stored at once. */
#include "cuda/kv_cache/kv_store.cuh"

namespace {

using namespace kernels;

template <int32_t type> KRN_DEVICE void append(const krn_cuda_kv_append_params &p) {
    const int32_t unit = ptx::block_x() * KRN_CUDA_KV_APPEND_WARPS + ptx::warp(), side = p.first_side + ptx::block_y();
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const KvSlice slice = kv_slice(p.cache, entry, unit, p.device_flags);
    if (slice.page == nullptr)
        return;
    const krn_cuda_kv_section &section = side == 0 ? p.cache.keys : p.cache.values;
    const krn_cuda_codes &codes = p.codes[side];
    const int32_t at = slice.start % p.cache.page_tokens;
    uint8_t *const scales = slice.page + section.scales_at;
    const RowSource<type> source = {static_cast<const uint8_t *>(p.source[side]) + slice.row * p.ld_bytes[side] +
                                        static_cast<int64_t>(slice.head) * p.cache.head_dim * ELEMENT_BYTES<type>,
                                    p.ld_bytes[side], p.is_aligned[side] != 0};
    const KvBlock block = {
        slice.begin - slice.start,
        slice.end - slice.begin,
        p.cache.head_dim,
        slice.head,
        side == 0,
        slice.page + section.codes_at + at / KRN_CUDA_KV_BLOCK * section.block_bytes,
        reinterpret_cast<float *>(scales) + at,
        scales + 4 * p.cache.page_tokens + at,
        ptx::shared_base() + static_cast<uint32_t>(ptx::warp()) * KRN_CUDA_KV_BLOCK * 16,
        ptx::lane(),
        32,
    };
    derive_scales(block, source, codes, section, p.device_flags);
    ptx::sync_warp();
    store_block(block, source, codes, section);
}

} // namespace

KRN_KERNEL(krn_cuda_kv_append_f32, krn_cuda_kv_append_params, 32 * KRN_CUDA_KV_APPEND_WARPS, 4) {
    append<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_kv_append_f16, krn_cuda_kv_append_params, 32 * KRN_CUDA_KV_APPEND_WARPS, 4) {
    append<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_kv_append_bf16, krn_cuda_kv_append_params, 32 * KRN_CUDA_KV_APPEND_WARPS, 4) {
    append<KRN_TYPE_BF16>(p);
}
