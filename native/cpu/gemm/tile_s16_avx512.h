/* The integer tile of AVX-512 without VNNI. */
#ifndef KRN_GEMM_TILE_S16_AVX512_H
#define KRN_GEMM_TILE_S16_AVX512_H

#include "gemm/scales_avx512.h"

enum { TILE_ROWS = 12 };

/* A slice is the whole panel. */
KRN_ALWAYS_INLINE void slice_scales(vec_f scales[2], const krn_tile_job *job, int64_t group, int32_t first) {
    (void)first;
    load_scales(scales, job, group);
}

KRN_ALWAYS_INLINE vec_i nibbles_down(vec_i a, int nibbles) { return shift_right_i32(a, (unsigned)(4 * nibbles)); }

#include "gemm/tile_s16.h"

#endif
