/* One random quantization problem in guarded memory, and an oracle for it, written from kernels/quantize.h in
 * binary64. */
#ifndef KRN_TEST_QUANTIZE_CASE_H
#define KRN_TEST_QUANTIZE_CASE_H

#include "check.h"

typedef struct {
    krn_quantize_options options;
    int64_t rows, cols;
    int64_t source_ld, codes_ld_bytes, target_ld;
    int32_t source_type, target_type;
    guard_side side;
    /* The padding between rows holds NaN. */
    void *source;
} quantize_case;

/* What a call wrote, in buffers of exactly the size that the header asks for, 0xA5 before the call. */
typedef struct {
    uint8_t *codes;
    float *scales;
    int32_t *zero_points;
    void *target;
    int64_t codes_bytes, scale_count, target_bytes;
    krn_quantize_error error;
} quantize_result;

/* Random options and shape of at most about `max_elems` elements, and random data: outliers, ties, zeros, subnormals,
 * values near the largest, one sign only. */
quantize_case quantize_case_make(test_random *random, int64_t max_elems);

/* Fresh output buffers, filled with 0xA5. */
quantize_result quantize_case_buffers(const quantize_case *c);
/* Quantizes with the error report, then dequantizes. */
quantize_result quantize_case_run(const quantize_case *c, krn_context *context);

/* Ends the test unless `result` is what the header says, padding untouched. */
void quantize_case_check(const quantize_case *c, const quantize_result *result);
/* Ends the test unless two results are the same bits. */
void quantize_case_compare(const quantize_case *c, const quantize_result *expected, const quantize_result *actual,
                           const char *who);

/* Element `index` of a float tensor, by the definition of its format. */
double quantize_float_at(int32_t type, const void *data, int64_t index);
/* Overwrites element `index` of the source with the infinity or NaN that has these bits above the exponent's. */
void quantize_case_poison(const quantize_case *c, int64_t index, int is_nan);

#endif
