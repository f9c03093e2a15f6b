/* Scales and float offsets of packed weights in AVX2 registers, 16 channels at a time. */
#ifndef KRN_GEMM_SCALES_AVX2_H
#define KRN_GEMM_SCALES_AVX2_H

#include "common/simd_avx2.h"
#include "gemm/gemm_kernel.h"

/* Floats first..first + 15 of `type`, widened. */
KRN_ALWAYS_INLINE void load_floats(ymm_f values[2], int32_t type, const uint8_t *from, int32_t first) {
    from += first * krn_float_bytes(type);
    if (type == KRN_TYPE_F32) {
        values[0] = load_f(from);
        values[1] = load_f(from + 32);
    } else if (type == KRN_TYPE_F16) {
        values[0] = widen_f16(from);
        values[1] = widen_f16(from + 16);
    } else {
        values[0] = widen_bf16(from);
        values[1] = widen_bf16(from + 16);
    }
}

/* The scales of a group, of half the panel: channels first..first + 15. */
KRN_ALWAYS_INLINE void load_scales(ymm_f scales[2], const krn_tile_job *job, int64_t group, int32_t first) {
    if (job->scales != NULL)
        load_floats(scales, KRN_TYPE_F32, (const uint8_t *)(job->scales + (group - job->group) * KRN_PANEL_CHANNELS),
                    first);
    else
        load_floats(scales, job->layout->scale_type, krn_tile_scales(job, group), first);
}

#endif
