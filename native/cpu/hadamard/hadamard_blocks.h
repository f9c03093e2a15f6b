/* The passes that a block goes through, and blocks behind each other: part of hadamard_loops.h, in whose verbs it is
 * written. */
#ifndef KRN_HADAMARD_BLOCKS_H
#define KRN_HADAMARD_BLOCKS_H

/* How many levels a pass takes of those that are left. */
static int levels_of_pass(int left) { return left < HELD_LEVELS ? left : HELD_LEVELS; }

/* All levels of the head: with one more than HEAD_LEVELS where that saves a pass. With 16 lanes a pass of a piece costs less
 * (Zen 4, n = 8192: 6% less time). */
static int levels_of_head(int levels) {
    if (levels <= HEAD_LEVELS)
        return levels;
    const int left = levels - HEAD_LEVELS;
    return left == 1 || (LANES == 8 && left % HELD_LEVELS == 1) ? HEAD_LEVELS + 1 : HEAD_LEVELS;
}

static int is_one_pass(const krn_hadamard_plan *plan) {
    return plan->num_bases == 0 && levels_of_head(plan->levels) == plan->levels;
}

enum { PIECE_LEVELS = 12, PIECE = 1 << PIECE_LEVELS };

/* A plan, and how its levels are split into passes. A row goes through some of them piece by piece, each of which stays in
 * the first-level cache for all of them: the head, and passes that are not the last one. */
typedef struct {
    const krn_hadamard_plan *plan;
    int head_levels, piece_levels;
} route;

static route route_of(const krn_hadamard_plan *plan) {
    const int head = levels_of_head(plan->levels);
    int level = head;
    while (level < plan->levels) {
        const int left = plan->levels - level, levels = levels_of_pass(left);
        if (level + levels > PIECE_LEVELS || (plan->num_bases == 0 && left == levels))
            break;
        level += levels;
    }
    return (route){.plan = plan, .head_levels = head, .piece_levels = level};
}

/* Whether bf16 is split. With 16 lanes a pass directly behind the head writes whole lines far apart in bursts, for which
 * memory takes longer: 5 to 28% at 4096. */
static int is_split(const krn_hadamard_plan *plan) {
    const int left = plan->levels - levels_of_head(plan->levels);
    const int more_passes = (left + HELD_LEVELS - 1) / HELD_LEVELS + plan->num_bases;
    return plan->levels >= HEAD_LEVELS && (LANES == 8 || more_passes != 1);
}

/* The passes of longer blocks are functions, and not made again for every kind of block: they take much longer than a
 * call, and half of the time to compile. */

/* A pass that is not the last one. */
static void run_middle_levels(int levels, int64_t stride, float *row, int64_t n) {
    const sink unfinished = {.target = row};
    run_any_levels(levels, UNFINISHED, stride, row, &unfinished, n);
}

static void run_middle_base(const krn_hadamard_base *base, int64_t stride, float *row, int64_t n) {
    const sink unfinished = {.target = row};
    run_base(UNFINISHED, base, stride, row, &unfinished, n);
}

/* All passes of pieces of a block that takes more. */
KRN_ALWAYS_INLINE void start_of(const route *way, int32_t type, const void *source, krn_ahead ahead, float *row) {
    const krn_hadamard_plan *plan = way->plan;
    const sink head = {.target = row, .ahead = ahead};
    const int levels = way->head_levels, end = way->piece_levels;
    for (int64_t at = 0; at < plan->n;) {
        const int64_t left = plan->n - at, piece = end > levels && left > PIECE ? PIECE : left;
        run_any_head(levels, type, UNFINISHED, source, plan->signs_before, &head, at, at + piece);
        for (int level = levels; level < end; level += levels_of_pass(plan->levels - level))
            run_middle_levels(levels_of_pass(plan->levels - level), (int64_t)1 << level, row + at, piece);
        at += piece;
    }
}

static void start_f32(const route *way, const void *source, krn_ahead ahead, float *row) {
    start_of(way, KRN_TYPE_F32, source, ahead, row);
}

static void start_f16(const route *way, const void *source, krn_ahead ahead, float *row) {
    start_of(way, KRN_TYPE_F16, source, ahead, row);
}

static void start_bf16(const route *way, const void *source, krn_ahead ahead, float *row) {
    start_of(way, KRN_TYPE_BF16, source, ahead, row);
}

static void start_split(const route *way, const void *source, krn_ahead ahead, float *row) {
    start_of(way, SPLIT_BF16, source, ahead, row);
}

KRN_ALWAYS_INLINE void start_block(const route *way, int32_t type, const void *source, krn_ahead ahead, float *row) {
    switch (type) {
    case KRN_TYPE_F32: start_f32(way, source, ahead, row); break;
    case KRN_TYPE_F16: start_f16(way, source, ahead, row); break;
    case KRN_TYPE_BF16: start_bf16(way, source, ahead, row); break;
    default: start_split(way, source, ahead, row); break;
    }
}

/* The passes behind those of pieces. */
KRN_ALWAYS_INLINE void finish_of(const route *way, int32_t to, const sink *final, float *row) {
    const krn_hadamard_plan *plan = way->plan;
    int level = way->piece_levels;
    while (level < plan->levels) {
        const int left = plan->levels - level, levels = levels_of_pass(left);
        if (plan->num_bases == 0 && left == levels)
            run_any_levels(levels, to, (int64_t)1 << level, row, final, plan->n);
        else
            run_middle_levels(levels, (int64_t)1 << level, row, plan->n);
        level += levels;
    }
    int64_t stride = (int64_t)1 << plan->levels;
    for (int32_t b = 0; b < plan->num_bases; b++) {
        if (b == plan->num_bases - 1)
            run_base(to, &plan->bases[b], stride, row, final, plan->n);
        else
            run_middle_base(&plan->bases[b], stride, row, plan->n);
        stride *= plan->bases[b].order;
    }
}

static void finish_f32(const route *way, const sink *final, float *row) { finish_of(way, KRN_TYPE_F32, final, row); }

static void finish_streamed(const route *way, const sink *final, float *row) {
    finish_of(way, STREAMED_F32, final, row);
}

static void finish_f16(const route *way, const sink *final, float *row) { finish_of(way, KRN_TYPE_F16, final, row); }

static void finish_bf16(const route *way, const sink *final, float *row) { finish_of(way, KRN_TYPE_BF16, final, row); }

static void finish_split(const route *way, const sink *final, float *row) { finish_of(way, SPLIT_BF16, final, row); }

KRN_ALWAYS_INLINE void finish_block(const route *way, int32_t to, const sink *final, float *row) {
    switch (to) {
    case KRN_TYPE_F32: finish_f32(way, final, row); break;
    case STREAMED_F32: finish_streamed(way, final, row); break;
    case KRN_TYPE_F16: finish_f16(way, final, row); break;
    case KRN_TYPE_BF16: finish_bf16(way, final, row); break;
    default: finish_split(way, final, row); break;
    }
}

/* Blocks that take one pass, as one unless they are signed. With 8 lanes these have a loop of their own: in one for both
 * the others took 5 to 20% more time (AVX2, n = 128 to 32). */
KRN_ALWAYS_INLINE void one_pass_of(const krn_hadamard_plan *plan, int32_t type, int32_t to, int64_t blocks,
                                   const void *source, void *target, const krn_ahead *ahead) {
    const int is_signed = plan->signs_before != NULL || plan->signs_after != NULL;
    const int64_t all = blocks * plan->n, n = is_signed ? plan->n : all;
    if (LANES == 8 && !is_signed) {
        const sink final = {.target = target, .scale = plan->scale, .ahead = *ahead};
        run_any_head(plan->levels, type, to, source, NULL, &final, 0, all);
        return;
    }
    for (int64_t at = 0; at < all; at += n) {
        const sink final = {
            .target = (char *)target + at * size_of(to),
            .scale = plan->scale,
            .signs = plan->signs_after,
            .ahead = krn_ahead_from(*ahead, at),
        };
        run_any_head(plan->levels, type, to, (const char *)source + at * size_of(type), plan->signs_before, &final, 0,
                     n);
    }
}

static void one_pass_f32(const krn_hadamard_plan *plan, int64_t blocks, const void *source, void *target,
                         const krn_ahead *ahead) {
    one_pass_of(plan, KRN_TYPE_F32, KRN_TYPE_F32, blocks, source, target, ahead);
}

KRN_ALWAYS_INLINE void run_one_pass(const krn_hadamard_plan *plan, int32_t type, int32_t to, int64_t blocks,
                                    const void *source, void *target, const krn_ahead *ahead) {
    if (type == KRN_TYPE_F32 && to == KRN_TYPE_F32)
        one_pass_f32(plan, blocks, source, target, ahead);
    else
        one_pass_of(plan, type, to, blocks, source, target, ahead);
}

/* Whether a row of f32 is made as a whole before it goes past the caches. With 8 lanes the last pass would write halves of
 * lines far apart (Zen 4, out of place: n = 5120 less than half the time, 14336 35% less, 4096 and 8192 20%; with 16 lanes
 * 14336 takes 10% more). */
static int is_streamed_whole(const krn_hadamard_plan *plan) { return LANES == 8 && !is_one_pass(plan); }

static void stream_row(float *target, const float *row, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES)
        stream_f(target + i, load_f(row + i));
}

/* Consecutive blocks. f32 that stays in the caches needs no other row on the way than the target. */
KRN_ALWAYS_INLINE void run_blocks(const krn_hadamard_plan *plan, int32_t type, int32_t to, int64_t blocks,
                                  const void *source, void *target, float *scratch, const krn_ahead *ahead) {
    if (is_one_pass(plan)) {
        run_one_pass(plan, type, to, blocks, source, target, ahead);
        return;
    }
    const route way = route_of(plan);
    for (int64_t at = 0; at < blocks * plan->n; at += plan->n) {
        char *place = (char *)target + at * size_of(to);
        float *row = to == KRN_TYPE_F32 ? (float *)(void *)place : scratch;
        const int is_whole = to == STREAMED_F32 && is_streamed_whole(plan);
        const sink final = {
            .target = is_whole ? (void *)row : place,
            .scale = plan->scale,
            .signs = plan->signs_after,
            .ahead = share_of(plan, ahead, at, plan->n, 1),
        };
        start_block(&way, type, (const char *)source + at * size_of(type), share_of(plan, ahead, at, plan->n, 0), row);
        finish_block(&way, is_whole ? KRN_TYPE_F32 : to, &final, row);
        if (is_whole)
            stream_row((float *)(void *)place, row, plan->n);
    }
}

/* With the distance of what is read next a constant of the type, for which prefetches are laid out. */
KRN_ALWAYS_INLINE void run_matrix(const krn_hadamard_plan *plan, int32_t type, int32_t to, int64_t blocks,
                                  const void *source, void *target, float *scratch, krn_ahead ahead) {
    ahead.bytes_per_64 = 64 * size_of(type);
    run_blocks(plan, type, to, blocks, source, target, scratch, &ahead);
}

/* Small blocks behind each other are over before memory answers (f32 in place, 8 lanes, n = 256: 1.4 to 1.1 times the time
 * of 16 lanes; 16 lanes, n = 1024 and 2048: 11% less time). */
enum { LEAST_AHEAD_BYTES = 16384 };

static void run(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, void *target,
                float *scratch, krn_hadamard_hints hints) {
    const int is_aligned = ((uintptr_t)target | (uintptr_t)plan->n * sizeof(float)) % (LANES * sizeof(float)) == 0;
    const int32_t is_ahead = hints.ahead_bytes != 0 && !is_one_pass(plan);
    const int64_t block_bytes = plan->n * size_of(type);
    int64_t ahead_bytes = hints.ahead_bytes;
    while (hints.ahead_bytes == block_bytes && ahead_bytes < LEAST_AHEAD_BYTES)
        ahead_bytes += block_bytes;
    const krn_ahead ahead = {
        .streams = is_ahead, .is_outer = hints.is_outer, .stream = {(const char *)source + ahead_bytes}};
    if (type == KRN_TYPE_F32 && hints.stream && is_aligned && plan->levels >= LANE_LEVELS)
        run_matrix(plan, KRN_TYPE_F32, STREAMED_F32, blocks, source, target, scratch, ahead);
    else if (type == KRN_TYPE_F32)
        run_matrix(plan, KRN_TYPE_F32, KRN_TYPE_F32, blocks, source, target, scratch, ahead);
    else if (type == KRN_TYPE_F16)
        run_matrix(plan, KRN_TYPE_F16, KRN_TYPE_F16, blocks, source, target, scratch, ahead);
    else if (is_split(plan))
        run_matrix(plan, SPLIT_BF16, SPLIT_BF16, blocks, source, target, scratch, ahead);
    else
        run_matrix(plan, KRN_TYPE_BF16, KRN_TYPE_BF16, blocks, source, target, scratch, ahead);
}

static void row(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, krn_ahead ahead,
                float *x) {
    switch (type) {
    case KRN_TYPE_F32: run_blocks(plan, KRN_TYPE_F32, KRN_TYPE_F32, blocks, source, x, NULL, &ahead); break;
    case KRN_TYPE_F16: run_blocks(plan, KRN_TYPE_F16, KRN_TYPE_F32, blocks, source, x, NULL, &ahead); break;
    default: run_blocks(plan, KRN_TYPE_BF16, KRN_TYPE_F32, blocks, source, x, NULL, &ahead); break;
    }
}

#endif
