/* The integer tile of AVX2. */
#ifndef KRN_GEMM_TILE_S16_AVX2_H
#define KRN_GEMM_TILE_S16_AVX2_H

#include "gemm/scales_avx2.h"

enum { TILE_ROWS = 6 };

KRN_ALWAYS_INLINE void slice_scales(vec_f scales[2], const krn_tile_job *job, int64_t group, int32_t first) {
    load_scales(scales, job, group, first);
}

KRN_ALWAYS_INLINE vec_i nibbles_down(vec_i a, int nibbles) { return shift_right_i32(a, 4 * nibbles); }

#include "gemm/tile_s16.h"

#endif
