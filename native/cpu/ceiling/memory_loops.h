/* The loops of the bandwidth ceilings. Compiled once per instruction set by the file that includes this header after it
 * has defined
 *
 *   lanes_i, LANE_BYTES                   a register, and the bytes in it
 *   load_i, broadcast_i32, add_i32        as in common/simd_*.h
 *   stream_i                              a store past the caches, aligned to the register
 */
#ifndef KRN_MEMORY_LOOPS_H
#define KRN_MEMORY_LOOPS_H

#include "ceiling/ceiling_variants.h"

/* Registers that a turn moves. On Zen 5 eight in address order are the fastest in every cache; from DRAM, prefetching
 * at any distance, with any hint, and reading several streams at once gain nothing, and in the caches a prefetch costs
 * load slots. */
enum { UNROLL = 8, TURN_BYTES = UNROLL * LANE_BYTES };

static void read_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    lanes_i sum[UNROLL];
    KRN_UNROLL
    for (int i = 0; i < UNROLL; i++)
        sum[i] = broadcast_i32(0);
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t offset = 0; offset < bytes; offset += TURN_BYTES) {
            /* Sums, not a logical operation: two of those are merged into one, which reorders the loads and halves the
             * bandwidth of the second cache level. */
            KRN_UNROLL
            for (int i = 0; i < UNROLL; i++)
                sum[i] = add_i32(sum[i], load_i(buffer + offset + LANE_BYTES * i));
        }
    }
    volatile lanes_i sink;
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
            for (int i = 0; i < UNROLL; i++)
                stream_i(buffer + half + offset + LANE_BYTES * i, load_i(buffer + offset + LANE_BYTES * i));
        }
    }
    KRN_STREAM_FENCE();
}

static void narrow_buffer(unsigned char *buffer, int64_t bytes, int64_t passes) {
    const int64_t lines = krn_ceiling_lines_written(bytes);
    unsigned char *sums = buffer + lines * KRN_CEILING_LINES_READ * KRN_CEILING_LINE;
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t line = 0; line < lines; line++) {
            const unsigned char *from = buffer + line * KRN_CEILING_LINES_READ * KRN_CEILING_LINE;
            lanes_i sum[KRN_CEILING_LINE / LANE_BYTES];
            KRN_UNROLL
            for (int i = 0; i < KRN_CEILING_LINE / LANE_BYTES; i++)
                sum[i] = load_i(from + LANE_BYTES * i);
            KRN_UNROLL
            for (int i = KRN_CEILING_LINE / LANE_BYTES; i < KRN_CEILING_LINES_READ * KRN_CEILING_LINE / LANE_BYTES; i++)
                sum[i % (KRN_CEILING_LINE / LANE_BYTES)] =
                    add_i32(sum[i % (KRN_CEILING_LINE / LANE_BYTES)], load_i(from + LANE_BYTES * i));
            KRN_UNROLL
            for (int i = 0; i < KRN_CEILING_LINE / LANE_BYTES; i++)
                stream_i(sums + line * KRN_CEILING_LINE + LANE_BYTES * i, sum[i]);
        }
    }
    KRN_STREAM_FENCE();
}

#endif
