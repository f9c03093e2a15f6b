/* Rows of Y that do not begin on a cache line, written past the caches all the same: a panel of 32 floats ends inside
 * a line, so its last floats wait for those of the next panel.
 *
 *   lines     | . . a a | a a a a | a a b b | b b b b | b b . .      a, b: panels; 2 of 4 lanes are the row's offset
 *               opened              seam                closed
 *
 * The first and the last line of a row, of which other rows or threads write a part, are stored as usual. */
#ifndef KRN_GEMM_SEAM_AVX512_H
#define KRN_GEMM_SEAM_AVX512_H

#include "common/simd_avx512.h"
#include "gemm/gemm_kernel.h"

/* `to` is the place of the 32 floats `y`; `seam` has the `offset` floats that come before it in its line, unless the
 * panel is the first one, and receives those at its end. */
KRN_ALWAYS_INLINE void krn_stream_seamed(float *to, const zmm_f y[2], float *seam, int opens, int closes) {
    const int32_t offset = (int32_t)((uintptr_t)to % KRN_LINE_BYTES / sizeof(float));
    const __mmask16 before = first_lanes(offset);
    const zmm_i rotated = sub_i32(lane_numbers(), broadcast_i32(offset));
    const zmm_f y0 = lookup_f32(y[0], rotated), y1 = lookup_f32(y[1], rotated);
    float *const line = to - offset;
    if (opens)
        store_lanes_f(line, y0, (__mmask16)~before);
    else
        stream_f(line, select_lanes_f(y0, load_f(seam), before));
    stream_f(line + 16, select_lanes_f(y1, y0, before));
    if (closes)
        store_lanes_f(line + 32, y1, before);
    else
        store_f(seam, y1);
}

/* Of a row whose last panel is written otherwise. */
KRN_ALWAYS_INLINE void krn_close_seam(float *to, const float *seam) {
    const int32_t offset = (int32_t)((uintptr_t)to % KRN_LINE_BYTES / sizeof(float));
    store_lanes_f(to - offset, load_f(seam), first_lanes(offset));
}

#endif
