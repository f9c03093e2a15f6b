#include "ceiling/ceiling_variants.h"

#include <immintrin.h>

/* See ceiling_avx2.c. 15 sums, 15 products and an operand are 31 of 32 registers. */
enum { FMA_CHAINS = 16, MADD_CHAINS = 15 };
/* Registers, each a cache line, that a turn of the memory loops moves. On Zen 5 eight in address order are the fastest
 * in every cache; from DRAM, prefetching at any distance, with any hint, gains nothing, and in the caches it costs load
 * slots. */
enum { UNROLL = 8, TURN_BYTES = UNROLL * 64 };

static int64_t int16_madd(int64_t turns) {
    const __m512i weight = _mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A));
    __m512i sum[MADD_CHAINS];
    KRN_UNROLL
    for (int i = 0; i < MADD_CHAINS; i++)
        sum[i] = _mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B + i));
    for (int64_t turn = 0; turn < turns; turn++) {
        /* The sum is also the operand: a product of two constants would be moved out of the loop. All products first:
         * Zen 5 then reaches 96% of two products per cycle, and 89% when each is followed by its sum. */
        __m512i product[MADD_CHAINS];
        KRN_UNROLL
        for (int i = 0; i < MADD_CHAINS; i++)
            product[i] = _mm512_madd_epi16(sum[i], weight);
        KRN_UNROLL
        for (int i = 0; i < MADD_CHAINS; i++)
            sum[i] = _mm512_add_epi32(sum[i], product[i]);
    }
    volatile __m512i sink;
    KRN_UNROLL
    for (int i = 0; i < MADD_CHAINS; i++)
        sink = sum[i];
    (void)sink;
    return MADD_CHAINS * 32 * 2;
}

static int64_t f32_fma(int64_t turns) {
    const __m512 a = _mm512_castsi512_ps(_mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A)));
    const __m512 b = _mm512_castsi512_ps(_mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B)));
    __m512 sum[FMA_CHAINS];
    KRN_UNROLL
    for (int i = 0; i < FMA_CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)krn_ceiling_opaque(i));
    for (int64_t turn = 0; turn < turns; turn++) {
        KRN_UNROLL
        for (int i = 0; i < FMA_CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(a, b, sum[i]);
    }
    volatile __m512 sink;
    KRN_UNROLL
    for (int i = 0; i < FMA_CHAINS; i++)
        sink = sum[i];
    (void)sink;
    return FMA_CHAINS * 16 * 2;
}

static void read_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    __m512i sum[UNROLL];
    KRN_UNROLL
    for (int i = 0; i < UNROLL; i++)
        sum[i] = _mm512_setzero_si512();
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t offset = 0; offset < bytes; offset += TURN_BYTES) {
            /* Sums, not a logical operation: two of those are merged into one, which reorders the loads and halves the
             * bandwidth of the second cache level. */
            KRN_UNROLL
            for (int i = 0; i < UNROLL; i++)
                sum[i] = _mm512_add_epi32(sum[i], _mm512_load_si512(buffer + offset + 64 * i));
        }
    }
    volatile __m512i sink;
    KRN_UNROLL
    for (int i = 0; i < UNROLL; i++)
        sink = sum[i];
    (void)sink;
}

static void copy_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    const int64_t half = bytes / 2;
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t offset = 0; offset < half; offset += TURN_BYTES) {
            KRN_UNROLL
            for (int i = 0; i < UNROLL; i++) {
                const __m512i line = _mm512_load_si512(buffer + offset + 64 * i);
                _mm512_stream_si512((void *)(buffer + half + offset + 64 * i), line);
            }
        }
    }
    /* Streaming stores are ordered with nothing: without the fence another thread may see them late. */
    _mm_sfence();
}

const krn_ceiling_variant_loops krn_ceiling_avx512 = {
    .name = "avx512",
    .isa = KRN_ISA_AVX512,
    .int16_madd = int16_madd,
    .f32_fma = f32_fma,
    .read = read_buffer,
    .copy = copy_buffer,
};
