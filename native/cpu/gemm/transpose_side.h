/* Rows of an adapter's B to columns of channels, by 4x4 transposes, as in pack_activations.h: 8 shuffles and 4 stores
 * for 16 elements. Compiled once per instruction set. */
#ifndef KRN_GEMM_TRANSPOSE_SIDE_H
#define KRN_GEMM_TRANSPOSE_SIDE_H

#include "gemm/side_common.h"
#include "gemm/transpose.h"

/* Four channels: rows of `count` floats, `stride` apart. */
KRN_ALWAYS_INLINE void krn_transpose_rows(const float *rows, int64_t stride, int64_t count, float *q) {
    int64_t j = 0;
    for (; j + 4 <= count; j += 4)
        krn_transpose_4x4((uint32_t *)(void *)(q + j * KRN_PANEL_CHANNELS), KRN_PANEL_CHANNELS,
                          (const uint32_t *)(const void *)(rows + j), stride);
    for (; j < count; j++)
        for (int64_t r = 0; r < 4; r++)
            q[j * KRN_PANEL_CHANNELS + r] = rows[r * stride + j];
}

/* Four channels from c on. f32 is read where it lies: short copies cost more than the transposes. */
KRN_ALWAYS_INLINE void krn_transpose_channels(int32_t type, const void *from, int64_t ld, int64_t c, int64_t count,
                                              float *q) {
    if (type == KRN_TYPE_F32) {
        krn_transpose_rows((const float *)from + c * ld, ld, count, q + c);
        return;
    }
    float rows[4][64];
    for (int64_t start = 0; start < count; start += 64) {
        const int64_t n = count - start < 64 ? count - start : 64;
        for (int64_t r = 0; r < 4; r++)
            krn_widen(rows[r], type, from, (c + r) * ld + start, n);
        krn_transpose_rows(rows[0], 64, n, q + start * KRN_PANEL_CHANNELS + c);
    }
}

KRN_ALWAYS_INLINE void krn_transpose_side(int32_t type, const void *from, int64_t ld, int32_t channels, int64_t count,
                                          float *q) {
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4)
        krn_transpose_channels(type, from, ld, c, count, q);
    for (; c < channels; c++)
        krn_transpose_row(type, from, c * ld, count, c, q);
    krn_clear_channels(channels, count, q);
}

#endif
