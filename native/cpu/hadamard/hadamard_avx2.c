/* The Hadamard transform with AVX2 and FMA: 8 floats per register, 8 registers at a time. */
#include "common/lanes_avx2.h"
#include "hadamard/hadamard_variants.h"

#include <string.h>

enum { HELD_LEVELS = 3, HELD = 1 << HELD_LEVELS, MOST_SUMS = 10 };

/* x * 1 + y and x * -1 + y round once, as x + y and y - x do. */
KRN_ALWAYS_INLINE lanes_f butterfly_lanes(int level, lanes_f x) {
    switch (level) {
    case 0: return fma_f(x, _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1), _mm256_permute_ps(x, 0xB1));
    case 1: return fma_f(x, _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1), _mm256_permute_ps(x, 0x4E));
    default: return fma_f(x, _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1), _mm256_permute2f128_ps(x, x, 0x01));
    }
}

KRN_ALWAYS_INLINE lanes_f negate_f(lanes_f x) { return _mm256_xor_ps(x, broadcast_f32(-0.0f)); }

/* Bit i to the top bit of lane i. */
KRN_ALWAYS_INLINE lanes_f negate_bits(lanes_f x, uint32_t bits) {
    const lanes_i places = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const lanes_i tops = _mm256_sllv_epi32(broadcast_i32((int32_t)bits), places);
    return _mm256_xor_ps(x, _mm256_and_ps(as_f32(tops), broadcast_f32(-0.0f)));
}

KRN_ALWAYS_INLINE lanes_f negate_lanes(lanes_f x, const uint8_t *signs) { return negate_bits(x, *signs); }

/* All ones in the words whose bits are set in memory, times the sign. */
KRN_ALWAYS_INLINE lanes_i sign_words(const uint8_t *signs) {
    const __m256i places =
        _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, INT16_MIN);
    int16_t bits;
    memcpy(&bits, signs, sizeof bits);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi16(bits), places);
    return _mm256_slli_epi16(_mm256_cmpeq_epi16(set, places), 15);
}

KRN_ALWAYS_INLINE void load_split(const uint16_t *source, const uint8_t *signs, lanes_f x[2]) {
    lanes_i words = load_i(source);
    if (signs != NULL)
        words = _mm256_xor_si256(words, sign_words(signs));
    split_bf16(words, x);
}

KRN_ALWAYS_INLINE void store_split(uint16_t *target, const uint8_t *signs, lanes_i even, lanes_i odd) {
    lanes_i words = join_bf16(even, odd);
    if (signs != NULL)
        words = _mm256_xor_si256(words, sign_words(signs));
    store_i(target, words);
}

KRN_ALWAYS_INLINE lanes_f in_turn(lanes_f x) {
    KRN_IN_ORDER(x);
    return x;
}

#include "hadamard/hadamard_loops.h"

const krn_hadamard_kernels krn_hadamard_avx2 = {
    .name = "avx2",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C,
    .row = row,
    .run = run,
};
