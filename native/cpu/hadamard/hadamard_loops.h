/* The passes of the Hadamard transform, written in verbs and compiled once per instruction set by the file that includes
 * this header after it has defined the verbs:
 *
 *   lanes_f               LANES = 2^LANE_LEVELS floats
 *   HELD                  registers that a pass holds at a time, 2^HELD_LEVELS
 *   load_lanes            LANES elements of a type, widened
 *   load_rest             n < LANES of them
 *   store_lanes           f32 narrowed to a type
 *   store_rest            the first n lanes only
 *   butterfly_lanes       one level within a register: lane s becomes x[s] + x[s + h] where bit h of s is 0, else
 *                         x[s - h] - x[s]
 *   negate_lanes          the lanes negated whose bits are set in memory, from a whole byte on
 *   negate_bits           the same by a number
 *   add_f, load_f, ...    as in common/simd_*.h
 *
 * A block goes through the caches as few times as its levels allow:
 *
 *   head      reads the source; levels 1 .. 2^(LANE_LEVELS + HELD_LEVELS), the last one by way of memory
 *   levels    up to HELD_LEVELS levels over registers that lie 2^p floats apart
 *   bases     a base matrix over columns of registers
 *
 * The last pass of a block scales, negates, narrows and writes the target; the others leave f32 in a row on the way. In
 * every pass the order of additions is that of kernels/hadamard.h.
 *
 * `from` and `to`, types of elements, and numbers of levels are constants wherever these functions are called. */
#ifndef KRN_HADAMARD_LOOPS_H
#define KRN_HADAMARD_LOOPS_H

#include <string.h>

/* What `to` may be besides a type: f32 as it is, to be transformed further, and f32 past the caches. */
enum { UNFINISHED = -1, STREAMED_F32 = -2 };

enum { HEAD_LEVELS = LANE_LEVELS + HELD_LEVELS };

/* Where the results of a pass go. */
typedef struct {
    /* Elements of `to`; aligned to the register for STREAMED_F32. */
    void *target;
    float scale;
    const uint8_t *signs;
    /* What is read next, and the bytes of an element there; NULL where nothing is. */
    const char *ahead;
    int64_t ahead_size;
} sink;

KRN_ALWAYS_INLINE void prefetch_ahead(const sink *s, int64_t at, int64_t count) {
    if (s->ahead == NULL)
        return;
    for (int64_t line = 0; line < count * s->ahead_size; line += 64)
        KRN_PREFETCH(s->ahead + at * s->ahead_size + line);
}

/* Results of `count` registers, `step` elements apart. */
KRN_ALWAYS_INLINE void put_lanes(int32_t to, const sink *s, int64_t at, int64_t step, int count, lanes_f *x) {
    if (to != UNFINISHED) {
        const lanes_f scale = broadcast_f32(s->scale);
        KRN_UNROLL
        for (int r = 0; r < count; r++)
            x[r] = mul_f(x[r], scale);
        if (s->signs != NULL) {
            KRN_UNROLL
            for (int r = 0; r < count; r++)
                x[r] = negate_lanes(x[r], s->signs + (at + r * step) / 8);
        }
    }
    KRN_UNROLL
    for (int r = 0; r < count; r++) {
        if (to == STREAMED_F32)
            stream_f((float *)s->target + at + r * step, x[r]);
        else
            store_lanes(to == UNFINISHED ? KRN_TYPE_F32 : to, s->target, at + r * step, x[r]);
    }
}

/* Bits at..at + n - 1, n < 32, from bit 0 on. */
static uint32_t bits_at(const uint8_t *signs, int64_t at, int64_t n) {
    uint32_t bits = 0;
    for (int64_t i = 0; i < n; i++)
        bits |= (uint32_t)(signs[(at + i) / 8] >> ((at + i) % 8) & 1) << i;
    return bits;
}

/* Results of fewer than LANES elements. */
KRN_ALWAYS_INLINE void put_rest(int32_t to, const sink *s, int64_t at, int64_t n, lanes_f x) {
    if (to != UNFINISHED) {
        x = mul_f(x, broadcast_f32(s->scale));
        if (s->signs != NULL)
            x = negate_bits(x, bits_at(s->signs, at, n));
    }
    store_rest(to == UNFINISHED || to == STREAMED_F32 ? KRN_TYPE_F32 : to, s->target, at, n, x);
}

/* `levels` levels over 2^levels registers, in order. */
KRN_ALWAYS_INLINE void butterfly_registers(int levels, lanes_f *x) {
    KRN_UNROLL
    for (int level = 0; level < levels; level++) {
        const int h = 1 << level;
        KRN_UNROLL
        for (int pair = 0; pair < (1 << levels) / 2; pair++) {
            const int a = pair / h * 2 * h + pair % h;
            const lanes_f low = x[a], high = x[a + h];
            x[a] = add_f(low, high);
            x[a + h] = sub_f(low, high);
        }
    }
}

/* All levels of 2^levels registers that lie behind each other. */
KRN_ALWAYS_INLINE void load_head(int levels, int32_t from, const void *source, const uint8_t *signs, int64_t at,
                                 lanes_f *x) {
    const int count = 1 << levels;
    KRN_UNROLL
    for (int r = 0; r < count; r++)
        x[r] = load_lanes(from, source, at + r * LANES);
    if (signs != NULL) {
        KRN_UNROLL
        for (int r = 0; r < count; r++)
            x[r] = negate_lanes(x[r], signs + (at + r * LANES) / 8);
    }
    KRN_UNROLL
    for (int level = 0; level < LANE_LEVELS; level++) {
        KRN_UNROLL
        for (int r = 0; r < count; r++)
            x[r] = butterfly_lanes(level, x[r]);
    }
    butterfly_registers(levels, x);
}

/* Spans of 2^(LANE_LEVELS + levels) elements, levels <= HELD_LEVELS. */
KRN_ALWAYS_INLINE void run_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                const sink *s, int64_t n) {
    const int count = 1 << levels;
    for (int64_t at = 0; at < n; at += count * LANES) {
        lanes_f x[HELD];
        load_head(levels, from, source, signs, at, x);
        put_lanes(to, s, at, LANES, count, x);
    }
}

/* Spans of twice HELD registers: the first half waits in memory for the second. */
KRN_ALWAYS_INLINE void run_double_head(int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                       const sink *s, int64_t n) {
    _Alignas(64) float first[HELD * LANES];
    for (int64_t at = 0; at < n; at += 2 * HELD * LANES) {
        lanes_f x[HELD];
        load_head(HELD_LEVELS, from, source, signs, at, x);
        KRN_UNROLL
        for (int r = 0; r < HELD; r++)
            store_f(first + r * LANES, x[r]);
        load_head(HELD_LEVELS, from, source, signs, at + HELD * LANES, x);
        KRN_UNROLL
        for (int r = 0; r < HELD; r++) {
            const lanes_f low = load_f(first + r * LANES);
            lanes_f sum = add_f(low, x[r]), difference = sub_f(low, x[r]);
            put_lanes(to, s, at + r * LANES, 0, 1, &sum);
            put_lanes(to, s, at + (HELD + r) * LANES, 0, 1, &difference);
        }
    }
}

/* Fewer levels than a register has: any number of lanes makes up the last register. */
KRN_ALWAYS_INLINE void run_short_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                      const sink *s, int64_t n) {
    for (int64_t at = 0; at < n; at += LANES) {
        const int64_t rest = n - at < LANES ? n - at : LANES;
        lanes_f x = rest < LANES ? load_rest(from, source, at, rest) : load_lanes(from, source, at);
        if (signs != NULL)
            x = negate_bits(x, bits_at(signs, at, rest));
        for (int level = 0; level < levels; level++)
            x = butterfly_lanes(level, x);
        if (rest < LANES)
            put_rest(to, s, at, rest, x);
        else
            put_lanes(to, s, at, 0, 1, &x);
    }
}

KRN_ALWAYS_INLINE void run_any_head(int levels, int32_t from, int32_t to, const void *source, const uint8_t *signs,
                                    const sink *s, int64_t n) {
    switch (levels - LANE_LEVELS) {
    case 0: run_head(0, from, to, source, signs, s, n); break;
    case 1: run_head(1, from, to, source, signs, s, n); break;
    case 2: run_head(2, from, to, source, signs, s, n); break;
    case 3: run_head(3, from, to, source, signs, s, n); break;
    case HELD_LEVELS + 1: run_double_head(from, to, source, signs, s, n); break;
    default:
        if (levels < LANE_LEVELS)
            run_short_head(levels, from, to, source, signs, s, n);
        else
            run_head(HELD_LEVELS, from, to, source, signs, s, n);
    }
}

/* Levels 2^p .. 2^(p + levels - 1) of the row, levels <= HELD_LEVELS. */
KRN_ALWAYS_INLINE void run_levels(int levels, int32_t to, int64_t stride, const float *row, const sink *s, int64_t n) {
    const int count = 1 << levels;
    int64_t done = 0;
    for (int64_t from = 0; from < n; from += stride * count) {
        for (int64_t at = from; at < from + stride; at += LANES, done += count * LANES) {
            lanes_f x[HELD];
            prefetch_ahead(s, done, count * LANES);
            KRN_UNROLL
            for (int r = 0; r < count; r++)
                x[r] = load_f(row + at + r * stride);
            butterfly_registers(levels, x);
            put_lanes(to, s, at, stride, count, x);
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

/* Bases. A sum of order / 4 terms, each one of 16 signed sums of four elements, which a table holds:
 *
 *   table[q][signs of the four][COLUMNS registers]      for TERMS terms at a time
 *
 * With more terms the sums wait in memory. */
enum { COLUMNS = 2, ENTRY = COLUMNS * LANES, TERMS = 8 };

typedef struct {
    _Alignas(64) float table[TERMS * 16 * ENTRY];
    _Alignas(64) float sums[KRN_HADAMARD_MAX_ORDER * ENTRY];
} base_space;

KRN_ALWAYS_INLINE lanes_f load_part(const float *x, int64_t n) {
    return n < LANES ? load_rest(KRN_TYPE_F32, x, 0, n) : load_f(x);
}

/* The 16 sums of x[0], x[stride], x[2 stride] and x[3 stride] in the first n lanes, n <= LANES. */
KRN_ALWAYS_INLINE void fill_terms(const float *x, int64_t stride, int64_t n, float *table) {
    const lanes_f a = load_part(x, n), b = load_part(x + stride, n);
    const lanes_f c = load_part(x + 2 * stride, n), d = load_part(x + 3 * stride, n);
    const lanes_f low[2] = {add_f(a, b), sub_f(a, b)}, high[2] = {add_f(c, d), sub_f(c, d)};
    KRN_UNROLL
    for (int signs = 0; signs < 16; signs += 2) {
        /* Bit i is the sign of element i, here with that of element 0 positive. */
        const int g1 = signs >> 1 & 1, g2 = signs >> 2 & 1, g3 = signs >> 3 & 1;
        const lanes_f sum = g2 ? sub_f(low[g1], high[g2 ^ g3]) : add_f(low[g1], high[g2 ^ g3]);
        store_f(table + signs * ENTRY, sum);
        store_f(table + (15 - signs) * ENTRY, negate_f(sum));
    }
}

/* Adds `terms` terms to the sums of every row, in the first `width` registers. */
KRN_ALWAYS_INLINE void add_terms(int terms, int width, int is_first, int is_last, int32_t to, base_space *space,
                                 const krn_hadamard_base *base, int64_t first, int64_t stride, const sink *s,
                                 int64_t at, int64_t n) {
    const int64_t row_terms = base->order / 4;
    for (int32_t i = 0; i < base->order; i++) {
        const uint8_t *signs = base->signs + i * row_terms + first;
        float *sums = space->sums + i * ENTRY;
        lanes_f x[COLUMNS];
        KRN_UNROLL
        for (int c = 0; c < width; c++) {
            const lanes_f term = load_f(space->table + signs[0] * (ENTRY / 16) + c * LANES);
            x[c] = is_first ? term : add_f(load_f(sums + c * LANES), term);
        }
        KRN_UNROLL
        for (int q = 1; q < terms; q++) {
            KRN_UNROLL
            for (int c = 0; c < width; c++)
                x[c] = add_f(x[c], load_f(space->table + q * 16 * ENTRY + signs[q] * (ENTRY / 16) + c * LANES));
        }
        if (!is_last) {
            KRN_UNROLL
            for (int c = 0; c < width; c++)
                store_f(sums + c * LANES, x[c]);
        } else if (n < LANES) {
            put_rest(to, s, at + i * stride, n, x[0]);
        } else {
            put_lanes(to, s, at + i * stride, LANES, width, x);
        }
    }
}

KRN_ALWAYS_INLINE void add_any_terms(int64_t terms, int width, int is_first, int is_last, int32_t to,
                                     base_space *space, const krn_hadamard_base *base, int64_t first, int64_t stride,
                                     const sink *s, int64_t at, int64_t n) {
    switch (terms) {
    case 3: add_terms(3, width, is_first, is_last, to, space, base, first, stride, s, at, n); break;
    case 4: add_terms(4, width, is_first, is_last, to, space, base, first, stride, s, at, n); break;
    case 5: add_terms(5, width, is_first, is_last, to, space, base, first, stride, s, at, n); break;
    case 6: add_terms(6, width, is_first, is_last, to, space, base, first, stride, s, at, n); break;
    case 7: add_terms(7, width, is_first, is_last, to, space, base, first, stride, s, at, n); break;
    default: add_terms(8, width, is_first, is_last, to, space, base, first, stride, s, at, n); break;
    }
}

/* One base over `width` registers of columns, or one of n < LANES of them, at row[at]. */
KRN_ALWAYS_INLINE void run_columns(int width, int32_t to, base_space *space, const krn_hadamard_base *base,
                                   int64_t stride, const float *row, const sink *s, int64_t at, int64_t n) {
    const int64_t row_terms = base->order / 4;
    const int64_t chunks = (row_terms + TERMS - 1) / TERMS;
    int64_t first = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        /* Evenly: the remaining terms over the remaining chunks, so that each has at least 4. */
        const int64_t terms = (row_terms - first + chunks - chunk - 1) / (chunks - chunk);
        for (int64_t q = 0; q < terms; q++)
            for (int c = 0; c < width; c++)
                fill_terms(row + at + 4 * (first + q) * stride + c * LANES, stride, n,
                           space->table + q * 16 * ENTRY + c * LANES);
        if (chunks == 1)
            add_any_terms(terms, width, 1, 1, to, space, base, first, stride, s, at, n);
        else if (chunk == 0)
            add_any_terms(terms, width, 1, 0, to, space, base, first, stride, s, at, n);
        else if (chunk < chunks - 1)
            add_any_terms(terms, width, 0, 0, to, space, base, first, stride, s, at, n);
        else
            add_any_terms(terms, width, 0, 1, to, space, base, first, stride, s, at, n);
        first += terms;
    }
}

static void run_base(int32_t to, const krn_hadamard_base *base, int64_t stride, const float *row, const sink *s,
                     int64_t n) {
    base_space space;
    const int64_t span = stride * base->order;
    int64_t done = 0;
    for (int64_t from = 0; from < n; from += span) {
        int64_t at = from;
        for (; at + ENTRY <= from + stride; at += ENTRY) {
            prefetch_ahead(s, done, base->order * ENTRY);
            done += base->order * ENTRY;
            run_columns(COLUMNS, to, &space, base, stride, row, s, at, LANES);
        }
        for (; at < from + stride; at += LANES) {
            const int64_t left = from + stride - at;
            run_columns(1, to, &space, base, stride, row, s, at, left < LANES ? left : LANES);
        }
    }
}

/* How many levels a pass takes of those that are left. */
static int levels_of_pass(int left) { return left < HELD_LEVELS ? left : HELD_LEVELS; }

/* All levels of the head: with one more than HEAD_LEVELS where that saves a pass. */
static int levels_of_head(int levels) {
    if (levels <= HEAD_LEVELS)
        return levels;
    return (levels - HEAD_LEVELS) % HELD_LEVELS == 1 ? HEAD_LEVELS + 1 : HEAD_LEVELS;
}

/* One block. `to` is the type, or STREAMED_F32. */
KRN_ALWAYS_INLINE void run_block(const krn_hadamard_plan *plan, int32_t type, int32_t to, const void *source,
                                 const sink *final, float *row) {
    const sink unfinished = {.target = row};
    int level = levels_of_head(plan->levels);
    if (level == plan->levels && plan->num_bases == 0) {
        run_any_head(level, type, to, source, plan->signs_before, final, plan->n);
        return;
    }
    run_any_head(level, type, UNFINISHED, source, plan->signs_before, &unfinished, plan->n);
    while (level < plan->levels) {
        const int levels = levels_of_pass(plan->levels - level);
        const int64_t stride = (int64_t)1 << level;
        level += levels;
        if (level == plan->levels && plan->num_bases == 0)
            run_any_levels(levels, to, stride, row, final, plan->n);
        else
            run_any_levels(levels, UNFINISHED, stride, row, &unfinished, plan->n);
    }
    int64_t stride = (int64_t)1 << plan->levels;
    for (int32_t b = 0; b < plan->num_bases; b++) {
        if (b == plan->num_bases - 1)
            run_base(to, &plan->bases[b], stride, row, final, plan->n);
        else
            run_base(UNFINISHED, &plan->bases[b], stride, row, &unfinished, plan->n);
        stride *= plan->bases[b].order;
    }
}

/* Consecutive blocks. f32 that stays in the caches needs no other row on the way than the target. */
KRN_ALWAYS_INLINE void run_blocks(const krn_hadamard_plan *plan, int32_t type, int32_t to, int64_t blocks,
                                  const void *source, void *target, float *scratch, int64_t ahead_bytes) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    for (int64_t b = 0; b < blocks; b++) {
        const char *from = (const char *)source + b * plan->n * size;
        const sink final = {
            .target = (char *)target + b * plan->n * size,
            .scale = plan->scale,
            .signs = plan->signs_after,
            .ahead = ahead_bytes == 0 ? NULL : from + ahead_bytes,
            .ahead_size = size,
        };
        run_block(plan, type, to, from, &final, to == KRN_TYPE_F32 ? final.target : scratch);
    }
}

static void run(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, void *target,
                float *scratch, krn_hadamard_hints hints) {
    const int is_aligned = ((uintptr_t)target | (uintptr_t)plan->n * sizeof(float)) % (LANES * sizeof(float)) == 0;
    if (type == KRN_TYPE_F32 && hints.stream && is_aligned && plan->levels >= LANE_LEVELS)
        run_blocks(plan, KRN_TYPE_F32, STREAMED_F32, blocks, source, target, scratch, hints.ahead_bytes);
    else if (type == KRN_TYPE_F32)
        run_blocks(plan, KRN_TYPE_F32, KRN_TYPE_F32, blocks, source, target, scratch, hints.ahead_bytes);
    else if (type == KRN_TYPE_F16)
        run_blocks(plan, KRN_TYPE_F16, KRN_TYPE_F16, blocks, source, target, scratch, hints.ahead_bytes);
    else
        run_blocks(plan, KRN_TYPE_BF16, KRN_TYPE_BF16, blocks, source, target, scratch, hints.ahead_bytes);
}

static void row(const krn_hadamard_plan *plan, int64_t blocks, float *x) {
    run_blocks(plan, KRN_TYPE_F32, KRN_TYPE_F32, blocks, x, x, NULL, 0);
}

#endif
