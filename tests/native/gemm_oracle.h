/* What the tests of krn_gemm_options share: the steps that a call takes before the product, written out. */
#ifndef KRN_TEST_GEMM_ORACLE_H
#define KRN_TEST_GEMM_ORACLE_H

#include "gemm_case.h"

extern const int32_t FLOAT_TYPES[3];

/* The columns in which any row exceeds the threshold; gives their number. */
int64_t outlier_columns(const gemm_case *c, float threshold, uint8_t *is_outlier);
/* The case with activations as krn_quantize makes them from X with its outliers set to 0. */
gemm_case quantized_case(const gemm_case *c, krn_context *context, int32_t compute, const uint8_t *is_outlier);
/* The side term as gemm.h writes it. */
float *side_bits(const gemm_case *c, const uint8_t *is_outlier, const krn_lora *lora);

int64_t pick(test_random *random, const int64_t *values, int count);
void *random_matrix(test_random *random, int32_t type, int64_t rows, int64_t width, int64_t ld);
/* An adapter of some rank for a case of this shape. */
krn_lora random_lora(test_random *random, const gemm_shape *s);
/* What weights may bring besides: types of scales, float offsets, codebooks, an order of inputs. */
void vary_weights(test_random *random, gemm_shape *shape, int is_float);

#endif
