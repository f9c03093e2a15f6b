#include "ceiling/ceiling_variants.h"

#include <immintrin.h>

/* A chain's next operation waits for its last: latency x operations per cycle chains keep the units busy. That is 4 x 2
 * for fma on Zen 4/5 and Golden Cove, and up to 6 x 2 for vpmaddwd and vpaddd in one chain; 14 chains, an operand and a
 * product are the 16 registers. On Zen 5 they make 89% of two vpmaddwd per cycle, because sums take slots of the
 * multiplier's ports: every order that fits 16 registers was measured at 92% or less. */
enum { FMA_CHAINS = 12, MADD_CHAINS = 14 };
/* Registers, four cache lines in all, that a turn of the memory loops moves. See ceiling_avx512.c. */
enum { UNROLL = 8, TURN_BYTES = UNROLL * 32 };

static int64_t int16_madd(int64_t turns) {
    const __m256i weight = _mm256_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A));
    __m256i sum[MADD_CHAINS];
    KRN_UNROLL
    for (int i = 0; i < MADD_CHAINS; i++)
        sum[i] = _mm256_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B + i));
    for (int64_t turn = 0; turn < turns; turn++) {
        /* The sum is also the operand: a product of two constants would be moved out of the loop. */
        KRN_UNROLL
        for (int i = 0; i < MADD_CHAINS; i++)
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(sum[i], weight));
    }
    volatile __m256i sink;
    KRN_UNROLL
    for (int i = 0; i < MADD_CHAINS; i++)
        sink = sum[i];
    (void)sink;
    return MADD_CHAINS * 16 * 2;
}

static int64_t f32_fma(int64_t turns) {
    const __m256 a = _mm256_castsi256_ps(_mm256_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A)));
    const __m256 b = _mm256_castsi256_ps(_mm256_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B)));
    __m256 sum[FMA_CHAINS];
    KRN_UNROLL
    for (int i = 0; i < FMA_CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)krn_ceiling_opaque(i));
    for (int64_t turn = 0; turn < turns; turn++) {
        KRN_UNROLL
        for (int i = 0; i < FMA_CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(a, b, sum[i]);
    }
    volatile __m256 sink;
    KRN_UNROLL
    for (int i = 0; i < FMA_CHAINS; i++)
        sink = sum[i];
    (void)sink;
    return FMA_CHAINS * 8 * 2;
}

static void read_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    __m256i sum[UNROLL];
    KRN_UNROLL
    for (int i = 0; i < UNROLL; i++)
        sum[i] = _mm256_setzero_si256();
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t offset = 0; offset < bytes; offset += TURN_BYTES) {
            const __m256i *line = (const __m256i *)(const void *)(buffer + offset);
            KRN_UNROLL
            for (int i = 0; i < UNROLL; i++)
                sum[i] = _mm256_add_epi32(sum[i], _mm256_load_si256(line + i));
        }
    }
    volatile __m256i sink;
    KRN_UNROLL
    for (int i = 0; i < UNROLL; i++)
        sink = sum[i];
    (void)sink;
}

static void copy_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    const int64_t half = bytes / 2;
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t offset = 0; offset < half; offset += TURN_BYTES) {
            const __m256i *from = (const __m256i *)(const void *)(buffer + offset);
            __m256i *to = (__m256i *)(void *)(buffer + half + offset);
            KRN_UNROLL
            for (int i = 0; i < UNROLL; i++)
                _mm256_stream_si256(to + i, _mm256_load_si256(from + i));
        }
    }
    /* Streaming stores are ordered with nothing: without the fence another thread may see them late. */
    _mm_sfence();
}

const krn_ceiling_variant_loops krn_ceiling_avx2 = {
    .name = "avx2",
    .isa = KRN_ISA_AVX2,
    .int16_madd = int16_madd,
    .f32_fma = f32_fma,
    .read = read_buffer,
    .copy = copy_buffer,
};
