/* Attention over f32, bf16 and FP8 keys and values, AVX-512: the last two widened to f32. */
#include "attention/unit_avx512.h"

#include "attention/attention_loops.h"
#include "attention/attention_rows.h"
#include "attention/attention_scores.h"
#include "attention/attention_values.h"

static void scores(const krn_scores_job *job) {
    switch (job->key_type) {
    case KRN_TYPE_F32: block_scores(job, FORM_F32); break;
    case KRN_TYPE_BF16: block_scores(job, FORM_BF16); break;
    default: block_scores(job, FORM_E4M3); break;
    }
}

static void softmax(const krn_softmax_job *job) {
    if (job->value_type == KRN_TYPE_F32)
        softmax_rows(job, WEIGHTS_F32);
    else
        softmax_rows(job, WEIGHTS_ROUNDED);
}

static void values(const krn_values_job *job) {
    switch (job->value_type) {
    case KRN_TYPE_F32: block_values(job, FORM_F32); break;
    case KRN_TYPE_BF16: block_values(job, FORM_BF16); break;
    default: block_values(job, FORM_E4M3); break;
    }
}

const krn_attention_kernels krn_attention_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .key_types = KRN_ATTENTION_FLOATS,
    .value_types = KRN_ATTENTION_FLOATS,
    KRN_ATTENTION_STEPS,
};
