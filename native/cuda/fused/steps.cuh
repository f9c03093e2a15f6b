/* The steps of kernels/fused.h, operation by operation as on the CPU. What a step makes of a row is a `Source` of
 * quantize_row.cuh. */
#ifndef KRN_CUDA_STEPS_H
#define KRN_CUDA_STEPS_H

#include "cuda/fused/fused_params.h"
#include "cuda/quantize/quantize_row.cuh"
#include "common/exp_numbers.h"
#include "fused/activation_numbers.h"

namespace kernels {

template <int32_t type> KRN_DEVICE const void *row_of(const krn_cuda_matrix &matrix, int64_t row) {
    return static_cast<const uint8_t *>(matrix.data) + row * matrix.ld_bytes;
}

/* Four of a vector along the rows, or ones. */
KRN_DEVICE Quad weights_of(const krn_cuda_fused_params &p, int32_t i) {
    if (p.weight == nullptr)
        return {{1, 1, 1, 1}};
    return load_quad_of(p.vector_type, p.weight, i, p.plan.cols - i, true);
}

/* y = ((x - mean) * weight) * inverse + bias; with mean 0 and inverse 1 also x * weight. */
template <int32_t type> struct Normed {
    const krn_cuda_fused_params &p;
    const InputRow<type> &x;
    float mean, inverse;

    KRN_DEVICE_MEMBER Quad quad(int32_t i) const {
        Quad y = x.quad(i);
        const Quad weight = weights_of(p, i);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            y.at[e] = ptx::mul_rn(ptx::mul_rn(ptx::sub_rn(y.at[e], mean), weight.at[e]), inverse);
        if (p.bias != nullptr) {
            const Quad bias = load_quad_of(p.vector_type, p.bias, i, p.plan.cols - i, true);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e++)
                y.at[e] = ptx::add_rn(y.at[e], bias.at[e]);
        }
        return y;
    }

    /* Selected by comparison: an index that is not known would move the quad to memory. */
    KRN_DEVICE_MEMBER float element(int32_t i) const {
        const Quad y = quad(i & ~3);
        const float low = i & 1 ? y.at[1] : y.at[0], high = i & 1 ? y.at[3] : y.at[2];
        return i & 2 ? high : low;
    }
};

/* exp(-h), of h in KRN_GATE_LOWEST..KRN_GATE_HIGHEST; activation.h says why it is done so. */
KRN_DEVICE float exp_negated(float h) {
    constexpr float terms[5] = KRN_EXP_COEFFICIENTS;
    const float rounded = ptx::fma_rn(h, -KRN_LOG2_E, KRN_ROUNDER);
    const float n = ptx::sub_rn(rounded, KRN_ROUNDER);
    const float s = ptx::fma_rn(n, KRN_LN2_LOW, ptx::fma_rn(n, KRN_LN2_HIGH, h));
    const float square = ptx::mul_rn(s, s);
    const float low = ptx::fma_rn(terms[1], s, -terms[0]), middle = ptx::fma_rn(terms[3], s, -terms[2]);
    const float e = ptx::fma_rn(ptx::fma_rn(-terms[4], square, middle), square, low);
    const float p = ptx::sub_rn(1.0f, ptx::fma_rn(e, square, s));
    const uint32_t power = (ptx::bits_as<uint32_t>(rounded) << 23) + 0x3F000000u;
    return ptx::mul_rn(ptx::add_rn(p, p), ptx::bits_as<float>(power));
}

KRN_DEVICE float gelu_h(float g) {
    constexpr float terms[7] = KRN_GELU_TERMS;
    const float product = ptx::mul_rn(g, g);
    const float square = product < KRN_GELU_LAST ? product : KRN_GELU_LAST;
    const float fourth = ptx::mul_rn(square, square);
    const float a = ptx::fma_rn(terms[1], square, terms[0]), b = ptx::fma_rn(terms[3], square, terms[2]);
    const float c = ptx::fma_rn(terms[6], fourth, ptx::fma_rn(terms[5], square, terms[4]));
    return ptx::mul_rn(g, ptx::fma_rn(ptx::fma_rn(c, fourth, b), fourth, a));
}

KRN_DEVICE float gelu_tanh_h(float g) {
    constexpr float terms[2] = KRN_GELU_TANH_TERMS;
    return ptx::mul_rn(g, ptx::fma_rn(terms[1], ptx::mul_rn(g, g), terms[0]));
}

/* g / (1 + exp(-h)). */
KRN_DEVICE float gate_of(int32_t kind, float g) {
    const float h = kind == KRN_CUDA_GATE_SILU ? g : kind == KRN_CUDA_GATE_GELU ? gelu_h(g) : gelu_tanh_h(g);
    float within = h > KRN_GATE_LOWEST ? h : KRN_GATE_LOWEST;
    within = within < KRN_GATE_HIGHEST ? within : KRN_GATE_HIGHEST;
    return ptx::div_rn(g, ptx::add_rn(1.0f, exp_negated(within)));
}

/* gate(g) * u, made of global memory each time. */
template <int32_t type> struct Gated {
    const krn_cuda_fused_params &p;
    const void *gates, *ups;

    KRN_DEVICE_MEMBER Quad quad(int32_t i) const {
        const int32_t count = p.plan.cols - i;
        Quad g, u;
        if (p.is_interleaved) {
            Quad low, high;
            load_octet<type>(gates, 2 * static_cast<int64_t>(i), 2 * count, p.is_aligned != 0, low, high);
            g = {{low.at[0], low.at[2], high.at[0], high.at[2]}};
            u = {{low.at[1], low.at[3], high.at[1], high.at[3]}};
        } else {
            g = load_quad<type>(gates, i, count, p.is_aligned != 0);
            u = load_quad<type>(ups, i, count, p.is_aligned != 0);
        }
        Quad y;
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            y.at[e] = ptx::mul_rn(gate_of(p.gate, g.at[e]), u.at[e]);
        return y;
    }

    KRN_DEVICE_MEMBER float element(int32_t i) const {
        const float g = load_element<type>(gates, p.is_interleaved ? 2 * static_cast<int64_t>(i) : i);
        const float u =
            p.is_interleaved ? load_element<type>(gates, 2 * static_cast<int64_t>(i) + 1) : load_element<type>(ups, i);
        return ptx::mul_rn(gate_of(p.gate, g), u);
    }
};

template <int32_t type> KRN_DEVICE Gated<type> gated_of(const krn_cuda_fused_params &p, int64_t row) {
    const void *const gates = row_of<type>(p.source, row);
    return {p, gates, p.is_interleaved ? gates : row_of<type>(p.second, row)};
}

/* x of a norm: the source, or its sum with the residual, rounded to the type and written. */
template <int32_t type> KRN_DEVICE InputRow<type> normed_input(const Team &team, const krn_cuda_fused_params &p) {
    const bool is_aligned = p.is_aligned != 0;
    InputRow<type> x = {row_of<type>(p.source, team.row), team.memory, p.plan.cols, p.is_staged != 0, is_aligned};
    if (p.second.data == nullptr) {
        x.stage(team);
        return x;
    }
    const void *const source = x.global, *const residual = row_of<type>(p.second, team.row);
    void *const sum = static_cast<uint8_t *>(p.sum.data) + team.row * p.sum.ld_bytes;
    for (int32_t i = QUAD * team.rank; i < p.plan.cols; i += QUAD * team.threads) {
        const int32_t count = p.plan.cols - i;
        Quad s = load_quad<type>(source, i, count, is_aligned);
        const Quad r = load_quad<type>(residual, i, count, is_aligned);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            s.at[e] = ptx::add_rn(s.at[e], r.at[e]);
        store_quad<type>(sum, i, count, is_aligned, s);
        if (p.is_staged)
            x.put(i, s);
    }
    x.global = sum;
    team.sync();
    return x;
}

template <bool of_squares> KRN_DEVICE float added(float lane, float x, float mean) {
    const float d = ptx::sub_rn(x, mean);
    return of_squares ? ptx::fma_rn(d, d, lane) : ptx::add_rn(lane, x);
}

/* A sum in the 64 lanes of kernels/fused.h: one warp has two neighbouring lanes to a thread, in which the order of
 * additions is that of the CPU. With other rows on the multiprocessor nobody waits for it. */
template <int32_t type, bool of_squares>
KRN_DEVICE float lane_sum(const Team &team, const InputRow<type> &x, float mean, int32_t slot) {
    const ptx::SharedAddress word = team.scratch + 128 * static_cast<uint32_t>(slot);
    float total = 0;
    if (team.rank < 32) {
        float even = 0, odd = 0;
        int32_t i = 2 * team.rank;
        for (; i + 1 < x.cols; i += 64) {
            float a, b;
            x.pair(i, a, b);
            even = added<of_squares>(even, a, mean);
            odd = added<of_squares>(odd, b, mean);
        }
        if (i < x.cols)
            even = added<of_squares>(even, x.element(i), mean);
        ptx::sync_warp();
        /* Lanes l and l + 32, then l + 16 .. l + 2, are of threads half as far apart. */
        for (int32_t apart = 16; apart > 0; apart /= 2) {
            even = ptx::add_rn(even, ptx::shuffle_down(even, static_cast<uint32_t>(apart)));
            odd = ptx::add_rn(odd, ptx::shuffle_down(odd, static_cast<uint32_t>(apart)));
        }
        total = ptx::shuffle(ptx::add_rn(even, odd), 0);
        if (!team.is_warp() && team.rank == 0)
            ptx::store_shared(word, total);
    }
    if (team.is_warp())
        return total;
    ptx::sync_threads();
    return ptx::load_shared<float>(word);
}

/* The norm of a row: its mean and 1 / sqrt(..). A sum that is infinite loses the row. */
struct Norm {
    float mean, inverse;
    bool is_lost;
};

template <int32_t type>
KRN_DEVICE Norm norm_of(const Team &team, const krn_cuda_fused_params &p, const InputRow<type> &x) {
    const float cols = ptx::f32_from_s32_rn(p.plan.cols);
    const float mean = p.is_layernorm ? ptx::div_rn(lane_sum<type, false>(team, x, 0, 6), cols) : 0.0f;
    const float squares = lane_sum<type, true>(team, x, mean, 7);
    const float inverse = ptx::div_rn(1.0f, ptx::sqrt_rn(ptx::add_rn(ptx::div_rn(squares, cols), p.eps)));
    return {mean, inverse, !(squares <= 0x1.fffffep+127f)};
}

/* A row of f32 that a step made. */
struct MadeRow {
    ptx::SharedAddress memory;

    KRN_DEVICE_MEMBER Quad quad(int32_t i) const {
        return quad_of(ptx::load_shared<ptx::U32x4>(memory + 4 * static_cast<uint32_t>(i)));
    }
    KRN_DEVICE_MEMBER float element(int32_t i) const {
        return ptx::load_shared<float>(memory + 4 * static_cast<uint32_t>(i));
    }
    KRN_DEVICE_MEMBER void put(int32_t i, const Quad &q) const {
        ptx::store_shared(memory + 4 * static_cast<uint32_t>(i), bits_of(q));
    }
};

/* The result of a step: codes, or the target. */
template <class Source>
KRN_DEVICE void write_result(const Team &team, const krn_cuda_fused_params &p, bool is_lost, const Source &source) {
    if (p.has_codes) {
        quantize_row(team, p.codes, p.plan.cols, is_lost, source);
        return;
    }
    void *const target = static_cast<uint8_t *>(p.target.data) + team.row * p.target.ld_bytes;
    for (int32_t i = QUAD * team.rank; i < p.plan.cols; i += QUAD * team.threads)
        store_quad_of(p.target_type, target, i, p.plan.cols - i, p.is_target_aligned != 0, source.quad(i));
}

} // namespace kernels

#endif
