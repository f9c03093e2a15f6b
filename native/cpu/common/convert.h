/* Rows of f16 and bf16 to f32 and back. Plain C, compiled once per instruction set by the file that includes it; only
 * f16 needs an instruction of its own. Every version gives the bits of half.h. */
#ifndef KRN_CONVERT_H
#define KRN_CONVERT_H

#include "common/half.h"
#include "kernels/common.h"

#include <string.h>
#if defined(__F16C__)
#include <immintrin.h>
#elif defined(KRN_ARM64)
#include <arm_neon.h>
#endif

KRN_ALWAYS_INLINE void krn_widen_f16(float *to, const uint16_t *from, int64_t count) {
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + i))));
#elif defined(KRN_ARM64)
    for (; i + 4 <= count; i += 4)
        vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + i))));
#endif
    for (; i < count; i++)
        to[i] = krn_f16_to_f32(from[i]);
}

KRN_ALWAYS_INLINE void krn_narrow_f16(uint16_t *to, const float *from, int64_t count) {
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#elif defined(KRN_ARM64)
    for (; i + 4 <= count; i += 4)
        vst1_u16(to + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
#endif
    for (; i < count; i++)
        to[i] = krn_f32_to_f16(from[i]);
}

KRN_ALWAYS_INLINE void krn_widen_bf16(float *to, const uint16_t *from, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        to[i] = krn_bf16_to_f32(from[i]);
}

KRN_ALWAYS_INLINE void krn_narrow_bf16(uint16_t *to, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        to[i] = krn_f32_to_bf16(from[i]);
}

/* Element `index` of an array of f32, f16 or bf16. */
KRN_ALWAYS_INLINE float krn_float_at(int32_t type, const void *data, int64_t index) {
    switch (type) {
    case KRN_TYPE_F32: return ((const float *)data)[index];
    case KRN_TYPE_F16: return krn_f16_to_f32(((const uint16_t *)data)[index]);
    default: return krn_bf16_to_f32(((const uint16_t *)data)[index]);
    }
}

/* Rounds to nearest even into element `index` of an array of f32, f16 or bf16. */
KRN_ALWAYS_INLINE void krn_put_float(int32_t type, void *data, int64_t index, float value) {
    switch (type) {
    case KRN_TYPE_F32: ((float *)data)[index] = value; break;
    case KRN_TYPE_F16: ((uint16_t *)data)[index] = krn_f32_to_f16(value); break;
    default: ((uint16_t *)data)[index] = krn_f32_to_bf16(value); break;
    }
}

/* Elements first..first+count-1 of a row of `type`. */
KRN_ALWAYS_INLINE void krn_widen(float *to, int32_t type, const void *row, int64_t first, int64_t count) {
    if (type == KRN_TYPE_F32)
        memcpy(to, (const float *)row + first, (size_t)count * sizeof(float));
    else if (type == KRN_TYPE_F16)
        krn_widen_f16(to, (const uint16_t *)row + first, count);
    else
        krn_widen_bf16(to, (const uint16_t *)row + first, count);
}

#endif
