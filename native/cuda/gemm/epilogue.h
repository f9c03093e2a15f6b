/* What happens to t (gemm.h) on its way into Y: the scale of its token, the side term, bias, residual, rounding. Device
 * code. */
#ifndef KRN_CUDA_GEMM_EPILOGUE_H
#define KRN_CUDA_GEMM_EPILOGUE_H

#include "cuda/gemm/operands.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/warp.h"
#include "kernels/common.h"

namespace gemm {

struct alignas(16) F32x4 {
    float v[4];
};

/* The code of a channel at a place (weights_layout.h), less its integer zero point. */
KRN_DEVICE int32_t load_code(const krn_cuda_gemm_params &p, int32_t channel, int32_t place) {
    const int64_t tile = static_cast<int64_t>(channel / 64) * p.tiles_k + place / 128;
    const int32_t row = channel % 64, k = place % 128;
    if (p.code_format == KRN_TYPE_S8)
        return ptx::load_global_nc(reinterpret_cast<const int8_t *>(p.codes) + tile * 8192 + row * 128 +
                                   ((k / 16 ^ (row % 8)) * 16) + k % 16);
    const int32_t word = k % 64 / 32 * 2 + row % 16 / 8, lane = row % 8 * 4 + k % 16 / 4;
    const int32_t byte =
        ptx::load_global_nc(p.codes + tile * 4096 + row / 16 * 1024 + k / 64 * 512 + lane * 16 + word * 4 + k % 4);
    const int32_t nibble = byte >> (k % 32 / 16 * 4) & 15;
    if (p.code_format == KRN_TYPE_S4)
        return (nibble ^ 8) - 8;
    const int64_t group = place / 32 / p.group_steps;
    return p.zeros == nullptr ? nibble : nibble - ptx::load_global_nc(p.zeros + group * p.padded_n + channel);
}

/* The weight of a column that was searched for, as the codes have it. */
KRN_DEVICE float load_weight(const krn_cuda_gemm_params &p, int32_t channel, int32_t column) {
    const int32_t place = p.places == nullptr ? column : ptx::load_global_nc(p.places + column);
    const int64_t at = place / 32 / p.group_steps * static_cast<int64_t>(p.padded_n) + channel;
    const float code = ptx::f32_from_s32_rn(load_code(p, channel, place));
    const float offset = p.offsets == nullptr ? 0.0f : ptx::load_global_nc(p.offsets + at);
    return ptx::fma_rn(code, load_scale(p.scales, p.scale_type, at), offset);
}

/* Continues a side term by `count` columns of x whose weights lie in rows. */
KRN_DEVICE void add_columns(float &side, const float *x, const float *weights, int64_t ld, int32_t count) {
    KRN_UNROLL_NONE
    for (int32_t i = 0; i < count; i++, weights += ld)
        side = ptx::fma_rn(ptx::load_global_nc(x + i), ptx::load_global_nc(weights), side);
}

/* The same for four channels. */
KRN_DEVICE void add_columns(F32x4 &side, const float *x, const float *weights, int64_t ld, int32_t count) {
    KRN_UNROLL_NONE
    for (int32_t i = 0; i < count; i++, weights += ld) {
        const float value = ptx::load_global_nc(x + i);
        const auto w = ptx::load_global_nc(reinterpret_cast<const F32x4 *>(weights));
        KRN_UNROLL_ALL
        for (int32_t c = 0; c < 4; c++)
            side.v[c] = ptx::fma_rn(value, w.v[c], side.v[c]);
    }
}

/* Side term of an output, or of four where no columns were searched for: outlier columns, then the ranks of an
 * adapter. */
template <class Side> KRN_DEVICE Side side_of(const krn_cuda_gemm_params &p, int32_t token, int32_t channel) {
    const float *const x = p.side_x + token * p.side_ld;
    Side side = {};
    if (p.outlier_weights != nullptr)
        add_columns(side, x, p.outlier_weights + channel, p.padded_n, p.num_outliers);
    if constexpr (sizeof(Side) == sizeof(float)) {
        const int32_t found = p.outlier_count == nullptr ? 0 : ptx::load_global_nc(p.outlier_count);
        KRN_UNROLL_NONE
        for (int32_t i = 0; i < found; i++)
            side = ptx::fma_rn(ptx::load_global_nc(x + i),
                               load_weight(p, channel, ptx::load_global_nc(p.outlier_columns + i)), side);
    }
    if (p.num_ranks > 0)
        add_columns(side, x + p.num_outliers, p.adapter + channel, p.padded_n, p.num_ranks);
    return side;
}

/* Whether t has a side term: none where columns were searched for and not found. */
KRN_DEVICE bool has_side(const krn_cuda_gemm_params &p) {
    return p.num_ranks > 0 ||
           (p.num_outliers > 0 && (p.outlier_count == nullptr || ptx::load_global_nc(p.outlier_count) > 0));
}

/* One element of the residual: not through the read-only path, it may be Y itself. */
KRN_DEVICE float load_residual(const krn_cuda_gemm_params &p, int64_t at) {
    if (p.y_type == KRN_TYPE_F32)
        return ptx::load_global(static_cast<const float *>(p.residual) + at);
    const uint16_t half = ptx::load_global(static_cast<const uint16_t *>(p.residual) + at);
    return p.y_type == KRN_TYPE_F16 ? ptx::f32_from_f16(half) : ptx::f32_from_bf16(half);
}

KRN_DEVICE void store_one(const krn_cuda_gemm_params &p, int32_t token, int32_t channel, float t) {
    if (p.x_scales != nullptr)
        t = ptx::mul_rn(t, ptx::load_global_nc(p.x_scales + token));
    if (has_side(p))
        t = ptx::add_rn(t, side_of<float>(p, token, channel));
    if (p.bias != nullptr)
        t = ptx::add_rn(t, ptx::load_global_nc(p.bias + channel));
    if (p.residual != nullptr)
        t = ptx::add_rn(t, load_residual(p, token * p.residual_ld + channel));
    const int64_t at = token * p.y_ld + channel;
    if (p.y_type == KRN_TYPE_F32)
        ptx::store_global(static_cast<float *>(p.y) + at, t);
    else
        ptx::store_global(static_cast<uint16_t *>(p.y) + at,
                          p.y_type == KRN_TYPE_F16 ? ptx::f16_from_f32_rn(t) : ptx::bf16_from_f32_rn(t));
}

/* Four channels of a token, all below N, of tensors that allow it; without columns that were searched for. */
KRN_DEVICE void store_four(const krn_cuda_gemm_params &p, int32_t token, int32_t channel, F32x4 t) {
    const float scale = p.x_scales != nullptr ? ptx::load_global_nc(p.x_scales + token) : 1.0f;
    if (p.x_scales != nullptr)
        for (int32_t i = 0; i < 4; i++)
            t.v[i] = ptx::mul_rn(t.v[i], scale);
    if (p.num_outliers + p.num_ranks > 0) {
        const auto side = side_of<F32x4>(p, token, channel);
        for (int32_t i = 0; i < 4; i++)
            t.v[i] = ptx::add_rn(t.v[i], side.v[i]);
    }
    if (p.bias != nullptr) {
        const auto bias = ptx::load_global_nc(reinterpret_cast<const F32x4 *>(p.bias + channel));
        for (int32_t i = 0; i < 4; i++)
            t.v[i] = ptx::add_rn(t.v[i], bias.v[i]);
    }
    const int64_t at = token * p.y_ld + channel, from = token * p.residual_ld + channel;
    if (p.y_type == KRN_TYPE_F32) {
        if (p.residual != nullptr) {
            const auto r =
                ptx::load_global(reinterpret_cast<const F32x4 *>(static_cast<const float *>(p.residual) + from));
            for (int32_t i = 0; i < 4; i++)
                t.v[i] = ptx::add_rn(t.v[i], r.v[i]);
        }
        ptx::store_global(reinterpret_cast<F32x4 *>(static_cast<float *>(p.y) + at), t);
        return;
    }
    const bool is_f16 = p.y_type == KRN_TYPE_F16;
    if (p.residual != nullptr) {
        const auto r =
            ptx::load_global(reinterpret_cast<const ptx::U32x2 *>(static_cast<const uint16_t *>(p.residual) + from));
        t.v[0] = ptx::add_rn(t.v[0], is_f16 ? ptx::f32_from_f16_low(r.x) : ptx::f32_from_bf16_low(r.x));
        t.v[1] = ptx::add_rn(t.v[1], is_f16 ? ptx::f32_from_f16_high(r.x) : ptx::f32_from_bf16_high(r.x));
        t.v[2] = ptx::add_rn(t.v[2], is_f16 ? ptx::f32_from_f16_low(r.y) : ptx::f32_from_bf16_low(r.y));
        t.v[3] = ptx::add_rn(t.v[3], is_f16 ? ptx::f32_from_f16_high(r.y) : ptx::f32_from_bf16_high(r.y));
    }
    ptx::U32x2 y;
    y.x = is_f16 ? ptx::f16x2_from_f32_rn(t.v[0], t.v[1]) : ptx::bf16x2_from_f32_rn(t.v[0], t.v[1]);
    y.y = is_f16 ? ptx::f16x2_from_f32_rn(t.v[2], t.v[3]) : ptx::bf16x2_from_f32_rn(t.v[2], t.v[3]);
    ptx::store_global(reinterpret_cast<ptx::U32x2 *>(static_cast<uint16_t *>(p.y) + at), y);
}

/* 16 * units channels of 8 tokens are turned in shared memory, so that whole rows of Y are written: 8 rows of
 * 16 * units + 4 floats, the 4 because the lanes of a fragment then write to different banks. */
template <int32_t units> constexpr int32_t TURN_BYTES = 8 * (16 * units + 4) * 4;

/* Stores what lies in `turn`; by one warp. */
template <int32_t units>
KRN_DEVICE void store_turned(const krn_cuda_gemm_params &p, ptx::SharedAddress turn, int32_t first_token,
                             int32_t first_channel) {
    constexpr int32_t PITCH = 16 * units + 4, FOURS = 4 * units;
    const bool by_fours = p.vector_y && p.vector_residual && p.outlier_count == nullptr;
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 8 * FOURS; i += 32) {
        const int32_t at = i + ptx::lane(), token = first_token + at / FOURS;
        const int32_t channel = first_channel + at % FOURS * 4;
        if (token < p.m && by_fours && channel + 4 <= p.n)
            store_four(
                p, token, channel,
                ptx::load_shared<F32x4>(turn + static_cast<uint32_t>((at / FOURS * PITCH + at % FOURS * 4) * 4)));
    }
    /* One by one, in a loop that stays one: there are many copies of this function. */
    const int32_t first_left = by_fours ? p.n / 4 * 4 : 0;
    if (first_channel + 16 * units > first_left) {
        KRN_UNROLL_NONE
        for (int32_t at = ptx::lane(); at < 8 * 16 * units; at += 32) {
            const int32_t token = first_token + at / (16 * units), channel = first_channel + at % (16 * units);
            if (token < p.m && channel < p.n && channel >= first_left)
                store_one(p, token, channel,
                          ptx::load_shared<float>(
                              turn + static_cast<uint32_t>((at / (16 * units) * PITCH + at % (16 * units)) * 4)));
        }
    }
}

/* Stores results that a warp holds as the results d of mma.m16n8 (ptx/mma.h): channels are its rows. */
template <int32_t units>
KRN_DEVICE void store_tile(const krn_cuda_gemm_params &p, ptx::SharedAddress turn, int32_t first_token,
                           int32_t first_channel, const float (&t)[units][4]) {
    constexpr int32_t PITCH = 16 * units + 4;
    const int32_t row = ptx::lane() / 4, column = ptx::lane() % 4 * 2;
    KRN_UNROLL_ALL
    for (int32_t u = 0; u < units; u++)
        KRN_UNROLL_ALL
    for (int32_t j = 0; j < 4; j++)
        ptx::store_shared(turn + static_cast<uint32_t>(((column + j % 2) * PITCH + 16 * u + row + j / 2 * 8) * 4),
                          t[u][j]);
    ptx::sync_warp();
    store_turned<units>(p, turn, first_token, first_channel);
    ptx::sync_warp();
}

} // namespace gemm

#endif
