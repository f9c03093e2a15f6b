/* krn_cuda_kv_append. A warp owns a block of 16 tokens of a head, keys or values: nobody else writes its bytes. First it
 * finds the scales of its tokens, one after the other, then it composes the block dword by dword, as kv_layout.h of
 * kernels_cpu draws it; 32 dwords that follow each other are stored at once. */
#include "cuda/kv_cache/kv_page.cuh"
#include "cuda/ptx/warp.h"
#include "cuda/quantize/codes.cuh"

namespace {

using namespace kernels;

/* What a warp works on: `count` tokens of a block from its token `first` on. */
struct Block {
    const uint8_t *source;
    int64_t ld_bytes;
    int32_t first, count, head_dim, head;
    bool is_aligned, is_key;
    uint8_t *codes;
    float *scales;
    uint8_t *zero_points;
    ptx::SharedAddress encoders;

    KRN_DEVICE_MEMBER const uint8_t *row(int32_t token) const { return source + (token - first) * ld_bytes; }
};

template <int32_t type>
KRN_DEVICE void derive_scales(const Block &b, const krn_cuda_codes &codes, const krn_cuda_kv_section &section,
                              int32_t *device_flags) {
    for (int32_t token = b.first; token < b.first + b.count; token++) {
        Range range = {0, 0};
        for (int32_t c = QUAD * ptx::lane(); c < b.head_dim; c += QUAD * 32) {
            const Quad x = load_quad<type>(b.row(token), c, QUAD, b.is_aligned);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e++)
                extend(range, x.at[e]);
        }
        range = {ptx::reduce_max(range.above), ptx::reduce_max(range.below)};
        const bool is_good = is_finite(range.magnitude());
        Scale scale = {ptx::bits_as<float>(0x7FC00000u), codes.scheme.zero};
        if (section.static_scales != nullptr)
            scale = {ptx::load_global_nc(section.static_scales + b.head), static_zero(section, b.head)};
        else if (is_good)
            scale = derive(codes, range);
        if (ptx::lane() != 0)
            continue;
        if (!is_good)
            raise_flag(device_flags, KRN_CUDA_FLAG_NON_FINITE);
        const Encoder encoder = encoder_of(codes.scheme, is_good ? scale : Scale{0, codes.scheme.zero});
        ptx::store_shared(b.encoders + 16 * static_cast<uint32_t>(token), encoder);
        if (section.has_scales)
            ptx::store_global(b.scales + token, scale.scale);
        if (section.has_zero_points)
            ptx::store_global(b.zero_points + token, static_cast<uint8_t>(scale.zero));
    }
    /* What is behind the tokens of a new block, up to its end: zeros. */
    if (b.first == 0 && ptx::lane() >= b.count && ptx::lane() < KRN_CUDA_KV_BLOCK) {
        if (section.has_scales)
            ptx::store_global(b.scales + ptx::lane(), 0.0f);
        if (section.has_zero_points)
            ptx::store_global(b.zero_points + ptx::lane(), uint8_t{0});
    }
    ptx::sync_warp();
}

/* The stored form of x in the low bits. */
template <int32_t bits>
KRN_DEVICE uint32_t stored(const krn_cuda_codes &codes, int32_t code_type, uint32_t flip, const Encoder &encoder,
                           float x) {
    if constexpr (bits == 32)
        return ptx::bits_as<uint32_t>(x);
    else if constexpr (bits == 16)
        return ptx::bf16_from_f32_rn(ptx::min_f32(ptx::max_f32(x, -0x1.FEp+127f), 0x1.FEp+127f));
    else if (bits == 8 && code_type == KRN_TYPE_F8E4M3)
        return f8_from_f32(ptx::mul_rn(x, encoder.inverse));
    else
        return (encode(codes.scheme, encoder, x) ^ flip) & (bits == 4 ? 0xFu : 0xFFu);
}

template <int32_t type, int32_t bits>
KRN_DEVICE void store_block(const Block &b, const krn_cuda_codes &codes, const krn_cuda_kv_section &section) {
    constexpr int32_t PER_DWORD = 32 / bits;
    constexpr uint32_t MASK = 0xFFFFFFFFu >> (32 - bits);
    const uint32_t flip = section.type == KRN_TYPE_S4 ? 8 : section.type == KRN_TYPE_S8 && b.is_key ? 0x80 : 0;
    const int32_t dwords = KRN_CUDA_KV_BLOCK * section.stored_dim / PER_DWORD;
    for (int32_t i = ptx::lane(); i < dwords; i += 32) {
        /* Of keys, a dword is channels of a token; of values, tokens of a channel. */
        const int32_t token = b.is_key ? i % KRN_CUDA_KV_BLOCK : i / section.stored_dim * PER_DWORD;
        const int32_t channel = b.is_key ? i / KRN_CUDA_KV_BLOCK * PER_DWORD : i % section.stored_dim;
        const int32_t end = b.first + b.count;
        const int32_t last_token = b.is_key ? token : token + PER_DWORD - 1;
        uint32_t *const to = reinterpret_cast<uint32_t *>(b.codes) + i;
        if (b.first > 0 && (last_token < b.first || token >= end))
            continue;
        const bool is_partial = b.first > 0 && (token < b.first || last_token >= end);
        uint32_t dword = is_partial ? ptx::load_global(to) : 0;
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < PER_DWORD; e++) {
            const int32_t t = b.is_key ? token : token + e, c = b.is_key ? channel + e : channel;
            const bool is_new = t >= b.first && t < end;
            if (!is_new && b.first > 0)
                continue;
            uint32_t code = flip;
            if (is_new && c < b.head_dim) {
                const auto encoder = ptx::load_shared<Encoder>(b.encoders + 16 * static_cast<uint32_t>(t));
                code = stored<bits>(codes, section.type, flip, encoder, load_element<type>(b.row(t), c));
            }
            dword = (dword & ~(MASK << shift_in_dword<bits>(e))) | code << shift_in_dword<bits>(e);
        }
        ptx::store_global(to, dword);
    }
}

template <int32_t type> KRN_DEVICE void append(const krn_cuda_kv_append_params &p) {
    const int32_t unit = ptx::block_x() * KRN_CUDA_KV_APPEND_WARPS + ptx::warp(), side = ptx::block_y();
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const KvSlice slice = kv_slice(p.cache, entry, unit, p.device_flags);
    if (slice.page == nullptr)
        return;
    const krn_cuda_kv_section &section = side == 0 ? p.cache.keys : p.cache.values;
    const krn_cuda_codes &codes = p.codes[side];
    const int32_t at = slice.start % p.cache.page_tokens;
    uint8_t *const scales = slice.page + section.scales_at;
    const Block block = {
        static_cast<const uint8_t *>(p.source[side]) + slice.row * p.ld_bytes[side] +
            static_cast<int64_t>(slice.head) * p.cache.head_dim * ELEMENT_BYTES<type>,
        p.ld_bytes[side],
        slice.begin - slice.start,
        slice.end - slice.begin,
        p.cache.head_dim,
        slice.head,
        p.is_aligned[side] != 0,
        side == 0,
        slice.page + section.codes_at + at / KRN_CUDA_KV_BLOCK * section.block_bytes,
        reinterpret_cast<float *>(scales) + at,
        scales + 4 * p.cache.page_tokens + at,
        ptx::shared_base() + static_cast<uint32_t>(ptx::warp()) * KRN_CUDA_KV_BLOCK * 16,
    };
    derive_scales<type>(block, codes, section, p.device_flags);
    switch (section.bits) {
    case 32: store_block<type, 32>(block, codes, section); break;
    case 16: store_block<type, 16>(block, codes, section); break;
    case 8: store_block<type, 8>(block, codes, section); break;
    default: store_block<type, 4>(block, codes, section); break;
    }
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
