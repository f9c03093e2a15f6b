/* The first step of a block of 64 tokens: scores of 16 rows and the 16 tokens of each warp. */
#ifndef KRN_CUDA_ATTENTION_SCORES_H
#define KRN_CUDA_ATTENTION_SCORES_H

#include "cuda/attention/attention_stage.cuh"
#include "cuda/ptx/bits.h"
#include "cuda/ptx/mma.h"

namespace kernels {

/* Products of 16 rows and the 16 tokens of a unit. Of tile i of mma.sync, column n is token 2 n + i; a step has 32
 * channels. Of 8 bits, b[0] holds channels 4 t.. and b[1] 16 + 4 t..; of 4 bits, a dword has eight consecutive
 * channels, the low nibbles the first four: b[0] and b[1] hold 8 t.. and 8 t + 4... */
template <int32_t type>
KRN_DEVICE void integer_dots(const krn_cuda_attention_params &p, ptx::SharedAddress queries, int32_t query_ld,
                             ptx::SharedAddress unit, int32_t (&dots)[2][4]) {
    const int32_t g = ptx::lane() / 4, t = ptx::lane() % 4, dim = p.cache.head_dim;
    const ptx::SharedAddress low = queries + static_cast<uint32_t>(g * query_ld);
    const ptx::SharedAddress high = low + 8 * static_cast<uint32_t>(query_ld);
    for (int32_t c = 0; c < dim; c += 32) {
        constexpr int32_t STRIDE = type == KRN_TYPE_S8 ? 4 : 8, APART = type == KRN_TYPE_S8 ? 16 : 4;
        const uint32_t at = static_cast<uint32_t>(c + STRIDE * t);
        const uint32_t a[4] = {ptx::load_shared<uint32_t>(low + at), ptx::load_shared<uint32_t>(high + at),
                               ptx::load_shared<uint32_t>(low + at + APART),
                               ptx::load_shared<uint32_t>(high + at + APART)};
        ptx::U32x2 first = {0, 0}, second = {0, 0};
        const auto load = [&](int32_t q) {
            return ptx::load_shared<ptx::U32x2>(unit + 16 * static_cast<uint32_t>(swizzled_key(q, g / 2)) +
                                                8 * static_cast<uint32_t>(g % 2));
        };
        if constexpr (type == KRN_TYPE_S8) {
            const int32_t q = c / 4 + t;
            if (4 * q < dim)
                first = load(q);
            if (4 * q + 16 < dim)
                second = load(q + 4);
        } else {
            if (c + 8 * t < dim)
                first = load(c / 8 + t);
            second = {first.x >> 4 & 0x0F0F0F0F, first.y >> 4 & 0x0F0F0F0F};
            first = {first.x & 0x0F0F0F0F, first.y & 0x0F0F0F0F};
        }
        const uint32_t b0[2] = {first.x, second.x}, b1[2] = {first.y, second.y};
        ptx::mma_m16n8k32_s8u8(dots[0], a, b0);
        ptx::mma_m16n8k32_s8u8(dots[1], a, b1);
    }
}

KRN_DEVICE ptx::SharedAddress unit_of(const krn_cuda_attention_params &p, const Stage &stage) {
    return stage.keys + static_cast<uint32_t>(ptx::warp() * static_cast<int32_t>(p.cache.keys.block_bytes));
}

/* Warp w has the scores of unit w: lane (g, t) those of rows g and g + 8, tokens 4 t..4 t + 3, which score(row, half, e)
 * tells before softcap, slope and mask. */
template <class Score>
KRN_DEVICE void store_scores(const krn_cuda_attention_params &p, const Tile &tile, int32_t first, Score score) {
    const int32_t g = ptx::lane() / 4, token = UNIT * ptx::warp() + 4 * (ptx::lane() % 4);
    KRN_UNROLL_ALL
    for (int32_t half = 0; half < 2; half++) {
        const int32_t row = g + 8 * half, position = tile.get<int32_t>(row, POSITION);
        const float slope = tile.get<float>(row, SLOPE);
        Quad s;
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            s.at[e] = adjust(p, score(row, half, e), position, slope, first + token + e, tile.entry.length);
        ptx::store_shared(tile.score(row, token), bits_of(s));
    }
}

/* Scales of the lane's four tokens. */
KRN_DEVICE Quad key_scales(const krn_cuda_attention_params &p, const Stage &stage) {
    if (!p.cache.keys.has_scales)
        return {{1, 1, 1, 1}};
    return quad_of(ptx::load_shared<ptx::U32x4>(stage.key_scale(UNIT * ptx::warp() + 4 * (ptx::lane() % 4))));
}

template <int32_t type>
KRN_DEVICE void integer_scores(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                               int32_t first) {
    const int32_t token = UNIT * ptx::warp() + 4 * (ptx::lane() % 4);
    int32_t dots[2][4] = {};
    integer_dots<type>(p, tile.queries, p.space.query_ld, unit_of(p, stage), dots);
    const Quad scales = key_scales(p, stage);
    const uint32_t zeros = p.cache.keys.has_zero_points ? ptx::load_shared<uint32_t>(stage.key_zero(token)) : 0;
    store_scores(p, tile, first, [&](int32_t row, int32_t half, int32_t e) {
        const int32_t zero = static_cast<int32_t>(zeros >> 8 * e & 0xFF);
        const int32_t dot =
            dots[e % 2][2 * half + e / 2] - tile.get<int32_t>(row, Q_OFFSET) - zero * tile.get<int32_t>(row, Q_SUM);
        return ptx::fma_rn(ptx::mul_rn(ptx::f32_from_s32_rn(dot), scales.at[e]), tile.get<float>(row, Q_SCALE),
                           tile.get<float>(row, Q_BIAS));
    });
}

/* Two FP8 as bf16, exactly: bytes 0 and 1 of a dword, or 2 and 3. The exponent field ends up 120 too small. */
template <bool is_high> KRN_DEVICE uint32_t bf16x2_from_f8(uint32_t dword) {
    const uint32_t bytes = ptx::prmt(dword, 0, is_high ? 0x3424 : 0x1404);
    const uint32_t small = (bytes & 0x80008000u) | (bytes & 0x7F007F00u) >> 4;
    return ptx::fma_bf16x2(small, 0x7B807B80u, 0x80008000u);
}

/* As integer_dots, with 16 channels to a step: of bf16, b[0] holds channels 2 t.. and b[1] 8 + 2 t..; of FP8, a dword has
 * four consecutive channels, of which b[0] holds 4 t.. and b[1] 4 t + 2.., and the query likewise. */
template <int32_t type>
KRN_DEVICE void half_dots(const krn_cuda_attention_params &p, const Tile &tile, ptx::SharedAddress unit,
                          float (&dots)[2][4]) {
    const int32_t g = ptx::lane() / 4, t = ptx::lane() % 4, dim = p.cache.head_dim;
    const ptx::SharedAddress low = tile.queries + static_cast<uint32_t>(g * p.space.query_ld);
    const ptx::SharedAddress high = low + 8 * static_cast<uint32_t>(p.space.query_ld);
    const auto load = [&](int32_t q) {
        return ptx::load_shared<ptx::U32x2>(unit + 16 * static_cast<uint32_t>(swizzled_key(q, g / 2)) +
                                            8 * static_cast<uint32_t>(g % 2));
    };
    KRN_UNROLL_NONE
    for (int32_t c = 0; c < dim; c += 16) {
        uint32_t a[4];
        ptx::U32x2 first, second = {0, 0};
        if constexpr (type == KRN_TYPE_BF16) {
            const auto at = static_cast<uint32_t>(2 * c + 4 * t);
            a[0] = ptx::load_shared<uint32_t>(low + at);
            a[1] = ptx::load_shared<uint32_t>(high + at);
            a[2] = ptx::load_shared<uint32_t>(low + at + 16);
            a[3] = ptx::load_shared<uint32_t>(high + at + 16);
            first = load(c / 2 + t);
            if (c + 8 < dim)
                second = load(c / 2 + t + 4);
        } else {
            const auto at = static_cast<uint32_t>(2 * c + 8 * t);
            const auto row = ptx::load_shared<ptx::U32x2>(low + at), row_8 = ptx::load_shared<ptx::U32x2>(high + at);
            a[0] = row.x;
            a[1] = row_8.x;
            a[2] = row.y;
            a[3] = row_8.y;
            const ptx::U32x2 codes = c + 4 * t < dim ? load(c / 4 + t) : ptx::U32x2{0, 0};
            first = {bf16x2_from_f8<false>(codes.x), bf16x2_from_f8<false>(codes.y)};
            second = {bf16x2_from_f8<true>(codes.x), bf16x2_from_f8<true>(codes.y)};
        }
        const uint32_t b0[2] = {first.x, second.x}, b1[2] = {first.y, second.y};
        ptx::mma_m16n8k16_bf16(dots[0], a, b0);
        ptx::mma_m16n8k16_bf16(dots[1], a, b1);
    }
}

template <int32_t type>
KRN_DEVICE void half_scores(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage, int32_t first) {
    float dots[2][4] = {};
    half_dots<type>(p, tile, unit_of(p, stage), dots);
    const Quad scales = key_scales(p, stage);
    store_scores(p, tile, first, [&](int32_t row, int32_t half, int32_t e) {
        return ptx::fma_rn(ptx::mul_rn(dots[e % 2][2 * half + e / 2], scales.at[e]), tile.get<float>(row, Q_SCALE),
                           tile.get<float>(row, Q_BIAS));
    });
}

/* Lane l has token l % 16 of its warp's unit and every other row: l / 16, l / 16 + 2... load(c) is its token's channel c. */
template <class Load>
KRN_DEVICE void f32_scores(const krn_cuda_attention_params &p, const Tile &tile, int32_t first, Load load) {
    constexpr int32_t HALF = ROWS / 2, STEP = 2 * QUAD;
    const int32_t half = ptx::lane() / UNIT, token = UNIT * ptx::warp() + ptx::lane() % UNIT;
    const ptx::SharedAddress queries = tile.queries + static_cast<uint32_t>(half * p.space.query_ld);
    float dots[HALF] = {};
    KRN_UNROLL_NONE
    for (int32_t c = 0; c < p.cache.head_dim; c += STEP) {
        float k[STEP];
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < STEP; e++)
            k[e] = load(c + e);
        KRN_UNROLL_ALL
        for (int32_t r = 0; r < HALF; r++) {
            if (2 * r >= tile.rows)
                continue;
            KRN_UNROLL_ALL
            for (int32_t part = 0; part < STEP; part += QUAD) {
                const Quad q = quad_of(ptx::load_shared<ptx::U32x4>(
                    queries + static_cast<uint32_t>(2 * r * p.space.query_ld + 4 * (c + part))));
                KRN_UNROLL_ALL
                for (int32_t e = 0; e < QUAD; e++)
                    dots[r] = ptx::fma_rn(q.at[e], k[part + e], dots[r]);
            }
        }
    }
    KRN_UNROLL_ALL
    for (int32_t r = 0; r < HALF; r++) {
        const int32_t row = 2 * r + half;
        const float s = ptx::fma_rn(dots[r], tile.get<float>(row, Q_SCALE), tile.get<float>(row, Q_BIAS));
        ptx::store_shared(tile.score(row, token),
                          adjust(p, s, tile.get<int32_t>(row, POSITION), tile.get<float>(row, SLOPE), first + token,
                                 tile.entry.length));
    }
}

KRN_DEVICE void staged_f32_scores(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                                  int32_t first) {
    const ptx::SharedAddress keys = unit_of(p, stage) + static_cast<uint32_t>(4 * (ptx::lane() % UNIT));
    f32_scores(p, tile, first,
               [&](int32_t c) { return ptx::load_shared<float>(keys + static_cast<uint32_t>(4 * UNIT * c)); });
}

} // namespace kernels

#endif
