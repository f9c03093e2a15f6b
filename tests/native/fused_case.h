/* One random fused step in guarded memory, and oracles for it, written from kernels/fused.h. */
#ifndef KRN_TEST_FUSED_CASE_H
#define KRN_TEST_FUSED_CASE_H

#include "check.h"

typedef enum {
    STEP_RMSNORM,
    STEP_LAYERNORM,
    STEP_SILU_MUL,
    STEP_GELU_MUL,
    STEP_MULTIPLY,
    STEP_HADAMARD,
    STEP_RMSNORM_HADAMARD,
    STEP_SILU_MUL_HADAMARD,
    NUM_STEPS
} fused_step;

typedef struct {
    fused_step step;
    krn_fused_options options;
    krn_hadamard_options rotation;
    krn_quantize_options quantize;
    krn_fused_input input;
    float static_scale;
    int32_t static_zero_point;
    int64_t rows, cols, codes_ld_bytes;
    guard_side side;
} fused_case;

/* What a call wrote, in buffers of exactly the size that the header asks for, 0xA5 before the call. */
typedef struct {
    uint8_t *codes;
    float *scales;
    int32_t *zero_points;
    void *sum;
    int64_t codes_bytes, scale_count, sum_bytes;
    krn_status status;
} fused_result;

/* Random options, shape of at most about `max_elems` elements, and random data; the padding between rows holds NaN. */
fused_case fused_case_make(test_random *random, int64_t max_elems);

/* Runs the fused step in guarded memory. `sum` goes where the case says. */
fused_result fused_case_run(const fused_case *c, krn_context *context);

/* Ends the test unless two results are the same bits. */
void fused_case_compare(const fused_case *c, const fused_result *expected, const fused_result *actual, const char *who);

/* The unfused sequence: the step to f32, the rotation, krn_quantize; f32 of the step before the rotation in `values`
 * [rows, cols]. Not for static scales, which krn_quantize does not have; then codes and scales are not made. */
fused_result fused_case_run_parts(const fused_case *c, krn_context *context, float *values);

/* Ends the test unless `values` are within the bounds that the operations imply of what binary64 gives. */
void fused_case_check_values(const fused_case *c, const fused_result *result, const float *values);

/* Ends the test unless codes are those of rotated values and a static scale. */
void fused_case_check_static(const fused_case *c, const fused_result *result, krn_context *context,
                             const float *values);

/* Overwrites element `col` of a row of the source with infinity or NaN. */
void fused_case_poison(const fused_case *c, int64_t row, int64_t col, int is_nan);

#endif
