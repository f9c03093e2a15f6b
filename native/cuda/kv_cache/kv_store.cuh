/* From floats to the bytes of a block of 16 tokens of a head, as kv_layout.h of kernels_cpu draws it. Some warps share
 * the work: first they find the scales of the tokens, and past a barrier of theirs they compose the block dword by
 * dword, consecutive ones at once. */
#ifndef KRN_CUDA_KV_STORE_H
#define KRN_CUDA_KV_STORE_H

#include "cuda/kv_cache/kv_page.cuh"
#include "cuda/ptx/warp.h"
#include "cuda/quantize/codes.cuh"

namespace kernels {

/* Tokens first..first+count-1 of a block. Threads 0..threads-1 work on it, whole warps. */
struct KvBlock {
    int32_t first, count, head_dim, head;
    bool is_key;
    uint8_t *codes;
    float *scales;
    uint8_t *zero_points;
    /* 16 bytes for each token. */
    ptx::SharedAddress encoders;
    int32_t rank, threads;
};

/* Where the tokens of a block come from: rows of a tensor. Another source is a tile in shared memory. */
template <int32_t type> struct RowSource {
    const uint8_t *first;
    int64_t ld_bytes;
    bool is_aligned;

    KRN_DEVICE_MEMBER Quad quad(int32_t row, int32_t c) const {
        return load_quad<type>(first + row * ld_bytes, c, QUAD, is_aligned);
    }
    KRN_DEVICE_MEMBER float element(int32_t row, int32_t c) const {
        return load_element<type>(first + row * ld_bytes, c);
    }
};

/* Of values of this range, NaN where one is not finite. */
KRN_DEVICE Scale scale_of(const krn_cuda_codes &codes, const Range &range) {
    return is_finite(range.magnitude()) ? derive(codes, range)
                                        : Scale{ptx::bits_as<float>(0x7FC00000u), codes.scheme.zero};
}

KRN_DEVICE Encoder encoder_of_range(const krn_cuda_codes &codes, const Range &range, const Scale &scale) {
    return encoder_of(codes.scheme, is_finite(range.magnitude()) ? scale : Scale{0, codes.scheme.zero});
}

template <class Source>
KRN_DEVICE void derive_scales(const KvBlock &b, const Source &source, const krn_cuda_codes &codes,
                              const krn_cuda_kv_section &section, int32_t *device_flags) {
    for (int32_t row = b.rank / 32; row < b.count; row += b.threads / 32) {
        Range range = {0, 0};
        for (int32_t c = QUAD * ptx::lane(); c < b.head_dim; c += QUAD * 32) {
            const Quad x = source.quad(row, c);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e++)
                extend(range, x.at[e]);
        }
        range = {ptx::reduce_max(range.above), ptx::reduce_max(range.below)};
        Scale scale = scale_of(codes, range);
        if (section.static_scales != nullptr)
            scale = {ptx::load_global_nc(section.static_scales + b.head), static_zero(section, b.head)};
        if (ptx::lane() != 0)
            continue;
        if (!is_finite(range.magnitude()))
            raise_flag(device_flags, KRN_CUDA_FLAG_NON_FINITE);
        const int32_t token = b.first + row;
        ptx::store_shared(b.encoders + 16 * static_cast<uint32_t>(token), encoder_of_range(codes, range, scale));
        if (section.has_scales)
            ptx::store_global(b.scales + token, scale.scale);
        if (section.has_zero_points)
            ptx::store_global(b.zero_points + token, static_cast<uint8_t>(scale.zero));
    }
    /* What is behind the tokens of a new block, up to its end: zeros. */
    if (b.first == 0 && b.rank >= b.count && b.rank < KRN_CUDA_KV_BLOCK) {
        if (section.has_scales)
            ptx::store_global(b.scales + b.rank, 0.0f);
        if (section.has_zero_points)
            ptx::store_global(b.zero_points + b.rank, uint8_t{0});
    }
}

/* What stored codes are combined with by exclusive or. */
KRN_DEVICE uint32_t flip_of(const krn_cuda_kv_section &section, bool is_key) {
    return section.type == KRN_TYPE_S4 ? 8 : section.type == KRN_TYPE_S8 && is_key ? 0x80 : 0;
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

template <int32_t bits, class Source>
KRN_DEVICE void store_block_of(const KvBlock &b, const Source &source, const krn_cuda_codes &codes,
                               const krn_cuda_kv_section &section) {
    constexpr int32_t PER_DWORD = 32 / bits;
    constexpr uint32_t MASK = 0xFFFFFFFFu >> (32 - bits);
    const uint32_t flip = flip_of(section, b.is_key);
    const int32_t dwords = KRN_CUDA_KV_BLOCK * section.stored_dim / PER_DWORD;
    for (int32_t i = b.rank; i < dwords; i += b.threads) {
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
                code = stored<bits>(codes, section.type, flip, encoder, source.element(t - b.first, c));
            }
            dword = (dword & ~(MASK << shift_in_dword<bits>(e))) | code << shift_in_dword<bits>(e);
        }
        ptx::store_global(to, dword);
    }
}

template <class Source>
KRN_DEVICE void store_block(const KvBlock &b, const Source &source, const krn_cuda_codes &codes,
                            const krn_cuda_kv_section &section) {
    switch (section.bits) {
    case 32: store_block_of<32>(b, source, codes, section); break;
    case 16: store_block_of<16>(b, source, codes, section); break;
    case 8: store_block_of<8>(b, source, codes, section); break;
    default: store_block_of<4>(b, source, codes, section); break;
    }
}

} // namespace kernels

#endif
