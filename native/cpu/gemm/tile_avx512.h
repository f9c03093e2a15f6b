/* What the AVX-512 tiles share: t, the float sums of a tile, and how the sums of a group join them. */
#ifndef KRN_GEMM_TILE_AVX512_H
#define KRN_GEMM_TILE_AVX512_H

#include "common/portability.h"
#include "common/simd_avx512.h"
#include "gemm/scales_avx512.h"

enum { MAX_KEPT_ROWS = 8 };

/* Rows of a tile whose t stays in registers from group to group: those that its accumulators (two registers a row) and
 * `working` registers leave room for. The rest of t is read and written at the end of every group, which costs a tile of
 * 12 rows 50 cycles. Left to choose, the compiler may put an accumulator into memory instead, with a store for every
 * block. */
KRN_ALWAYS_INLINE int32_t kept_rows(int32_t rows, int32_t working) {
    const int32_t room = (32 - working - 2 * rows) / 2;
    return rows < room ? rows : room;
}

KRN_ALWAYS_INLINE void load_t(zmm_f t[][2], const krn_tile_job *job, int32_t kept) {
    KRN_UNROLL
    for (int32_t r = 0; r < kept; r++) {
        t[r][0] = load_f(job->t + r * KRN_PANEL_CHANNELS);
        t[r][1] = load_f(job->t + r * KRN_PANEL_CHANNELS + 16);
    }
}

KRN_ALWAYS_INLINE void store_t(const krn_tile_job *job, zmm_f t[][2], int32_t kept) {
    KRN_UNROLL
    for (int32_t r = 0; r < kept; r++) {
        store_f(job->t + r * KRN_PANEL_CHANNELS, t[r][0]);
        store_f(job->t + r * KRN_PANEL_CHANNELS + 16, t[r][1]);
    }
}

/* t = fma(sum, scale, t) for a row of the tile. */
KRN_ALWAYS_INLINE void fold_row(zmm_f t[][2], float *t_in_memory, int32_t r, const zmm_f sum[2], const zmm_f scales[2],
                                int32_t kept) {
    if (r < kept) {
        t[r][0] = fma_f(sum[0], scales[0], t[r][0]);
        t[r][1] = fma_f(sum[1], scales[1], t[r][1]);
    } else {
        float *row = t_in_memory + r * KRN_PANEL_CHANNELS;
        store_f(row, fma_f(sum[0], scales[0], load_f(row)));
        store_f(row + 16, fma_f(sum[1], scales[1], load_f(row + 16)));
    }
}

#endif
