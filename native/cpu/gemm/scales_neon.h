/* Scales and float offsets of packed weights in NEON registers, a slice of `vecs` x 4 channels at a time. */
#ifndef KRN_GEMM_SCALES_NEON_H
#define KRN_GEMM_SCALES_NEON_H

#include "common/simd_neon.h"
#include "gemm/gemm_kernel.h"

/* Vectors of a panel. */
enum { PANEL_VECS = KRN_PANEL_CHANNELS / KRN_VEC_LANES };

/* Floats first.. of `type`, widened. */
KRN_ALWAYS_INLINE void load_floats(neon_f *values, int32_t type, const uint8_t *from, int32_t first, int32_t vecs) {
    from += first * krn_float_bytes(type);
    KRN_UNROLL
    for (int32_t v = 0; v < vecs; v++) {
        if (type == KRN_TYPE_F32)
            values[v] = load_f(from + 16 * v);
        else if (type == KRN_TYPE_F16)
            values[v] = widen_f16(from + 8 * v);
        else
            values[v] = widen_bf16(from + 8 * v);
    }
}

/* The scales of a group for the channels first.. of the panel. */
KRN_ALWAYS_INLINE void load_scales(neon_f *scales, const krn_tile_job *job, int64_t group, int32_t first,
                                   int32_t vecs) {
    if (job->scales != NULL)
        load_floats(scales, KRN_TYPE_F32, (const uint8_t *)(job->scales + (group - job->group) * KRN_PANEL_CHANNELS),
                    first, vecs);
    else
        load_floats(scales, job->layout->scale_type, krn_tile_scales(job, group), first, vecs);
}

#endif
