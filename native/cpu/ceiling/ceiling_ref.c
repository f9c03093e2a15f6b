/* What every machine can do: move memory. Plain C names no instruction whose peak a register loop could state. */
#include "ceiling/ceiling_variants.h"

#include <string.h>

/* Independent sums: what a compiler keeps in registers, and turns into vectors where the target has them. */
enum { SUMS = 8 };

static uint64_t word_at(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static void read_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    uint64_t sum[SUMS] = {0};
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t offset = 0; offset < bytes; offset += SUMS * (int64_t)sizeof *sum) {
            KRN_UNROLL
            for (int i = 0; i < SUMS; i++)
                sum[i] += word_at(buffer + offset + i * (int64_t)sizeof *sum);
        }
    }
    volatile uint64_t sink;
    KRN_UNROLL
    for (int i = 0; i < SUMS; i++)
        sink = sum[i];
    (void)sink;
}

static void copy_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    const size_t half = (size_t)bytes / 2;
    for (int64_t pass = 0; pass < passes; pass++)
        memcpy(buffer + half, buffer, half);
}

static void narrow_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    enum { WORDS = KRN_CEILING_LINE / (int)sizeof(uint32_t) };
    const int64_t lines = krn_ceiling_lines_written(bytes);
    unsigned char *sums = buffer + lines * KRN_CEILING_LINES_READ * KRN_CEILING_LINE;
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t line = 0; line < lines; line++) {
            uint32_t words[KRN_CEILING_LINES_READ * WORDS], sum[WORDS] = {0};
            memcpy(words, buffer + line * (int64_t)sizeof words, sizeof words);
            for (int i = 0; i < KRN_CEILING_LINES_READ * WORDS; i++)
                sum[i % WORDS] += words[i];
            memcpy(sums + line * (int64_t)sizeof sum, sum, sizeof sum);
        }
    }
}

const krn_ceiling_variant_loops krn_ceiling_ref = {
    .name = "ref", .isa = KRN_ISA_REF, .read = read_buffer, .copy = copy_buffer, .narrow = narrow_buffer};
