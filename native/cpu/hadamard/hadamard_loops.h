/* The passes of the Hadamard transform, written in verbs and compiled once per instruction set by the file that
 * includes this header after it has defined the verbs:
 *
 *   lanes_f               LANES = 2^LANE_LEVELS floats
 *   HELD                  registers that a pass holds at a time, 2^HELD_LEVELS
 *   MOST_SUMS             see hadamard_constant_bases.h
 *   load_lanes            LANES elements of a type, widened
 *   load_two              two registers of them
 *   load_rest             n < LANES of them
 *   store_lanes           f32 narrowed to a type
 *   store_rest            the first n lanes only
 *   load_split            the even and the odd ones of 2 LANES bf16, widened, negated where bits are set in memory unless
 *                         that is NULL
 *   round_bf16            f32, which is not NaN unless its lower half is 0, with the bits of the nearest bf16 in the upper
 *                         half and any in the lower one
 *   lower_half            its upper half, as the lower one of what is 0 otherwise
 *   store_split           even ones of lower_half and odd ones of round_bf16, negated where bits are set
 *   butterfly_lanes       one level within a register: lane s becomes x[s] + x[s + h] where bit h of s is 0, else
 *                         x[s - h] - x[s]
 *   negate_lanes          the lanes negated whose bits are set in memory, from a whole byte on
 *   negate_bits           the same by a number
 *   in_turn               the same, for which what follows waits and which is not computed or loaded twice: compilers make
 *                         all addends of a sum first, or load them for each of their uses, for which there are not
 *                         enough registers
 *   add_f, load_f, ...    as in common/simd_*.h
 *
 * A block goes through the caches as few times as its levels allow:
 *
 *   head      reads the source; levels 1 .. 2^(LANE_LEVELS + HELD_LEVELS), and one more by way of memory
 *   levels    up to HELD_LEVELS levels over registers that lie 2^p floats apart
 *   bases     a base matrix over columns of registers
 *
 * Passes behind the head follow it piece by piece, while pieces are in the first-level cache; the last one follows them.
 *
 * The last pass of a block scales, negates, narrows and writes the target; the others leave f32 in a row on the way. In
 * every pass the order of additions is that of kernels/hadamard.h.
 *
 * `from` and `to`, types of elements, and numbers of levels are constants wherever these functions are called. */
#ifndef KRN_HADAMARD_LOOPS_H
#define KRN_HADAMARD_LOOPS_H

#include <string.h>

/* What `to` may be besides a type: f32 as it is, to be transformed further, and f32 past the caches. And what both may
 * be: bf16 of which two registers hold the even and the odd ones of 2 LANES elements, on the way, too. That takes one
 * operation to widen a register and half of one more to narrow it, where neighbours in neighbouring lanes take two and
 * three; and the first level is one over two registers. */
enum { UNFINISHED = -1, STREAMED_F32 = -2, SPLIT_BF16 = -3 };

enum { HEAD_LEVELS = LANE_LEVELS + HELD_LEVELS };

KRN_ALWAYS_INLINE int64_t size_of(int32_t type) {
    return type == KRN_TYPE_F16 || type == KRN_TYPE_BF16 || type == SPLIT_BF16 ? 2 : 4;
}

#include "hadamard/hadamard_results.h"

/* low - high, as high * -1 + low, which rounds once, too: Zen has two of its four pipes for additions, which bind, and
 * two for products (8 lanes: 1.5 to 1.3 cycles a register and pass of three levels; 16 lanes: 3 to 4% less time at 4096 on
 * Zen 4, no difference on Zen 5). */
KRN_ALWAYS_INLINE lanes_f difference_of(lanes_f low, lanes_f high) { return fma_f(high, broadcast_f32(-1), low); }

/* Pair number `pair` of a level over registers. */
KRN_ALWAYS_INLINE void butterfly_pair(int level, int by_product, int pair, lanes_f *x) {
    const int h = 1 << level, a = pair / h * 2 * h + pair % h;
    const lanes_f low = x[a], high = x[a + h];
    x[a] = add_f(low, high);
    x[a + h] = by_product ? difference_of(low, high) : sub_f(low, high);
}

/* Levels first .. end - 1 over every 2^end of `count` registers, in order; differences of the first `products` of all
 * levels as products. */
KRN_ALWAYS_INLINE void butterfly_registers(int first, int end, int count, int products, lanes_f *x) {
    KRN_UNROLL
    for (int level = first; level < end; level++) {
        KRN_UNROLL
        for (int pair = 0; pair < count / 2; pair++)
            butterfly_pair(level, level < products, pair, x);
    }
}

/* Registers go through the levels within them some at a time: these wait for each other's shuffles, and additions of the
 * registers before fill the gaps (measured on Zen 5: 4.5 cycles a register with all at a time, 4.0 so). */
enum { TOGETHER = 4 };

/* Registers first .. end - 1 of a head, which lie behind each other. */
KRN_ALWAYS_INLINE void load_registers(int first, int end, int32_t from, const void *source, const uint8_t *signs,
                                      int64_t at, lanes_f *x) {
    const char *start = (const char *)source + at * size_of(from);
    KRN_UNROLL
    for (int r = first; from != SPLIT_BF16 && r < end; r++) {
        if (end - first == 1)
            x[r] = load_lanes(from, start, r * LANES);
        else if (r % 2 == 0)
            load_two(from, start, r * LANES, x + r);
        if (signs != NULL)
            x[r] = negate_lanes(x[r], signs + (uint64_t)at / 8 + r * (LANES / 8));
    }
    KRN_UNROLL
    for (int r = first; from == SPLIT_BF16 && r < end; r += 2) {
        load_split((const uint16_t *)source + at + r * LANES,
                   signs == NULL ? NULL : signs + (uint64_t)at / 8 + r * (LANES / 8), x + r);
        butterfly_registers(0, 1, 2, 1, x + r);
    }
}

/* The first level over registers that loading them leaves. */
KRN_ALWAYS_INLINE int first_level(int32_t from) { return from == SPLIT_BF16 ? 1 : 0; }

/* All levels of every 2^levels of `count` registers that lie behind each other. */
KRN_ALWAYS_INLINE void load_head(int levels, int count, int32_t from, const void *source, const uint8_t *signs,
                                 int64_t at, lanes_f *x) {
    KRN_UNROLL
    for (int first = 0; first < count; first += TOGETHER) {
        const int end = first + TOGETHER < count ? first + TOGETHER : count;
        load_registers(first, end, from, source, signs, at, x);
        KRN_UNROLL
        for (int level = 0; level < LANE_LEVELS; level++) {
            KRN_UNROLL
            for (int r = first; r < end; r++)
                x[r] = butterfly_lanes(level, x[r]);
        }
    }
    /* With 16 lanes the levels within a register have nearly as many products as these have additions. */
    butterfly_registers(first_level(from), levels, count, LANES == 8 ? levels : 1, x);
}

KRN_ALWAYS_INLINE void step_head(int levels, int count, int32_t from, int32_t to, const void *source,
                                 const uint8_t *signs, const sink *s, int64_t at) {
    lanes_f x[HELD];
    prefetch_ahead(s, at, count * LANES);
    load_head(levels, count, from, source, signs, at, x);
    put_lanes(to, s, at, count, x);
}

#include "hadamard/hadamard_overlapped_head.h"

/* Whether there are registers for overlapping. */
enum { HAS_32_REGISTERS = LANES == 16 };

/* Spans of 2^(LANE_LEVELS + levels) elements, levels <= HELD_LEVELS: as many at a time as HELD registers take. */
KRN_ALWAYS_INLINE void run_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                const sink *results, int64_t begin, int64_t end) {
    const int count = 1 << levels;
    /* A copy, which no store changes. */
    const sink place = *results, *s = &place;
    if (HAS_32_REGISTERS && levels == HELD_LEVELS) {
        run_overlapped_head(from, to, source, signs, s, begin, end);
        return;
    }
    int64_t at = begin;
    for (; at + HELD * LANES <= end; at += HELD * LANES)
        step_head(levels, HELD, from, to, source, signs, s, at);
    for (; levels < HELD_LEVELS && at < end; at += count * LANES)
        step_head(levels, count, from, to, source, signs, s, at);
}

/* Spans of twice HELD registers: the first half waits in memory for the second. */
KRN_ALWAYS_INLINE void run_double_head(int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                       const sink *s, int64_t begin, int64_t end) {
    _Alignas(64) float first[HELD * LANES];
    for (int64_t at = begin; at < end; at += 2 * HELD * LANES) {
        lanes_f x[HELD];
        prefetch_ahead(s, at, HELD * LANES);
        load_head(HELD_LEVELS, HELD, from, source, signs, at, x);
        KRN_UNROLL
        for (int r = 0; r < HELD; r++)
            store_f(first + r * LANES, x[r]);
        prefetch_ahead(s, at + HELD * LANES, HELD * LANES);
        load_head(HELD_LEVELS, HELD, from, source, signs, at + HELD * LANES, x);
        KRN_UNROLL
        for (int r = 0; r < HELD; r += 2) {
            lanes_f sums[2], differences[2];
            KRN_UNROLL
            for (int u = 0; u < 2; u++) {
                const lanes_f low = load_f(first + (r + u) * LANES);
                sums[u] = add_f(low, x[r + u]);
                differences[u] = sub_f(low, x[r + u]);
            }
            put_lanes(to, s, at + r * LANES, 2, sums);
            put_lanes(to, s, at + (HELD + r) * LANES, 2, differences);
        }
    }
}

/* Fewer levels than a register has: any number of lanes makes up the last register. */
KRN_ALWAYS_INLINE void run_short_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                      const sink *s, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += LANES) {
        const int64_t rest = end - at < LANES ? end - at : LANES;
        lanes_f x = rest < LANES ? load_rest(from, source, at, rest) : load_lanes(from, source, at);
        if (signs != NULL)
            x = negate_bits(x, bits_at(signs, at, rest));
        for (int level = 0; level < levels; level++)
            x = butterfly_lanes(level, x);
        if (rest < LANES)
            put_rest(to, s, at, rest, x);
        else
            put_lanes(to, s, at, 1, &x);
    }
}

/* Fewer levels than HEAD_LEVELS. */
KRN_ALWAYS_INLINE void run_low_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                    const sink *s, int64_t begin, int64_t end) {
    switch (levels - LANE_LEVELS) {
    case 0: run_head(0, from, to, source, signs, s, begin, end); break;
    case 1: run_head(1, from, to, source, signs, s, begin, end); break;
    case 2: run_head(2, from, to, source, signs, s, begin, end); break;
    case 3: run_head(3, from, to, source, signs, s, begin, end); break;
    default: run_short_head(levels, from, to, source, signs, s, begin, end); break;
    }
}

/* Elements begin .. end - 1. */
KRN_ALWAYS_INLINE void run_any_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                    const sink *s, int64_t begin, int64_t end) {
    if (levels > HEAD_LEVELS)
        run_double_head(from, to, source, signs, s, begin, end);
    else if (from == SPLIT_BF16 || levels == HEAD_LEVELS)
        run_head(HELD_LEVELS, from, to, source, signs, s, begin, end);
    else
        run_low_head(levels, from, to, source, signs, s, begin, end);
}

/* Levels 2^p .. 2^(p + levels - 1) of the row, levels <= HELD_LEVELS: over as many columns at a time as HELD registers
 * take, two at least of bf16 that is split. */
KRN_ALWAYS_INLINE void run_levels(int levels, int32_t to, int64_t stride, const float *row, const sink *results,
                                  int64_t n) {
    const int count = 1 << levels, fewest = to == SPLIT_BF16 ? 2 : 1;
    const int columns = HELD / count > fewest ? HELD / count : fewest;
    _Alignas(64) float evens[HELD * LANES];
    /* A copy, which no store changes. */
    const sink place = *results, *s = &place;
    int64_t done = 0;
    for (int64_t from = 0; from < n; from += stride * count) {
        for (int64_t at = from; at < from + stride; at += columns * LANES) {
            prefetch_ahead(s, done, columns * count * LANES);
            done += columns * count * LANES;
            KRN_UNROLL
            for (int column = 0; column < columns; column++) {
                lanes_f x[HELD];
                load_apart(count, row + at + column * LANES, stride, x);
                butterfly_registers(0, levels, count, HELD_LEVELS - 1, x);
                put_column(to, s, at, column, stride, count, x, evens);
            }
        }
    }
}

KRN_ALWAYS_INLINE void run_any_levels(int levels, int32_t to, int64_t stride, const float *row, const sink *s,
                                      int64_t n) {
    switch (levels) {
    case 1: run_levels(1, to, stride, row, s, n); break;
    case 2: run_levels(2, to, stride, row, s, n); break;
    case 3: run_levels(3, to, stride, row, s, n); break;
    default: run_levels(HELD_LEVELS, to, stride, row, s, n); break;
    }
}

#include "hadamard/hadamard_base_loops.h"

#include "hadamard/hadamard_blocks.h"

#endif
