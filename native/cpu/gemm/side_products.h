/* Products of the side term with two vectors of a panel's channels: written in the verbs that simd_avx2.h and
 * simd_avx512.h share, compiled once per instruction set. */
#ifndef KRN_GEMM_SIDE_PRODUCTS_H
#define KRN_GEMM_SIDE_PRODUCTS_H

#include "gemm/side_common.h"

/* 6 rows x 2 vectors: 12 chains of fma where 8 to 10 hide the latency. */
enum { PRODUCT_ROWS = 6 };

/* side[rows][2 vectors] += p[rows][count] x q[count][2 vectors]; rows of q and side are a panel apart. */
KRN_ALWAYS_INLINE void add_rows(const float *p, int64_t p_ld, const float *q, int64_t count, int32_t rows,
                                float *side) {
    vec_f sums[PRODUCT_ROWS][2];
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        sums[r][0] = load_f(side + r * KRN_PANEL_CHANNELS);
        sums[r][1] = load_f(side + r * KRN_PANEL_CHANNELS + KRN_VEC_LANES);
    }
    for (int64_t j = 0; j < count; j++) {
        const vec_f q0 = load_f(q + j * KRN_PANEL_CHANNELS), q1 = load_f(q + j * KRN_PANEL_CHANNELS + KRN_VEC_LANES);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const vec_f pr = broadcast_f32(p[r * p_ld + j]);
            sums[r][0] = fma_f(pr, q0, sums[r][0]);
            sums[r][1] = fma_f(pr, q1, sums[r][1]);
        }
    }
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        store_f(side + r * KRN_PANEL_CHANNELS, sums[r][0]);
        store_f(side + r * KRN_PANEL_CHANNELS + KRN_VEC_LANES, sums[r][1]);
    }
}

KRN_ALWAYS_INLINE void add_two_vectors(const float *p, int64_t p_ld, const float *q, int64_t count, int64_t rows,
                                       float *side) {
    for (; rows >= PRODUCT_ROWS; rows -= PRODUCT_ROWS) {
        add_rows(p, p_ld, q, count, PRODUCT_ROWS, side);
        p += PRODUCT_ROWS * p_ld;
        side += PRODUCT_ROWS * KRN_PANEL_CHANNELS;
    }
    switch (rows) {
    case 0: break;
    case 1: add_rows(p, p_ld, q, count, 1, side); break;
    case 2: add_rows(p, p_ld, q, count, 2, side); break;
    case 3: add_rows(p, p_ld, q, count, 3, side); break;
    case 4: add_rows(p, p_ld, q, count, 4, side); break;
    default: add_rows(p, p_ld, q, count, 5, side); break;
    }
}

#endif
