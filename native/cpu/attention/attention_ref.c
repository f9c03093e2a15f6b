/* The scalar reference of native/include/kernels/attention.h: it defines the bits. */
#include "attention/attention_cell.h"
#include "attention/attention_rows.h"
#include "attention/attention_variants.h"
#include "common/exp.h"
#include "common/fma.h"

#include <float.h>
#include <math.h>

static void quantize_query(const krn_query_job *job) {
    float scaled[512], highest = 0;
    for (int64_t i = 0; i < job->head_dim; i++) {
        scaled[i] = job->channel_scales == NULL ? job->query[i] : job->query[i] * job->channel_scales[i];
        highest = fabsf(scaled[i]) > highest ? fabsf(scaled[i]) : highest;
    }
    const float scale = highest / 127.0f < FLT_MIN ? 0 : highest / 127.0f;
    const float inverse = scale == 0 ? 0 : 1.0f / scale;
    int32_t sum = 0, zero_sum = 0;
    for (int64_t i = 0; i < job->head_dim; i++) {
        float code = scaled[i] * inverse;
        code = code < -127.0f ? -127.0f : code;
        code = code > 127.0f ? 127.0f : code;
        job->codes[i] = (int8_t)lrintf(code);
        sum += job->codes[i];
        zero_sum += job->channel_zeros == NULL ? 0 : job->codes[i] * job->channel_zeros[i];
    }
    *job->scale = scale;
    *job->sum = sum;
    *job->zero_sum = zero_sum;
}

static float score(const krn_scores_job *job, int32_t row, int32_t unit, int64_t token) {
    const uint8_t *codes = job->keys->codes[unit];
    const uint8_t *q = job->q + row * job->q_row_bytes;
    float product = 0;
    if (krn_is_integer(job->key_type)) {
        int32_t dot = 0;
        for (int64_t i = 0; i < job->head_dim; i++)
            dot += ((const int8_t *)q)[i] * krn_key_code(job->key_type, codes, i, token);
        dot -= job->q_offset[row];
        if (job->keys->zeros[unit] != NULL)
            dot -= job->keys->zeros[unit][token] * job->q_sum[row];
        product = (float)dot;
    } else {
        for (int64_t i = 0; i < job->head_dim; i++)
            product =
                krn_fmaf(((const float *)(const void *)q)[i], krn_key_float(job->key_type, codes, i, token), product);
    }
    if (job->keys->scales[unit] != NULL)
        product *= job->keys->scales[unit][token];
    return krn_fmaf(product, job->q_scale[row], job->q_bias[row]);
}

static void scores(const krn_scores_job *job) {
    for (int32_t row = 0; row < job->rows; row++)
        for (int32_t unit = job->first_unit; unit < job->first_unit + job->units; unit++)
            for (int64_t token = 0; token < KRN_ATTENTION_UNIT; token++)
                job->s[row * KRN_ATTENTION_BLOCK + unit * KRN_ATTENTION_UNIT + token] = score(job, row, unit, token);
}

/* tanh(x) through exp(-2 |x|), with an absolute error of a few eps. */
static float hyperbolic_tangent(float x) {
    const float e = krn_exp_weight(-2.0f * fabsf(x));
    return copysignf((1.0f - e) / (1.0f + e), x);
}

static int is_visible(const krn_adjust_job *job, int64_t position, int64_t token) {
    if (token >= job->length || (!job->full && token > position))
        return 0;
    return job->window == 0 || token < job->sink_tokens ||
           (position - token < job->window && token - position < job->window);
}

static void adjust(const krn_adjust_job *job) {
    const float inverse_cap = job->softcap > 0 ? 1.0f / job->softcap : 0;
    for (int32_t row = 0; row < job->rows; row++) {
        for (int64_t j = 0; j < KRN_ATTENTION_BLOCK; j++) {
            float *s = &job->s[row * KRN_ATTENTION_BLOCK + j];
            const int64_t token = job->first_token + j, distance = job->positions[row] - token;
            if (!is_visible(job, job->positions[row], token)) {
                *s = -INFINITY;
                continue;
            }
            if (job->softcap > 0)
                *s = job->softcap * hyperbolic_tangent(*s * inverse_cap);
            if (job->slopes != NULL)
                *s = krn_fmaf(-job->slopes[row], (float)(distance < 0 ? -distance : distance), *s);
        }
    }
}

/* Weights of a row before they are quantized; returns the largest. */
static float weigh_row(const krn_softmax_job *job, int32_t row, float weights[KRN_ATTENTION_BLOCK]) {
    const float *s = job->s + row * KRN_ATTENTION_BLOCK;
    float highest = job->m[row], p[KRN_ATTENTION_BLOCK] = {0}, largest = 0;
    const int64_t tokens = job->units * KRN_ATTENTION_UNIT;
    for (int64_t j = 0; j < tokens; j++)
        highest = s[j] > highest ? s[j] : highest;
    const float base = highest == -INFINITY ? 0 : highest;
    for (int64_t j = 0; j < tokens; j++)
        p[j] = krn_exp_weight(s[j] - base);
    const float alpha = krn_exp_weight(job->m[row] - base);
    for (int64_t i = 0; i < KRN_ATTENTION_UNIT; i++) {
        float *l = &job->l[row * KRN_ATTENTION_UNIT + i];
        *l = krn_fmaf(*l, alpha, (p[i] + p[16 + i]) + (p[32 + i] + p[48 + i]));
    }
    job->m[row] = highest;
    job->alpha[row] = alpha;
    for (int64_t j = 0; j < KRN_ATTENTION_BLOCK; j++) {
        const float *scales = j < tokens ? job->values->scales[j / KRN_ATTENTION_UNIT] : NULL;
        weights[j] = p[j] * (scales != NULL ? scales[j % KRN_ATTENTION_UNIT] : job->value_scale);
        largest = weights[j] > largest ? weights[j] : largest;
    }
    return largest;
}

static void softmax(const krn_softmax_job *job) {
    for (int32_t row = 0; row < job->rows; row++) {
        float weights[KRN_ATTENTION_BLOCK];
        const float largest = weigh_row(job, row, weights);
        if (!krn_is_integer(job->value_type)) {
            float *w = (float *)job->w + row * KRN_ATTENTION_BLOCK;
            for (int64_t j = 0; j < KRN_ATTENTION_BLOCK; j++)
                w[j] = job->value_type == KRN_TYPE_F32 ? weights[j] : krn_bf16_to_f32(krn_f32_to_bf16(weights[j]));
            continue;
        }
        uint8_t *w = (uint8_t *)job->w + row * KRN_ATTENTION_BLOCK;
        const float inverse = largest < KRN_ATTENTION_LEAST_WEIGHT ? 0 : 255.0f / largest;
        job->w_step[row] = largest < KRN_ATTENTION_LEAST_WEIGHT ? 0 : largest / 255.0f;
        job->w_offset[row] = 0;
        for (int64_t j = 0; j < KRN_ATTENTION_BLOCK; j++) {
            const uint8_t *zeros =
                j < job->units * KRN_ATTENTION_UNIT ? job->values->zeros[j / KRN_ATTENTION_UNIT] : NULL;
            w[j] = (uint8_t)lrintf(weights[j] * inverse);
            job->w_offset[row] += w[j] * (zeros != NULL ? zeros[j % KRN_ATTENTION_UNIT] : job->value_zero);
        }
    }
}

static void values(const krn_values_job *job) {
    for (int32_t row = 0; row < job->rows; row++) {
        for (int64_t c = 0; c < job->channels; c++) {
            float *acc = &job->acc[row * job->channels + c];
            const float kept = *acc * job->alpha[row];
            int32_t dot = 0;
            float sum = kept;
            for (int64_t j = 0; j < job->units * KRN_ATTENTION_UNIT; j++) {
                const uint8_t *codes = job->values->codes[j / KRN_ATTENTION_UNIT];
                const int64_t token = j % KRN_ATTENTION_UNIT, at = row * KRN_ATTENTION_BLOCK + j;
                if (krn_is_integer(job->value_type))
                    dot +=
                        ((const uint8_t *)job->w)[at] * krn_value_code(job->value_type, codes, job->channels, c, token);
                else
                    sum = krn_fmaf(((const float *)job->w)[at],
                                   krn_value_float(job->value_type, codes, job->channels, c, token), sum);
            }
            *acc = krn_is_integer(job->value_type) ? krn_fmaf((float)(dot - job->w_offset[row]), job->w_step[row], kept)
                                                   : sum;
        }
    }
}

static void accumulate(float *sum, const float *part, float weight, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        sum[i] = krn_fmaf(part[i], weight, sum[i]);
}

const krn_attention_kernels krn_attention_ref = {
    .name = "ref",
    .features = 0,
    .key_types = KRN_ATTENTION_ALL_TYPES,
    .value_types = KRN_ATTENTION_ALL_TYPES,
    KRN_ATTENTION_STEPS,
};
