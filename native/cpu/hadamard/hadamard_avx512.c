/* The Hadamard transform with AVX-512 F, BW, DQ and VL: 16 floats per register, 16 registers at a time. */
#include "common/lanes_avx512.h"
#include "hadamard/hadamard_variants.h"

#include <string.h>

enum { HELD_LEVELS = 4, HELD = 1 << HELD_LEVELS, MOST_SUMS = 20 };

/* x * 1 + y and x * -1 + y round once, as x + y and y - x do. */
KRN_ALWAYS_INLINE lanes_f butterfly_lanes(int level, lanes_f x) {
    const lanes_f one = broadcast_f32(1), minus = broadcast_f32(-1);
    switch (level) {
    case 0: return fma_f(x, _mm512_mask_blend_ps(0xAAAA, one, minus), _mm512_permute_ps(x, 0xB1));
    case 1: return fma_f(x, _mm512_mask_blend_ps(0xCCCC, one, minus), _mm512_permute_ps(x, 0x4E));
    case 2: return fma_f(x, _mm512_mask_blend_ps(0xF0F0, one, minus), _mm512_shuffle_f32x4(x, x, 0xB1));
    default: return fma_f(x, _mm512_mask_blend_ps(0xFF00, one, minus), _mm512_shuffle_f32x4(x, x, 0x4E));
    }
}

KRN_ALWAYS_INLINE lanes_f negate_f(lanes_f x) { return _mm512_xor_ps(x, broadcast_f32(-0.0f)); }

KRN_ALWAYS_INLINE lanes_f negate_bits(lanes_f x, uint32_t bits) {
    return _mm512_mask_xor_ps(x, (__mmask16)bits, x, broadcast_f32(-0.0f));
}

KRN_ALWAYS_INLINE lanes_f negate_lanes(lanes_f x, const uint8_t *signs) {
    uint16_t bits;
    memcpy(&bits, signs, sizeof bits);
    return negate_bits(x, bits);
}

KRN_ALWAYS_INLINE lanes_i negate_words(lanes_i words, const uint8_t *signs) {
    uint32_t bits;
    memcpy(&bits, signs, sizeof bits);
    return xor_i(words, _mm512_maskz_set1_epi16(bits, INT16_MIN));
}

KRN_ALWAYS_INLINE void load_split(const uint16_t *source, const uint8_t *signs, lanes_f x[2]) {
    lanes_i words = load_i(source);
    if (signs != NULL)
        words = negate_words(words, signs);
    split_bf16(words, x);
}

KRN_ALWAYS_INLINE void store_split(uint16_t *target, const uint8_t *signs, lanes_i even, lanes_i odd) {
    const lanes_i words = join_bf16(even, odd);
    store_i(target, signs == NULL ? words : negate_words(words, signs));
}

KRN_ALWAYS_INLINE lanes_f in_turn(lanes_f x) {
    KRN_IN_ORDER(x);
    return x;
}

#include "hadamard/hadamard_loops.h"

const krn_hadamard_kernels krn_hadamard_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .row = row,
    .run = run,
};
