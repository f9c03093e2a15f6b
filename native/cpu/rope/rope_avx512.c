/* RoPE with AVX-512 F, BW, DQ and VL: 16 pairs per step, masked where a head has fewer left. */
#include "common/lanes_avx512.h"
#include "rope/rope_variants.h"

KRN_ALWAYS_INLINE lanes_f load_some(int32_t type, const void *source, int64_t at, int64_t n) {
    if (type == KRN_TYPE_F32)
        return _mm512_maskz_loadu_ps(first_lanes(n), (const float *)source + at);
    return widen(type, _mm256_maskz_loadu_epi16(first_lanes(n), (const uint16_t *)source + at));
}

KRN_ALWAYS_INLINE void store_some(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    if (type == KRN_TYPE_F32)
        _mm512_mask_storeu_ps((float *)target + at, first_lanes(n), value);
    else
        _mm256_mask_storeu_epi16((uint16_t *)target + at, first_lanes(n), narrow(type, value));
}

/* 0 0 1 1 ... 7 7, and the same of lanes 8 to 15. */
KRN_ALWAYS_INLINE lanes_f pairs_lower(lanes_f a) {
    return lookup_f32(a, _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7));
}
KRN_ALWAYS_INLINE lanes_f pairs_upper(lanes_f a) {
    return lookup_f32(a, _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15));
}
/* 1 0 3 2 ... 15 14. */
KRN_ALWAYS_INLINE lanes_f swap_pairs(lanes_f a) { return _mm512_permute_ps(a, _MM_SHUFFLE(2, 3, 0, 1)); }
/* a - b in even lanes, a + b in odd ones. */
KRN_ALWAYS_INLINE lanes_f subtract_add(lanes_f a, lanes_f b) { return _mm512_mask_sub_ps(add_f(a, b), 0x5555, a, b); }

#include "rope/rope_loops.h"

const krn_rope_kernels krn_rope_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .rotate = rotate,
};
