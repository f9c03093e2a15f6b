/* The head of the Hadamard transform for 32 registers: part of hadamard_loops.h, in whose verbs it is written.
 *
 * Levels within registers take the pipes of products and shuffles, levels over registers those of additions. Sixteen
 * registers of both are more than a processor looks ahead: it would do the ones after the others. So a quarter of the next
 * sixteen goes together with pairs of registers that were loaded before (Zen 4, a register of n = 256: 7.5 to 7.0
 * cycles). */
#ifndef KRN_HADAMARD_OVERLAPPED_HEAD_H
#define KRN_HADAMARD_OVERLAPPED_HEAD_H

enum { QUARTER = 4, HALF = 8 };

/* Pair 0 .. 3 of levels 0 and 1 over a quarter. */
KRN_ALWAYS_INLINE void quarter_pair(int32_t from, int pair, lanes_f *x) {
    const int level = pair / 2;
    if (level >= first_level(from))
        butterfly_pair(level, 1, pair % 2, x);
}

/* Pair 0 .. 7 of those that go with quarter q of `x`: pairs of what of it there is, or of `last`, those before. */
KRN_ALWAYS_INLINE void overlap_pair(int q, int pair, int32_t from, lanes_f *x, lanes_f *last) {
    if (q == 0 && pair < 4)
        quarter_pair(from, pair, last + 3 * QUARTER);
    else if (q == 0)
        butterfly_pair(2, 1, pair - 4, last + HALF);
    else if (q == 1)
        butterfly_pair(3, 0, pair, last);
    else if (q == 2)
        quarter_pair(from, pair % 4, x + pair / 4 * QUARTER);
    else if (q == 3 && pair < 4)
        butterfly_pair(2, 1, pair, x);
    else if (q == 3)
        quarter_pair(from, pair - 4, x + 2 * QUARTER);
}

/* Quarters first .. end - 1: of the registers at element `at`, if `is_next`, and what is left of `last`, those before, if
 * `is_last`. */
KRN_ALWAYS_INLINE void overlap_quarters(int first, int end, int is_next, int is_last, int32_t from, int32_t to,
                                        const void *source, const uint8_t *signs, const sink *s, int64_t at, lanes_f *x,
                                        lanes_f *last) {
    KRN_UNROLL
    for (int q = first; q < end; q++) {
        const int begin_r = q * QUARTER, end_r = is_next ? begin_r + QUARTER : begin_r;
        load_registers(begin_r, end_r, from, source, signs, at, x);
        KRN_UNROLL
        for (int level = 0; level < LANE_LEVELS; level++) {
            const int pair = 2 * level;
            KRN_UNROLL
            for (int r = begin_r; r < end_r; r++)
                x[r] = butterfly_lanes(level, x[r]);
            if (q < 2 && !is_last)
                continue;
            overlap_pair(q, pair, from, x, last);
            overlap_pair(q, pair + 1, from, x, last);
            if (q == 1) {
                const int64_t done = at - HELD * LANES;
                put_lanes(to, s, done + pair * LANES, 2, last + pair);
                put_lanes(to, s, done + (HALF + pair) * LANES, 2, last + HALF + pair);
            }
        }
    }
}

/* All levels of every 2^HEAD_LEVELS of elements begin .. end - 1. */
KRN_ALWAYS_INLINE void run_overlapped_head(int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                           const sink *s, int64_t begin, int64_t end) {
    lanes_f x[HELD], last[HELD];
    prefetch_ahead(s, begin, HELD * LANES);
    overlap_quarters(0, 4, 1, 0, from, to, source, signs, s, begin, x, last);
    int64_t at = begin + HELD * LANES;
    for (; at < end; at += HELD * LANES) {
        KRN_UNROLL
        for (int r = 0; r < HELD; r++)
            last[r] = x[r];
        prefetch_ahead(s, at, HELD * LANES);
        overlap_quarters(0, 4, 1, 1, from, to, source, signs, s, at, x, last);
    }
    overlap_quarters(0, 2, 0, 1, from, to, source, signs, s, at, x, x);
}

#endif
