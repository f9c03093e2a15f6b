/* Four dwords of four rows, transposed: 4 loads, 8 shuffles, 4 stores instead of 16 of each. */
#ifndef KRN_GEMM_TRANSPOSE_H
#define KRN_GEMM_TRANSPOSE_H

#include "common/portability.h"

#include <stdint.h>
#if defined(KRN_X86_64)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

/* to[i * to_stride + r] = from[r * from_stride + i] for i and r in 0..3. */
KRN_ALWAYS_INLINE void krn_transpose_4x4(uint32_t *to, int64_t to_stride, const uint32_t *from, int64_t from_stride) {
#if defined(KRN_X86_64)
    const __m128i a = _mm_loadu_si128((const __m128i *)from);
    const __m128i b = _mm_loadu_si128((const __m128i *)(from + from_stride));
    const __m128i c = _mm_loadu_si128((const __m128i *)(from + 2 * from_stride));
    const __m128i d = _mm_loadu_si128((const __m128i *)(from + 3 * from_stride));
    const __m128i ab_low = _mm_unpacklo_epi32(a, b), ab_high = _mm_unpackhi_epi32(a, b);
    const __m128i cd_low = _mm_unpacklo_epi32(c, d), cd_high = _mm_unpackhi_epi32(c, d);
    _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi64(ab_low, cd_low));
    _mm_storeu_si128((__m128i *)(to + to_stride), _mm_unpackhi_epi64(ab_low, cd_low));
    _mm_storeu_si128((__m128i *)(to + 2 * to_stride), _mm_unpacklo_epi64(ab_high, cd_high));
    _mm_storeu_si128((__m128i *)(to + 3 * to_stride), _mm_unpackhi_epi64(ab_high, cd_high));
#else
    const uint32x4_t a = vld1q_u32(from), b = vld1q_u32(from + from_stride);
    const uint32x4_t c = vld1q_u32(from + 2 * from_stride), d = vld1q_u32(from + 3 * from_stride);
    const uint64x2_t ab_even = vreinterpretq_u64_u32(vtrn1q_u32(a, b)),
                     ab_odd = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
    const uint64x2_t cd_even = vreinterpretq_u64_u32(vtrn1q_u32(c, d)),
                     cd_odd = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    vst1q_u32(to, vreinterpretq_u32_u64(vtrn1q_u64(ab_even, cd_even)));
    vst1q_u32(to + to_stride, vreinterpretq_u32_u64(vtrn1q_u64(ab_odd, cd_odd)));
    vst1q_u32(to + 2 * to_stride, vreinterpretq_u32_u64(vtrn2q_u64(ab_even, cd_even)));
    vst1q_u32(to + 3 * to_stride, vreinterpretq_u32_u64(vtrn2q_u64(ab_odd, cd_odd)));
#endif
}

#endif
