/* One random GEMM problem in guarded memory, and an oracle for it in binary64. */
#ifndef KRN_TEST_GEMM_CASE_H
#define KRN_TEST_GEMM_CASE_H

#include "check.h"

typedef struct {
    int32_t format, activation_type, output_type;
    int64_t m, n, k, group_size;
    int has_bias, has_residual, residual_is_output;
    /* Elements by which leading dimensions exceed the width. */
    int64_t slack;
    guard_side side;
    uint64_t seed;
    /* As in krn_weights_desc and krn_weights_source. */
    int32_t scale_type, zero_type, flattened, ordered, high_nibble_first;
} gemm_shape;

typedef struct {
    gemm_shape shape;
    /* Elements per group of a channel, and scales of the unpacked form. */
    int64_t group, num_groups, num_scales, codes_ld_bytes;
    uint8_t *codes;
    void *scales;
    int32_t *zero_points;
    void *zero_offsets;
    float *codebook;
    int32_t *group_index;
    /* With a group index: the inputs of group 0 in order, then those of group 1, and so on. */
    int64_t *inputs;
    float *scale_map, *nested_scales;
    float scale_offset;
    /* Outlier columns that the weights fix: none, until a test sets them. */
    const int32_t *outlier_columns;
    const void *outlier_weights;
    int64_t num_outliers;
    int32_t outlier_type;
    krn_activations activations;
    /* NULL, until a test sets it. */
    const krn_gemm_options *options;
    /* The side term [m][n] that is expected of integer activations, or NULL. */
    const float *side;
    /* The exact side term [m][n] of float activations, the sum of magnitudes behind it, and how many of them times
     * 2^-24 it may be off; or NULL. */
    const double *exact_side, *side_magnitude;
    double side_error;
    float *bias;
    void *residual;
    int64_t ld;
} gemm_case;

gemm_case gemm_case_make(const gemm_shape *shape);
krn_weights_desc gemm_case_desc(const gemm_case *c);
krn_weights_source gemm_case_source(const gemm_case *c);
krn_weights *gemm_case_pack(const gemm_case *c, krn_context *context);
/* Runs the case in guarded memory; returns Y with leading dimension c->ld, padding included. `first_row` and `rows`
 * take a part of the batch. */
void *gemm_case_run(const gemm_case *c, krn_context *context, const krn_weights *weights, int64_t first_row,
                    int64_t rows);

int64_t type_bytes(int32_t type);
int is_integer_type(int32_t type);
/* Element `index` of a float tensor. */
double float_element(int32_t type, const void *data, int64_t index);
/* Weight code less integer zero point, or a codebook's entry; its scale and its float offset (or 0). */
double case_weight(const gemm_case *c, int64_t n, int64_t k);
float case_scale(const gemm_case *c, int64_t n, int64_t k);
float case_offset(const gemm_case *c, int64_t n, int64_t k);
/* Activation less zero point, before its scale. */
double case_activation(const gemm_case *c, int64_t m, int64_t k);

/* The contract of gemm.h for integer activations, step by step: the exact bits before the output conversion. */
float integer_oracle(const gemm_case *c, int64_t m, int64_t n);
/* The exact value in binary64, and the sums of magnitudes that bound the errors of the product and of the side term.
 * `bf16_entries`: the entries of a codebook count as rounded to
 * bf16. */
double float_oracle(const gemm_case *c, int64_t m, int64_t n, int bf16_entries, double *magnitude,
                    double *side_magnitude);

/* Holds Y to its contract: integer activations bit for bit, float activations within their bound; padding is
 * untouched. */
void gemm_case_check(const gemm_case *c, const void *y, const char *variant);

#endif
