/* What the variants of the side term share, compiled once per instruction set by the file that includes it. */
#ifndef KRN_GEMM_SIDE_COMMON_H
#define KRN_GEMM_SIDE_COMMON_H

#include "common/convert.h"
#include "gemm/side_kernels.h"

/* Inputs widened at a time: 2 KiB, in L1. */
enum { KRN_FIND_INPUTS = 512, KRN_FIND_STEP = 16 };

/* Bit i: |x[i]| > threshold, for 16 floats. */
typedef uint16_t krn_above_function(const float *x, float threshold);

KRN_ALWAYS_INLINE void krn_find_outliers(int32_t type, const void *x, int64_t count, float threshold, uint16_t *found,
                                         krn_above_function *above) {
    float values[KRN_FIND_INPUTS];
    for (int64_t start = 0; start < count; start += KRN_FIND_INPUTS) {
        const int64_t inputs = count - start < KRN_FIND_INPUTS ? count - start : KRN_FIND_INPUTS;
        krn_widen(values, type, x, start, inputs);
        for (int64_t i = inputs; i % KRN_FIND_STEP != 0; i++)
            values[i] = 0;
        for (int64_t i = 0; i < inputs; i += KRN_FIND_STEP)
            found[(start + i) / KRN_FIND_STEP] |= above(values + i, threshold);
    }
}

/* One row of krn_side_kernels.transpose. */
KRN_ALWAYS_INLINE void krn_transpose_row(int32_t type, const void *from, int64_t first, int64_t count, int64_t c,
                                         float *q) {
    float values[64];
    for (int64_t start = 0; start < count; start += 64) {
        const int64_t n = count - start < 64 ? count - start : 64;
        krn_widen(values, type, from, first + start, n);
        for (int64_t j = 0; j < n; j++)
            q[(start + j) * KRN_PANEL_CHANNELS + c] = values[j];
    }
}

KRN_ALWAYS_INLINE void krn_clear_channels(int32_t channels, int64_t count, float *q) {
    for (int64_t j = 0; j < count; j++)
        for (int32_t c = channels; c < KRN_PANEL_CHANNELS; c++)
            q[j * KRN_PANEL_CHANNELS + c] = 0;
}

#endif
