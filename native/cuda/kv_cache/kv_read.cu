/* krn_cuda_kv_read. A warp takes a block of 16 tokens of a head, keys or values, and reads 32 dwords that follow each other
 * at once. */
#include "cuda/kv_cache/kv_page.cuh"

namespace {

using namespace kernels;

template <int32_t type, int32_t bits>
KRN_DEVICE void read_block(const krn_cuda_kv_read_params &p, const krn_cuda_kv_section &section, const KvSlice &slice,
                           bool is_key) {
    constexpr int32_t PER_DWORD = 32 / bits;
    constexpr uint32_t MASK = 0xFFFFFFFFu >> (32 - bits);
    const int32_t at = slice.start % p.cache.page_tokens, side = is_key ? 0 : 1;
    const uint8_t *const scales = slice.page + section.scales_at;
    const auto *const codes = reinterpret_cast<const uint32_t *>(slice.page + section.codes_at +
                                                                 at / KRN_CUDA_KV_BLOCK * section.block_bytes);
    uint8_t *const target = static_cast<uint8_t *>(p.target[side]) +
                            static_cast<int64_t>(slice.head) * p.cache.head_dim * ELEMENT_BYTES<type>;
    const int32_t dwords = KRN_CUDA_KV_BLOCK * section.stored_dim / PER_DWORD;
    for (int32_t i = ptx::lane(); i < dwords; i += 32) {
        /* Of keys, a dword is channels of a token; of values, tokens of a channel. */
        const int32_t token = slice.start + (is_key ? i % KRN_CUDA_KV_BLOCK : i / section.stored_dim * PER_DWORD);
        const int32_t channel = is_key ? i / KRN_CUDA_KV_BLOCK * PER_DWORD : i % section.stored_dim;
        const uint32_t dword = ptx::load_global_nc(codes + i);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < PER_DWORD; e++) {
            const int32_t t = is_key ? token : token + e, c = is_key ? channel + e : channel;
            if (t < slice.begin || t >= slice.end || c >= p.cache.head_dim)
                continue;
            const int32_t index = at + t - slice.start;
            int32_t zero = static_zero(section, slice.head);
            if (section.has_zero_points)
                zero = ptx::load_global_nc(scales + 4 * p.cache.page_tokens + index);
            float x = value_of<bits>(section.type, dword >> shift_in_dword<bits>(e) & MASK, is_key, zero);
            if (section.has_scales)
                x = ptx::mul_rn(x, ptx::load_global_nc(reinterpret_cast<const float *>(scales) + index));
            else if (section.static_scales != nullptr)
                x = ptx::mul_rn(x, ptx::load_global_nc(section.static_scales + slice.head));
            store_element<type>(target + (slice.row + t - slice.begin) * p.ld_bytes[side], c, x);
        }
    }
}

template <int32_t type> KRN_DEVICE void read(const krn_cuda_kv_read_params &p) {
    const int32_t unit = ptx::block_x() * KRN_CUDA_KV_APPEND_WARPS + ptx::warp(), side = p.first_side + ptx::block_y();
    if (p.target[side] == nullptr)
        return;
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const KvSlice slice = kv_slice(p.cache, entry, unit, p.device_flags);
    if (slice.page == nullptr)
        return;
    const krn_cuda_kv_section &section = side == 0 ? p.cache.keys : p.cache.values;
    switch (section.bits) {
    case 32: read_block<type, 32>(p, section, slice, side == 0); break;
    case 16: read_block<type, 16>(p, section, slice, side == 0); break;
    case 8: read_block<type, 8>(p, section, slice, side == 0); break;
    default: read_block<type, 4>(p, section, slice, side == 0); break;
    }
}

} // namespace

KRN_KERNEL(krn_cuda_kv_read_f32, krn_cuda_kv_read_params, 32 * KRN_CUDA_KV_APPEND_WARPS, 4) { read<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_kv_read_f16, krn_cuda_kv_read_params, 32 * KRN_CUDA_KV_APPEND_WARPS, 4) { read<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_kv_read_bf16, krn_cuda_kv_read_params, 32 * KRN_CUDA_KV_APPEND_WARPS, 4) { read<KRN_TYPE_BF16>(p); }
