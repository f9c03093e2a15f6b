/* The arguments of fused steps, and their checks. */
#ifndef KRN_FUSED_ARGUMENTS_H
#define KRN_FUSED_ARGUMENTS_H

#include "fused/fused_rows.h"

/* A function of the header: what it computes, and with which of the options. */
typedef struct {
    krn_fused_op op;
    int32_t is_gelu, rotates;
    /* Whether the weight is required. */
    int32_t needs_weight;
} krn_fused_step;

/* All the arguments of a call but the result. */
typedef struct {
    krn_context *context;
    const krn_fused_options *options;
    int64_t rows, cols;
    const krn_fused_input *input;
    void *workspace;
    int64_t workspace_bytes;
} krn_fused_arguments;

/* Bytes of the workspace of calls in this context: two vectors, and a row of scratch for as many pieces as there can
 * be. */
int64_t krn_fused_workspace_bytes_of(const krn_context *context, int64_t cols);

/* Checks of context and cols, which are all that the workspace depends on. */
krn_status krn_fused_check_width(const krn_context *context, int64_t cols);

/* Checks of everything but the result, and of the two kinds of results; the first comes first. */
krn_status krn_fused_check(const krn_fused_step *step, const krn_fused_arguments *a);
/* The part of krn_fused_check that has to do with neither context nor workspace. */
krn_status krn_fused_check_matrices(const krn_fused_step *step, const krn_fused_arguments *a);
krn_status krn_fused_check_codes(const krn_fused_arguments *a, const krn_fused_codes *codes);
krn_status krn_fused_check_target(const krn_fused_arguments *a, int32_t target_type, const void *target,
                                  int64_t target_ld);

#endif
