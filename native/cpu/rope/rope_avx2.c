/* RoPE with AVX2 and F16C: 8 pairs per step. What a head has left goes through a buffer on the stack, because AVX2 has
 * no masked access to 16-bit elements. */
#include "common/lanes_avx2.h"
#include "rope/rope_variants.h"

#include <string.h>

KRN_ALWAYS_INLINE lanes_f load_some(int32_t type, const void *source, int64_t at, int64_t n) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)] = {0};
    memcpy(buffer, (const unsigned char *)source + at * size, (size_t)(n * size));
    return load_lanes(type, buffer, 0);
}

KRN_ALWAYS_INLINE void store_some(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)];
    store_lanes(type, buffer, 0, value);
    memcpy((unsigned char *)target + at * size, buffer, (size_t)(n * size));
}

/* 0 0 1 1 2 2 3 3, and the same of lanes 4 to 7. */
KRN_ALWAYS_INLINE lanes_f pairs_lower(lanes_f a) { return lookup_f32(a, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)); }
KRN_ALWAYS_INLINE lanes_f pairs_upper(lanes_f a) { return lookup_f32(a, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)); }
/* 1 0 3 2 5 4 7 6. */
KRN_ALWAYS_INLINE lanes_f swap_pairs(lanes_f a) { return _mm256_permute_ps(a, _MM_SHUFFLE(2, 3, 0, 1)); }
/* a - b in even lanes, a + b in odd ones. */
KRN_ALWAYS_INLINE lanes_f subtract_add(lanes_f a, lanes_f b) { return _mm256_addsub_ps(a, b); }

#include "rope/rope_loops.h"

const krn_rope_kernels krn_rope_avx2 = {
    .name = "avx2",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C,
    .rotate = rotate,
};
