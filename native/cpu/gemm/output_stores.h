/* How Y is written. */
#ifndef KRN_GEMM_OUTPUT_STORES_H
#define KRN_GEMM_OUTPUT_STORES_H

#include "gemm/gemm_kernel.h"

enum {
    /* A Y of this size would drive activations and weights out of L2 (1 MiB) without staying there itself: written
     * past the caches, a GEMM with 128 rows gains 5 points of its peak. */
    KRN_STREAMED_OUTPUT_BYTES = 1 << 20,
};

typedef enum krn_output_stores {
    KRN_STORES_PLAIN,
    /* Past the caches: panels that begin on cache lines; others in f32, whose lines are put together first. */
    KRN_STORES_STREAMED,
    KRN_STORES_SEAMED,
} krn_output_stores;

/* Plain when Y is added to what is there: those lines are in the caches already. */
static inline krn_output_stores krn_choose_stores(const krn_gemm_output *y, int64_t m, int64_t n) {
    const int64_t element_bytes = krn_float_bytes(y->type);
    if (m * n * element_bytes < KRN_STREAMED_OUTPUT_BYTES || y->residual == y->data)
        return KRN_STORES_PLAIN;
    if ((uintptr_t)y->data % KRN_LINE_BYTES == 0 && y->ld * element_bytes % KRN_LINE_BYTES == 0)
        return KRN_STORES_STREAMED;
    return y->type == KRN_TYPE_F32 ? KRN_STORES_SEAMED : KRN_STORES_PLAIN;
}

#endif
