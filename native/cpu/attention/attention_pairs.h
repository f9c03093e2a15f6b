/* The steps over bf16 and FP8 keys and values where the processor multiplies pairs of bf16, for a file that has included
 * its unit_*.h. */
#ifndef KRN_ATTENTION_PAIRS_H
#define KRN_ATTENTION_PAIRS_H

#include "attention/attention_loops.h"
#include "attention/attention_rows.h"
#include "attention/attention_scores.h"
#include "attention/attention_values.h"

static void scores(const krn_scores_job *job) {
    if (job->key_type == KRN_TYPE_BF16)
        block_scores(job, FORM_BF16_PAIRS);
    else
        block_scores(job, FORM_E4M3_PAIRS);
}

static void softmax(const krn_softmax_job *job) {
    if (job->value_type == KRN_TYPE_BF16)
        softmax_rows(job, WEIGHTS_BF16);
    else
        softmax_rows(job, WEIGHTS_BF16_SWAPPED);
}

static void values(const krn_values_job *job) {
    if (job->value_type == KRN_TYPE_BF16)
        block_values(job, FORM_BF16_PAIRS);
    else
        block_values(job, FORM_E4M3_PAIRS);
}

#endif
