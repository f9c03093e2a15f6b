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
} gemm_shape;

typedef struct {
    gemm_shape shape;
    int64_t num_groups, codes_ld_bytes;
    uint8_t *codes;
    float *scales;
    int32_t *zero_points;
    krn_activations activations;
    float *bias;
    void *residual;
    int64_t ld;
} gemm_case;

gemm_case gemm_case_make(const gemm_shape *shape);
krn_weights *gemm_case_pack(const gemm_case *c, krn_context *context);
/* Runs the case in guarded memory; returns Y with leading dimension c->ld, padding included. `first_row` and `rows` take a part
 * of the batch. */
void *gemm_case_run(const gemm_case *c, krn_context *context, const krn_weights *weights, int64_t first_row,
                    int64_t rows);

int64_t type_bytes(int32_t type);
/* Element `index` of a float tensor. */
double float_element(int32_t type, const void *data, int64_t index);
/* Weight code less zero point, and activation less zero point, before scales. */
int32_t case_weight(const gemm_case *c, int64_t n, int64_t k);
double case_activation(const gemm_case *c, int64_t m, int64_t k);

/* The contract of gemm.h for integer activations, step by step: the exact bits before the output conversion. */
float integer_oracle(const gemm_case *c, int64_t m, int64_t n);
/* The exact value in binary64 and the sum of magnitudes that bounds the error. */
double float_oracle(const gemm_case *c, int64_t m, int64_t n, double *magnitude);

#endif
