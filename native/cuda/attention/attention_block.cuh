/* The steps of a block of 64 tokens: scores, softmax, values. */
#ifndef KRN_CUDA_ATTENTION_BLOCK_H
#define KRN_CUDA_ATTENTION_BLOCK_H

#include "cuda/attention/attention_stage.cuh"
#include "cuda/ptx/mma.h"

namespace kernels {

/* --- Scores ------------------------------------------------------------------------------------------------------- */

/* Products of 16 rows and the 16 tokens of a unit. Of tile i of mma.sync, column n is token 2 n + i; a step has 32
 * channels. Of 8 bits, b[0] holds channels 4 t.. and b[1] 16 + 4 t..; of 4 bits, a dword has eight consecutive
 * channels, the low nibbles the first four: b[0] and b[1] hold 8 t.. and 8 t + 4... */
template <int32_t type>
KRN_DEVICE void integer_dots(const krn_cuda_attention_params &p, const Tile &tile, ptx::SharedAddress unit,
                             int32_t (&dots)[2][4]) {
    const int32_t g = ptx::lane() / 4, t = ptx::lane() % 4, dim = p.cache.head_dim;
    const ptx::SharedAddress low = tile.queries + static_cast<uint32_t>(g * p.space.query_ld);
    const ptx::SharedAddress high = low + 8 * static_cast<uint32_t>(p.space.query_ld);
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

/* Warp w has the scores of unit w: lane (g, t) those of rows g and g + 8, tokens 4 t..4 t + 3. */
template <int32_t type>
KRN_DEVICE void integer_scores(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                               int32_t first) {
    const int32_t g = ptx::lane() / 4, token = UNIT * ptx::warp() + 4 * (ptx::lane() % 4);
    int32_t dots[2][4] = {};
    integer_dots<type>(p, tile,
                       stage.keys + static_cast<uint32_t>(ptx::warp() * static_cast<int32_t>(p.cache.keys.block_bytes)),
                       dots);
    Quad scales = {{1, 1, 1, 1}};
    if (p.cache.keys.has_scales)
        scales = quad_of(ptx::load_shared<ptx::U32x4>(stage.key_scale(token)));
    const uint32_t zeros = p.cache.keys.has_zero_points ? ptx::load_shared<uint32_t>(stage.key_zero(token)) : 0;
    KRN_UNROLL_ALL
    for (int32_t half = 0; half < 2; half++) {
        const int32_t row = g + 8 * half, sum = tile.get<int32_t>(row, Q_SUM),
                      offset = tile.get<int32_t>(row, Q_OFFSET);
        const int32_t position = tile.get<int32_t>(row, POSITION);
        const float scale = tile.get<float>(row, Q_SCALE), slope = tile.get<float>(row, SLOPE);
        Quad s;
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++) {
            const int32_t zero = static_cast<int32_t>(zeros >> 8 * e & 0xFF);
            const int32_t dot = dots[e % 2][2 * half + e / 2] - offset - zero * sum;
            s.at[e] = ptx::fma_rn(ptx::mul_rn(ptx::f32_from_s32_rn(dot), scales.at[e]), scale, 0.0f);
            s.at[e] = adjust(p, s.at[e], position, slope, first + token + e, tile.entry.length);
        }
        ptx::store_shared(tile.score(row, token), bits_of(s));
    }
}

/* Elements of a dword, from the lowest bits on. */
template <int32_t type> KRN_DEVICE float element_of(uint32_t dword, int32_t e) {
    if constexpr (type == KRN_TYPE_F32)
        return ptx::bits_as<float>(dword);
    else if constexpr (type == KRN_TYPE_BF16)
        return e == 0 ? ptx::f32_from_bf16_low(dword) : ptx::f32_from_bf16_high(dword);
    else
        return f32_from_f8(dword >> 8 * e & 0xFF);
}

/* Lane l has token l % 16 of its warp's unit and every other row: l / 16, l / 16 + 2... */
template <int32_t type>
KRN_DEVICE void float_scores(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage, int32_t first) {
    constexpr int32_t PER_DWORD = 32 / bits_of_type(type), HALF = ROWS / 2;
    const int32_t half = ptx::lane() / UNIT, own = ptx::lane() % UNIT, token = UNIT * ptx::warp() + own;
    const ptx::SharedAddress keys =
        stage.keys + static_cast<uint32_t>(ptx::warp() * static_cast<int32_t>(p.cache.keys.block_bytes) + 4 * own);
    const ptx::SharedAddress queries = tile.queries + static_cast<uint32_t>(half * p.space.query_ld);
    float dots[HALF] = {};
    KRN_UNROLL_NONE
    for (int32_t c = 0; c < p.cache.head_dim; c += QUAD) {
        float k[QUAD];
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e += PER_DWORD) {
            const auto dword = ptx::load_shared<uint32_t>(keys + static_cast<uint32_t>((c + e) / PER_DWORD * 4 * UNIT));
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < PER_DWORD; i++)
                k[e + i] = element_of<type>(dword, i);
        }
        KRN_UNROLL_ALL
        for (int32_t r = 0; r < HALF; r++) {
            if (2 * r >= tile.rows)
                continue;
            const Quad q = quad_of(
                ptx::load_shared<ptx::U32x4>(queries + static_cast<uint32_t>(2 * r * p.space.query_ld + 4 * c)));
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e++)
                dots[r] = ptx::fma_rn(q.at[e], k[e], dots[r]);
        }
    }
    const float key_scale = p.cache.keys.has_scales ? ptx::load_shared<float>(stage.key_scale(token)) : 1.0f;
    KRN_UNROLL_ALL
    for (int32_t r = 0; r < HALF; r++) {
        const int32_t row = 2 * r + half;
        const float s = ptx::fma_rn(ptx::mul_rn(dots[r], key_scale), tile.get<float>(row, Q_SCALE), 0.0f);
        ptx::store_shared(tile.score(row, token),
                          adjust(p, s, tile.get<int32_t>(row, POSITION), tile.get<float>(row, SLOPE), first + token,
                                 tile.entry.length));
    }
}

/* --- Softmax ------------------------------------------------------------------------------------------------------ */

/* What a thread keeps of its row: eight threads have a row, thread x lanes 2 x and 2 x + 1 of its denominator. */
struct Softmax {
    float m, l[2];
    /* Of all values of the head, where tokens have none of their own. */
    float value_scale;
    int32_t value_zero;
};

KRN_DEVICE float largest_of_row(float value) {
    KRN_UNROLL_ALL
    for (int32_t other = 1; other < 8; other *= 2)
        value = ptx::max_f32(value, ptx::shuffle_xor(value, other));
    return value;
}

template <int32_t type>
KRN_DEVICE void softmax(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage, Softmax &state) {
    const int32_t row = ptx::thread_x() / 8, x = ptx::thread_x() % 8;
    float weights[4][2];
    float highest = state.m;
    KRN_UNROLL_ALL
    for (int32_t u = 0; u < 4; u++) {
        const auto pair = ptx::load_shared<ptx::U32x2>(tile.score(row, UNIT * u + 2 * x));
        weights[u][0] = ptx::bits_as<float>(pair.x);
        weights[u][1] = ptx::bits_as<float>(pair.y);
        highest = ptx::max_f32(highest, ptx::max_f32(weights[u][0], weights[u][1]));
    }
    highest = largest_of_row(highest);
    const float base = highest == minus_infinity() ? 0.0f : highest;
    const float alpha = exp_weight(ptx::sub_rn(state.m, base));
    float largest = 0;
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 2; i++) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < 4; u++)
            weights[u][i] = exp_weight(ptx::sub_rn(weights[u][i], base));
        state.l[i] = ptx::fma_rn(
            state.l[i], alpha,
            ptx::add_rn(ptx::add_rn(weights[0][i], weights[1][i]), ptx::add_rn(weights[2][i], weights[3][i])));
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < 4; u++) {
            const float scale = p.cache.values.has_scales
                                    ? ptx::load_shared<float>(stage.value_scale(UNIT * u + 2 * x + i))
                                    : state.value_scale;
            weights[u][i] = ptx::mul_rn(weights[u][i], scale);
            largest = ptx::max_f32(largest, weights[u][i]);
        }
    }
    state.m = highest;
    if (x == 0)
        tile.set(row, ALPHA, alpha);
    if constexpr (is_integer(type)) {
        largest = largest_of_row(largest);
        const bool counts = !(largest < 0x1p-100f);
        const float inverse = counts ? ptx::div_rn(255.0f, largest) : 0.0f;
        int32_t offset = 0;
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < 4; u++) {
            uint32_t codes[2];
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < 2; i++) {
                const int32_t token = UNIT * u + 2 * x + i;
                codes[i] = static_cast<uint32_t>(ptx::s32_from_f32_rn(ptx::mul_rn(weights[u][i], inverse)));
                int32_t zero = state.value_zero;
                if (p.cache.values.has_zero_points)
                    zero = ptx::load_shared<uint8_t>(stage.value_zero(token));
                offset += static_cast<int32_t>(codes[i]) * zero;
            }
            ptx::store_shared(tile.weights +
                                  static_cast<uint32_t>(row * KRN_CUDA_ATTENTION_WEIGHT_LD + UNIT * u + 2 * x),
                              static_cast<uint16_t>(codes[0] | codes[1] << 8));
        }
        KRN_UNROLL_ALL
        for (int32_t other = 1; other < 8; other *= 2)
            offset += ptx::shuffle_xor(offset, other);
        if (x == 0) {
            tile.set(row, W_STEP, counts ? ptx::div_rn(largest, 255.0f) : 0.0f);
            tile.set(row, W_OFFSET, offset);
        }
    } else {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < 4; u++) {
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < 2; i++)
                if (type != KRN_TYPE_F32)
                    weights[u][i] = ptx::f32_from_bf16(ptx::bf16_from_f32_rn(weights[u][i]));
            ptx::store_shared(tile.weights +
                                  4 * static_cast<uint32_t>(row * KRN_CUDA_ATTENTION_SCORE_LD + UNIT * u + 2 * x),
                              ptx::U32x2{ptx::bits_as<uint32_t>(weights[u][0]), ptx::bits_as<uint32_t>(weights[u][1])});
        }
    }
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

/* A warp has groups of 32 channels: warp w groups w, w + 4... Of tile i of mma.sync, column n is channel 4 n + i of the
 * group; a step has 32 tokens, of which b[0] holds 8 t.. and b[1] 8 t + 4... Lane (g, t) sums rows g and g + 8 of
 * channels 8 t..8 t + 7. */
template <int32_t type, int32_t groups>
KRN_DEVICE void integer_values(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                               float (&acc)[groups][16]) {
    constexpr int32_t ROWS_PER_STEP = type == KRN_TYPE_S8 ? 8 : 4;
    const int32_t g = ptx::lane() / 4, t = ptx::lane() % 4, dim = p.cache.values.stored_dim;
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < groups; n++) {
        const int32_t group = ptx::warp() + 4 * n;
        if (32 * group >= dim)
            continue;
        const bool is_channel = 32 * group + 4 * g < dim;
        int32_t dots[4][4] = {};
        KRN_UNROLL_ALL
        for (int32_t step = 0; step < BLOCK / 32; step++) {
            const ptx::SharedAddress row =
                tile.weights + static_cast<uint32_t>(g * KRN_CUDA_ATTENTION_WEIGHT_LD + 32 * step + 8 * t);
            const auto low = ptx::load_shared<ptx::U32x2>(row);
            const auto high = ptx::load_shared<ptx::U32x2>(row + 8 * KRN_CUDA_ATTENTION_WEIGHT_LD);
            const uint32_t a[4] = {low.x, high.x, low.y, high.y};
            const auto load = [&](int32_t r) {
                if (!is_channel)
                    return ptx::U32x4{0, 0, 0, 0};
                return ptx::load_shared<ptx::U32x4>(
                    stage.values +
                    static_cast<uint32_t>(r * p.space.value_row_bytes + 16 * swizzled_value<type>(r, 8 * group + g)));
            };
            ptx::U32x4 first, second;
            if constexpr (type == KRN_TYPE_S8) {
                first = load(step * ROWS_PER_STEP + 2 * t);
                second = load(step * ROWS_PER_STEP + 2 * t + 1);
            } else {
                const ptx::U32x4 both = load(step * ROWS_PER_STEP + t);
                constexpr uint32_t LOW = 0x0F0F0F0F;
                first = {both.x & LOW, both.y & LOW, both.z & LOW, both.w & LOW};
                second = {both.x >> 4 & LOW, both.y >> 4 & LOW, both.z >> 4 & LOW, both.w >> 4 & LOW};
            }
            const uint32_t b[4][2] = {
                {first.x, second.x}, {first.y, second.y}, {first.z, second.z}, {first.w, second.w}};
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < 4; i++)
                ptx::mma_m16n8k32_u8s8(dots[i], a, b[i]);
        }
        KRN_UNROLL_ALL
        for (int32_t half = 0; half < 2; half++) {
            const int32_t row = g + 8 * half, offset = tile.get<int32_t>(row, W_OFFSET);
            const float alpha = tile.get<float>(row, ALPHA), step = tile.get<float>(row, W_STEP);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < 8; e++) {
                float &sum = acc[n][8 * half + e];
                const int32_t dot = dots[e % 4][2 * half + e / 4] - offset;
                sum = ptx::fma_rn(ptx::f32_from_s32_rn(dot), step, ptx::mul_rn(sum, alpha));
            }
        }
    }
}

/* A thread has channels thread, thread + 128... of all rows. */
template <int32_t type, int32_t groups>
KRN_DEVICE void float_values(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                             float (&acc)[groups][16]) {
    constexpr int32_t PER_DWORD = 32 / bits_of_type(type);
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < groups; n++) {
        const int32_t channel = ptx::thread_x() + KRN_CUDA_ATTENTION_THREADS * n;
        if (channel >= p.cache.values.stored_dim)
            continue;
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < ROWS; row++)
            acc[n][row] = ptx::mul_rn(acc[n][row], tile.get<float>(row, ALPHA));
        KRN_UNROLL_NONE
        for (int32_t j = 0; j < BLOCK; j += QUAD) {
            float v[QUAD];
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e += PER_DWORD) {
                const auto dword = ptx::load_shared<uint32_t>(
                    stage.values + static_cast<uint32_t>((j + e) / PER_DWORD * p.space.value_row_bytes + 4 * channel));
                KRN_UNROLL_ALL
                for (int32_t i = 0; i < PER_DWORD; i++)
                    v[e + i] = element_of<type>(dword, i);
            }
            KRN_UNROLL_ALL
            for (int32_t row = 0; row < ROWS; row++) {
                if (row >= tile.rows)
                    continue;
                const Quad w = quad_of(ptx::load_shared<ptx::U32x4>(
                    tile.weights + 4 * static_cast<uint32_t>(row * KRN_CUDA_ATTENTION_SCORE_LD + j)));
                KRN_UNROLL_ALL
                for (int32_t e = 0; e < QUAD; e++)
                    acc[n][row] = ptx::fma_rn(w.at[e], v[e], acc[n][row]);
            }
        }
    }
}

} // namespace kernels

#endif
