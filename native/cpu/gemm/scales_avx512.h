/* Scales and float offsets of packed weights in AVX-512 registers. */
#ifndef KRN_GEMM_SCALES_AVX512_H
#define KRN_GEMM_SCALES_AVX512_H

#include "common/simd_avx512.h"
#include "gemm/gemm_kernel.h"

/* 32 floats of `type`, widened. */
KRN_ALWAYS_INLINE void load_floats(zmm_f values[2], int32_t type, const uint8_t *from) {
    if (type == KRN_TYPE_F32) {
        values[0] = load_f(from);
        values[1] = load_f(from + 64);
    } else if (type == KRN_TYPE_F16) {
        values[0] = widen_f16(from);
        values[1] = widen_f16(from + 32);
    } else {
        values[0] = widen_bf16(from);
        values[1] = widen_bf16(from + 32);
    }
}

/* The scales of a group. */
KRN_ALWAYS_INLINE void load_scales(zmm_f scales[2], const krn_tile_job *job, int64_t group) {
    if (job->scales != NULL)
        load_floats(scales, KRN_TYPE_F32, (const uint8_t *)(job->scales + (group - job->group) * KRN_PANEL_CHANNELS));
    else
        load_floats(scales, job->layout->scale_type, krn_tile_scales(job, group));
}

#endif
