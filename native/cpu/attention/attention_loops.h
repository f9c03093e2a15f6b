/* The steps of attention that go lane by lane, in the verbs of unit_*.h: included behind one of these, compiled once
 * per instruction set. attention_ref.c says the same in scalars; every operation here has its twin there. */
#ifndef KRN_ATTENTION_LOOPS_H
#define KRN_ATTENTION_LOOPS_H

#include "attention/attention_cell.h"
#include "attention/attention_variants.h"
#include "common/exp.h"

#include <float.h>
#include <math.h>

/* krn_exp_weight, of lanes that are at most 0. What is computed of lanes below KRN_EXP_LOWEST is dropped. */
KRN_ALWAYS_INLINE lanes_f lanes_exp_weight(lanes_f x) {
    const lanes_f rounded = lanes_fma(x, lanes_all(KRN_LOG2_E), lanes_all(KRN_ROUNDER));
    const lanes_f n = lanes_sub(rounded, lanes_all(KRN_ROUNDER));
    const lanes_f r = lanes_fma(n, lanes_all(-KRN_LN2_LOW), lanes_fma(n, lanes_all(-KRN_LN2_HIGH), x));
    lanes_f p = lanes_all(KRN_EXP[KRN_EXP_TERMS - 1]);
    KRN_UNROLL
    for (int i = KRN_EXP_TERMS - 2; i >= 0; i--)
        p = lanes_fma(p, r, lanes_all(KRN_EXP[i]));
    p = lanes_add(lanes_all(1.0f), lanes_fma(p, lanes_mul(r, r), r));
    return lanes_scale_from(p, n, x, KRN_EXP_LOWEST);
}

/* Rounded to bf16, as f32. */
KRN_ALWAYS_INLINE lanes_f lanes_round_bf16(lanes_f x) {
    const lanes_i bits = lanes_as_i(x), odd = lanes_and(lanes_right(bits, 16), lanes_all_i(1));
    const lanes_i rounded = lanes_add_i(bits, lanes_add_i(odd, lanes_all_i(0x7FFF)));
    return lanes_as_f(lanes_and(rounded, lanes_all_i(-65536)));
}

/* Channels at..at+15, or the 8 that are left. */
KRN_ALWAYS_INLINE lanes_f scaled_query(const krn_query_job *job, int64_t at, int is_half) {
    const float *query = job->query + at;
    const lanes_f x = is_half ? lanes_load_half(query) : lanes_load(query);
    if (job->channel_scales == NULL)
        return x;
    const float *scales = job->channel_scales + at;
    return lanes_mul(x, is_half ? lanes_load_half(scales) : lanes_load(scales));
}

static void quantize_query(const krn_query_job *job) {
    const int64_t whole = job->head_dim / 16 * 16;
    lanes_f highest = lanes_all(0);
    for (int64_t at = 0; at < whole; at += 16)
        highest = lanes_higher(highest, lanes_abs(scaled_query(job, at, 0)));
    if (whole < job->head_dim)
        highest = lanes_higher(highest, lanes_abs(scaled_query(job, whole, 1)));
    const float quotient = lanes_highest(highest) / 127.0f;
    const float scale = quotient < FLT_MIN ? 0 : quotient;
    const lanes_f inverse = lanes_all(scale == 0 ? 0 : 1.0f / scale);
    lanes_i sum = lanes_all_i(0), zero_sum = lanes_all_i(0);
    for (int64_t at = 0; at < job->head_dim; at += 16) {
        const int is_half = at == whole;
        lanes_f code = lanes_mul(scaled_query(job, at, is_half), inverse);
        code = lanes_lower(lanes_higher(code, lanes_all(-127.0f)), lanes_all(127.0f));
        const lanes_i codes = lanes_to_i32(code);
        if (is_half)
            lanes_store_half_bytes(job->codes + at, codes);
        else
            lanes_store_bytes(job->codes + at, codes);
        sum = lanes_add_i(sum, codes);
        if (job->channel_zeros != NULL) {
            const uint8_t *zeros = job->channel_zeros + at;
            const lanes_i widened = is_half ? lanes_widen_half_u8(zeros) : lanes_widen_u8(zeros);
            zero_sum = lanes_add_i(zero_sum, lanes_mul_i(codes, widened));
        }
    }
    *job->scale = scale;
    *job->sum = lanes_total(sum);
    *job->zero_sum = lanes_total(zero_sum);
}

static int32_t clamp_lane(int64_t lane) { return lane < -1 ? -1 : lane > 16 ? 16 : (int32_t)lane; }

/* What is left of 16 scores that begin at token `first` for the query token at `position`. */
KRN_ALWAYS_INLINE lanes_f mask_unit(const krn_adjust_job *job, int64_t position, int64_t first, lanes_f s) {
    const lanes_f invisible = lanes_all(-INFINITY);
    const int64_t end = job->full ? job->length - 1 : position;
    int64_t low = 0, high = end;
    if (job->window != 0) {
        low = position - job->window + 1;
        high = job->full && position + job->window - 1 < end ? position + job->window - 1 : end;
    }
    const lanes_f seen = lanes_select_range(s, invisible, clamp_lane(low - first), clamp_lane(high - first));
    if (job->window == 0 || job->sink_tokens == 0)
        return seen;
    const int64_t last_sink = job->sink_tokens - 1 < end ? job->sink_tokens - 1 : end;
    return lanes_higher(seen, lanes_select_range(s, invisible, 0, clamp_lane(last_sink - first)));
}

KRN_ALWAYS_INLINE lanes_f soft_cap(lanes_f s, lanes_f cap, lanes_f inverse_cap) {
    const lanes_f x = lanes_mul(s, inverse_cap), one = lanes_all(1.0f);
    const lanes_f e = lanes_exp_weight(lanes_mul(lanes_all(-2.0f), lanes_abs(x)));
    return lanes_mul(cap, lanes_with_sign(lanes_div(lanes_sub(one, e), lanes_add(one, e)), x));
}

static void adjust(const krn_adjust_job *job) {
    const lanes_f cap = lanes_all(job->softcap), inverse_cap = lanes_all(job->softcap > 0 ? 1.0f / job->softcap : 0);
    for (int32_t row = 0; row < job->rows; row++) {
        const int64_t position = job->positions[row];
        for (int32_t unit = 0; unit < KRN_ATTENTION_UNITS; unit++) {
            float *s = job->s + row * KRN_ATTENTION_BLOCK + unit * KRN_ATTENTION_UNIT;
            const int64_t first = job->first_token + unit * KRN_ATTENTION_UNIT;
            lanes_f x = lanes_load(s);
            if (job->softcap > 0)
                x = soft_cap(x, cap, inverse_cap);
            if (job->slopes != NULL) {
                const lanes_i tokens = lanes_to_i32(lanes_indices());
                const lanes_i distance = lanes_sub_i(lanes_all_i((int32_t)(position - first)), tokens);
                x = lanes_fma(lanes_all(-job->slopes[row]), lanes_abs(lanes_to_f32(distance)), x);
            }
            lanes_store(s, mask_unit(job, position, first, x));
        }
    }
}

/* How weights are stored. */
typedef enum { WEIGHTS_U8, WEIGHTS_F32, WEIGHTS_ROUNDED, WEIGHTS_BF16, WEIGHTS_BF16_SWAPPED } weights_form;

KRN_ALWAYS_INLINE void store_float_weights(const krn_softmax_job *job, int32_t row, const lanes_f w[],
                                           weights_form form) {
    KRN_UNROLL
    for (int u = 0; u < KRN_ATTENTION_UNITS; u++) {
        const int64_t at = row * KRN_ATTENTION_BLOCK + u * KRN_ATTENTION_UNIT;
#if defined(KRN_UNIT_HAS_PAIRS)
        if (form == WEIGHTS_BF16 || form == WEIGHTS_BF16_SWAPPED) {
            lanes_store_bf16((uint16_t *)job->w + at, w[u], form == WEIGHTS_BF16_SWAPPED);
            continue;
        }
#endif
        lanes_store((float *)job->w + at, form == WEIGHTS_F32 ? w[u] : lanes_round_bf16(w[u]));
    }
}

KRN_ALWAYS_INLINE void store_u8_weights(const krn_softmax_job *job, int32_t row, const lanes_f w[]) {
    const float largest = lanes_highest(lanes_higher(lanes_higher(w[0], w[1]), lanes_higher(w[2], w[3])));
    const int counts = largest >= KRN_ATTENTION_LEAST_WEIGHT;
    const lanes_f inverse = lanes_all(counts ? 255.0f / largest : 0);
    const int has_zeros = job->values->zeros[0] != NULL;
    lanes_i sum = lanes_all_i(0);
    KRN_UNROLL
    for (int u = 0; u < KRN_ATTENTION_UNITS; u++) {
        const lanes_i codes = lanes_to_i32(lanes_mul(w[u], inverse));
        lanes_store_bytes((uint8_t *)job->w + row * KRN_ATTENTION_BLOCK + u * KRN_ATTENTION_UNIT, codes);
        sum = lanes_add_i(sum, has_zeros ? lanes_mul_i(codes, lanes_widen_u8(job->values->zeros[u])) : codes);
    }
    job->w_step[row] = counts ? largest / 255.0f : 0;
    job->w_offset[row] = 0;
    if (has_zeros)
        job->w_offset[row] = lanes_total(sum);
    else if (job->value_zero != 0)
        job->w_offset[row] = job->value_zero * lanes_total(sum);
}

/* m and alpha of all rows, before their weights: alphas of 16 rows are one exp. */
KRN_ALWAYS_INLINE void raise_maxima(const krn_softmax_job *job, float base[KRN_ATTENTION_ROWS]) {
    float change[KRN_ATTENTION_ROWS] = {0};
    for (int32_t row = 0; row < job->rows; row++) {
        const float *s = job->s + row * KRN_ATTENTION_BLOCK;
        const lanes_f first = lanes_higher(lanes_load(s), lanes_load(s + 16));
        const lanes_f second = lanes_higher(lanes_load(s + 32), lanes_load(s + 48));
        const float found = lanes_highest(lanes_higher(first, second)), before = job->m[row];
        const float highest = found > before ? found : before;
        base[row] = highest == -INFINITY ? 0 : highest;
        change[row] = before - base[row];
        job->m[row] = highest;
    }
    for (int32_t row = 0; row < job->rows; row += 16)
        lanes_store(job->alpha + row, lanes_exp_weight(lanes_load(change + row)));
}

/* Asks for `lines` lines, a piece at a time. */
static void look_ahead_through(krn_attention_ahead *ahead, int64_t lines) {
    while (lines > 0 && ahead->left > 0) {
        const int64_t some = ahead->left < lines ? ahead->left : lines;
        krn_look_ahead(ahead, some);
        lines -= some;
    }
}

KRN_ALWAYS_INLINE void softmax_rows(const krn_softmax_job *job, weights_form form) {
    const int has_scales = form != WEIGHTS_F32 && job->values->scales[0] != NULL;
    float base[KRN_ATTENTION_ROWS];
    const int64_t row_lines =
        job->ahead == NULL ? 0 : krn_divide_up((int32_t)(job->ahead->wanted - job->ahead->asked), job->rows);
    raise_maxima(job, base);
    for (int32_t row = 0; row < job->rows; row++) {
        if (job->ahead != NULL)
            look_ahead_through(job->ahead, row_lines);
        const float *s = job->s + row * KRN_ATTENTION_BLOCK;
        lanes_f w[KRN_ATTENTION_UNITS];
        KRN_UNROLL
        for (int u = 0; u < KRN_ATTENTION_UNITS; u++)
            w[u] = lanes_exp_weight(lanes_sub(lanes_load(s + u * KRN_ATTENTION_UNIT), lanes_all(base[row])));
        float *l = job->l + row * KRN_ATTENTION_UNIT;
        const lanes_f sum = lanes_add(lanes_add(w[0], w[1]), lanes_add(w[2], w[3]));
        lanes_store(l, lanes_fma(lanes_load(l), lanes_all(job->alpha[row]), sum));
        KRN_UNROLL
        for (int u = 0; form != WEIGHTS_F32 && u < KRN_ATTENTION_UNITS; u++)
            w[u] = lanes_mul(w[u], has_scales ? lanes_load(job->values->scales[u]) : lanes_all(job->value_scale));
        if (form == WEIGHTS_U8)
            store_u8_weights(job, row, w);
        else
            store_float_weights(job, row, w, form);
    }
}

static void accumulate(float *sum, const float *part, float weight, int64_t count) {
    for (int64_t i = 0; i < count; i += 16)
        lanes_store(sum + i, lanes_fma(lanes_load(part + i), lanes_all(weight), lanes_load(sum + i)));
}

#endif
