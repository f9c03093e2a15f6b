/* The steps over integer keys and values, for a file that has included its unit_*.h. */
#ifndef KRN_ATTENTION_INTEGERS_H
#define KRN_ATTENTION_INTEGERS_H

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

#endif
