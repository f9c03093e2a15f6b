/* The steps over keys and values of every type, for a file that has included its unit_*.h. */
#ifndef KRN_ATTENTION_ALL_TYPES_H
#define KRN_ATTENTION_ALL_TYPES_H

#include "attention/attention_loops.h"
#include "attention/attention_rows.h"
#include "attention/attention_scores.h"
#include "attention/attention_values.h"

static void scores(const krn_scores_job *job) {
    switch (job->key_type) {
    case KRN_TYPE_S8: block_scores(job, FORM_8); break;
    case KRN_TYPE_S4:
    case KRN_TYPE_U4: block_scores(job, FORM_4); break;
    case KRN_TYPE_F32: block_scores(job, FORM_F32); break;
    case KRN_TYPE_BF16: block_scores(job, FORM_BF16); break;
    default: block_scores(job, FORM_E4M3); break;
    }
}

static void softmax(const krn_softmax_job *job) {
    if (krn_is_integer(job->value_type))
        softmax_rows(job, WEIGHTS_U8);
    else if (job->value_type == KRN_TYPE_F32)
        softmax_rows(job, WEIGHTS_F32);
    else
        softmax_rows(job, WEIGHTS_ROUNDED);
}

static void values(const krn_values_job *job) {
    switch (job->value_type) {
    case KRN_TYPE_S8: block_values(job, FORM_8); break;
    case KRN_TYPE_S4:
    case KRN_TYPE_U4: block_values(job, FORM_4); break;
    case KRN_TYPE_F32: block_values(job, FORM_F32); break;
    case KRN_TYPE_BF16: block_values(job, FORM_BF16); break;
    default: block_values(job, FORM_E4M3); break;
    }
}

#endif
