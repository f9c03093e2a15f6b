/* Attention over integer keys and values, NEON with I8MM. */
#include "attention/unit_neon.h"

#include "attention/attention_loops.h"
#include "attention/attention_rows.h"
#include "attention/attention_scores.h"
#include "attention/attention_values.h"

static void scores(const krn_scores_job *job) {
    if (job->key_type == KRN_TYPE_S8)
        block_scores(job, FORM_8);
    else
        block_scores(job, FORM_4);
}

static void softmax(const krn_softmax_job *job) { softmax_rows(job, WEIGHTS_U8); }

static void values(const krn_values_job *job) {
    if (job->value_type == KRN_TYPE_S8)
        block_values(job, FORM_8);
    else
        block_values(job, FORM_4);
}

const krn_attention_kernels krn_attention_neon_i8mm = {
    .name = "neon_i8mm",
    .features = KRN_CPU_NEON | KRN_CPU_NEON_DOTPROD | KRN_CPU_NEON_I8MM,
    .key_types = KRN_ATTENTION_INTEGERS,
    .value_types = KRN_ATTENTION_INTEGERS,
    .widen_query = widen_query,
    .quantize_query = quantize_query,
    .round_query = round_query,
    .scores = scores,
    .adjust = adjust,
    .softmax = softmax,
    .values = values,
    .accumulate = accumulate,
    .put_output = put_output,
};
