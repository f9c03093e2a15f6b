/* Two steps of a block of 64 tokens: softmax, values. */
#ifndef KRN_CUDA_ATTENTION_BLOCK_H
#define KRN_CUDA_ATTENTION_BLOCK_H

#include "cuda/attention/attention_scores.cuh"

namespace kernels {

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

/* Bytes of a row of bf16 weights. */
template <int32_t type>
constexpr int32_t HALF_WEIGHT_LD =
    type == KRN_TYPE_BF16 ? KRN_CUDA_ATTENTION_BF16_WEIGHT_LD : KRN_CUDA_ATTENTION_F8_WEIGHT_LD;

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
            const int32_t token = UNIT * u + 2 * x;
            if constexpr (is_half(type))
                ptx::store_shared(tile.weights + static_cast<uint32_t>(row * HALF_WEIGHT_LD<type> + 2 * token),
                                  ptx::bf16x2_from_f32_rn(weights[u][0], weights[u][1]));
            else
                ptx::store_shared(
                    tile.weights + 4 * static_cast<uint32_t>(row * KRN_CUDA_ATTENTION_SCORE_LD + token),
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

/* As integer_values, with 16 tokens to a step: of bf16, b[0] holds tokens 2 t.. and b[1] 8 + 2 t..; of FP8, a dword has four
 * tokens of a channel, of which b[0] holds 4 t.. and b[1] 4 t + 2.., and the weights likewise. */
template <int32_t type, int32_t groups>
KRN_DEVICE void half_values(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                            float (&acc)[groups][16]) {
    constexpr int32_t ROWS_PER_STEP = type == KRN_TYPE_BF16 ? 8 : 4;
    const int32_t g = ptx::lane() / 4, t = ptx::lane() % 4, dim = p.cache.values.stored_dim;
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < groups; n++) {
        const int32_t group = ptx::warp() + 4 * n;
        if (32 * group >= dim)
            continue;
        const bool is_channel = 32 * group + 4 * g < dim;
        float sums[4][4];
        KRN_UNROLL_ALL
        for (int32_t half = 0; half < 2; half++) {
            const float alpha = tile.get<float>(g + 8 * half, ALPHA);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < 8; e++)
                sums[e % 4][2 * half + e / 4] = ptx::mul_rn(acc[n][8 * half + e], alpha);
        }
        KRN_UNROLL_ALL
        for (int32_t step = 0; step < BLOCK / 16; step++) {
            const ptx::SharedAddress low = tile.weights + static_cast<uint32_t>(g * HALF_WEIGHT_LD<type> + 32 * step);
            const ptx::SharedAddress high = low + 8 * HALF_WEIGHT_LD<type>;
            const auto load = [&](int32_t r) {
                if (!is_channel)
                    return ptx::U32x4{0, 0, 0, 0};
                return ptx::load_shared<ptx::U32x4>(
                    stage.values +
                    static_cast<uint32_t>(r * p.space.value_row_bytes + 16 * swizzled_value<type>(r, 8 * group + g)));
            };
            uint32_t a[4];
            ptx::U32x4 first, second;
            if constexpr (type == KRN_TYPE_BF16) {
                const auto at = static_cast<uint32_t>(4 * t);
                a[0] = ptx::load_shared<uint32_t>(low + at);
                a[1] = ptx::load_shared<uint32_t>(high + at);
                a[2] = ptx::load_shared<uint32_t>(low + at + 16);
                a[3] = ptx::load_shared<uint32_t>(high + at + 16);
                first = load(step * ROWS_PER_STEP + t);
                second = load(step * ROWS_PER_STEP + 4 + t);
            } else {
                const auto at = static_cast<uint32_t>(8 * t);
                const auto row = ptx::load_shared<ptx::U32x2>(low + at);
                const auto row_8 = ptx::load_shared<ptx::U32x2>(high + at);
                a[0] = row.x;
                a[1] = row_8.x;
                a[2] = row.y;
                a[3] = row_8.y;
                const ptx::U32x4 codes = load(step * ROWS_PER_STEP + t);
                first = {bf16x2_from_f8<false>(codes.x), bf16x2_from_f8<false>(codes.y), bf16x2_from_f8<false>(codes.z),
                         bf16x2_from_f8<false>(codes.w)};
                second = {bf16x2_from_f8<true>(codes.x), bf16x2_from_f8<true>(codes.y), bf16x2_from_f8<true>(codes.z),
                          bf16x2_from_f8<true>(codes.w)};
            }
            const uint32_t b[4][2] = {
                {first.x, second.x}, {first.y, second.y}, {first.z, second.z}, {first.w, second.w}};
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < 4; i++)
                ptx::mma_m16n8k16_bf16(sums[i], a, b[i]);
        }
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 16; i++)
            acc[n][i] = sums[i % 4][2 * (i / 8) + i / 4 % 2];
    }
}

/* A thread has channels thread, thread + 128... of all rows. */
template <int32_t groups>
KRN_DEVICE void f32_values(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                           float (&acc)[groups][16]) {
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
            for (int32_t e = 0; e < QUAD; e++)
                v[e] = ptx::load_shared<float>(stage.values +
                                               static_cast<uint32_t>((j + e) * p.space.value_row_bytes + 4 * channel));
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
