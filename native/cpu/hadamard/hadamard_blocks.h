/* The passes that a block goes through, and blocks behind each other: part of hadamard_loops.h, in whose verbs it is
 * written. */
#ifndef KRN_HADAMARD_BLOCKS_H
#define KRN_HADAMARD_BLOCKS_H

/* How many levels a pass takes of those that are left. */
static int levels_of_pass(int left) { return left < HELD_LEVELS ? left : HELD_LEVELS; }

/* All levels of the head: with one more than HEAD_LEVELS where that saves a pass. */
static int levels_of_head(int levels) {
    if (levels <= HEAD_LEVELS)
        return levels;
    return (levels - HEAD_LEVELS) % HELD_LEVELS == 1 ? HEAD_LEVELS + 1 : HEAD_LEVELS;
}

static int is_one_pass(const krn_hadamard_plan *plan) {
    return plan->num_bases == 0 && levels_of_head(plan->levels) == plan->levels;
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

/* The head of a block that takes more passes. */
KRN_ALWAYS_INLINE void start_of(const krn_hadamard_plan *plan, int32_t type, const void *source, krn_ahead ahead,
                                float *row) {
    const sink head = {.target = row, .ahead = ahead};
    run_any_head(levels_of_head(plan->levels), type, UNFINISHED, source, plan->signs_before, &head, plan->n);
}

static void start_f32(const krn_hadamard_plan *plan, const void *source, krn_ahead ahead, float *row) {
    start_of(plan, KRN_TYPE_F32, source, ahead, row);
}

static void start_f16(const krn_hadamard_plan *plan, const void *source, krn_ahead ahead, float *row) {
    start_of(plan, KRN_TYPE_F16, source, ahead, row);
}

static void start_bf16(const krn_hadamard_plan *plan, const void *source, krn_ahead ahead, float *row) {
    start_of(plan, KRN_TYPE_BF16, source, ahead, row);
}

static void start_split(const krn_hadamard_plan *plan, const void *source, krn_ahead ahead, float *row) {
    start_of(plan, SPLIT_BF16, source, ahead, row);
}

KRN_ALWAYS_INLINE void start_block(const krn_hadamard_plan *plan, int32_t type, const void *source, krn_ahead ahead,
                                   float *row) {
    switch (type) {
    case KRN_TYPE_F32: start_f32(plan, source, ahead, row); break;
    case KRN_TYPE_F16: start_f16(plan, source, ahead, row); break;
    case KRN_TYPE_BF16: start_bf16(plan, source, ahead, row); break;
    default: start_split(plan, source, ahead, row); break;
    }
}

/* A pass that is not the last one. */
static void run_middle_levels(int levels, int64_t stride, float *row, int64_t n) {
    const sink unfinished = {.target = row};
    run_any_levels(levels, UNFINISHED, stride, row, &unfinished, n);
}

static void run_middle_base(const krn_hadamard_base *base, int64_t stride, float *row, int64_t n) {
    const sink unfinished = {.target = row};
    run_base(UNFINISHED, base, stride, row, &unfinished, n);
}

/* The passes behind the head. */
KRN_ALWAYS_INLINE void finish_of(const krn_hadamard_plan *plan, int32_t to, const sink *final, float *row) {
    int level = levels_of_head(plan->levels);
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

static void finish_f32(const krn_hadamard_plan *plan, const sink *final, float *row) {
    finish_of(plan, KRN_TYPE_F32, final, row);
}

static void finish_streamed(const krn_hadamard_plan *plan, const sink *final, float *row) {
    finish_of(plan, STREAMED_F32, final, row);
}

static void finish_f16(const krn_hadamard_plan *plan, const sink *final, float *row) {
    finish_of(plan, KRN_TYPE_F16, final, row);
}

static void finish_bf16(const krn_hadamard_plan *plan, const sink *final, float *row) {
    finish_of(plan, KRN_TYPE_BF16, final, row);
}

static void finish_split(const krn_hadamard_plan *plan, const sink *final, float *row) {
    finish_of(plan, SPLIT_BF16, final, row);
}

KRN_ALWAYS_INLINE void finish_block(const krn_hadamard_plan *plan, int32_t to, const sink *final, float *row) {
    switch (to) {
    case KRN_TYPE_F32: finish_f32(plan, final, row); break;
    case STREAMED_F32: finish_streamed(plan, final, row); break;
    case KRN_TYPE_F16: finish_f16(plan, final, row); break;
    case KRN_TYPE_BF16: finish_bf16(plan, final, row); break;
    default: finish_split(plan, final, row); break;
    }
}

/* One block. `to` is the type, or STREAMED_F32; `ahead` is what the head brings near unless it is the last pass. */
KRN_ALWAYS_INLINE void run_block(const krn_hadamard_plan *plan, int32_t type, int32_t to, const void *source,
                                 const krn_ahead *ahead, const sink *final, float *row) {
    const int levels = levels_of_head(plan->levels);
    if (levels == plan->levels && plan->num_bases == 0) {
        run_any_head(levels, type, to, source, plan->signs_before, final, plan->n);
        return;
    }
    start_block(plan, type, source, *ahead, row);
    finish_block(plan, to, final, row);
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
    const int64_t size = size_of(type);
    if (is_one_pass(plan) && plan->signs_before == NULL && plan->signs_after == NULL) {
        const sink final = {.target = target, .scale = plan->scale, .ahead = *ahead};
        run_any_head(plan->levels, type, to, source, NULL, &final, blocks * plan->n);
        return;
    }
    for (int64_t b = 0; b < blocks; b++) {
        const char *from = (const char *)source + b * plan->n * size;
        sink final = {
            .target = (char *)target + b * plan->n * size,
            .scale = plan->scale,
            .signs = plan->signs_after,
            .ahead = share_of(plan, ahead, b * plan->n, plan->n, 1),
        };
        const krn_ahead first = share_of(plan, ahead, b * plan->n, plan->n, 0);
        if (to == STREAMED_F32 && is_streamed_whole(plan)) {
            float *place = final.target;
            final.target = scratch;
            run_block(plan, type, KRN_TYPE_F32, from, &first, &final, scratch);
            stream_row(place, scratch, plan->n);
            continue;
        }
        run_block(plan, type, to, from, &first, &final, to == KRN_TYPE_F32 ? final.target : scratch);
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

KRN_ALWAYS_INLINE void row_of(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source,
                              const krn_ahead *ahead, float *x) {
    const int levels = levels_of_head(plan->levels);
    if (is_one_pass(plan)) {
        const int is_signed = plan->signs_before != NULL || plan->signs_after != NULL;
        const int64_t n = is_signed ? plan->n : blocks * plan->n;
        for (int64_t at = 0; at < blocks * plan->n; at += n) {
            const sink final = {.target = x + at,
                                .scale = plan->scale,
                                .signs = plan->signs_after,
                                .ahead = krn_ahead_from(*ahead, at)};
            run_any_head(levels, type, KRN_TYPE_F32, (const char *)source + at * size_of(type), plan->signs_before,
                         &final, n);
        }
        return;
    }
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t at = b * plan->n;
        const sink final = {
            .target = x + at,
            .scale = plan->scale,
            .signs = plan->signs_after,
            .ahead = share_of(plan, ahead, at, plan->n, 1),
        };
        start_block(plan, type, (const char *)source + at * size_of(type), share_of(plan, ahead, at, plan->n, 0),
                    x + at);
        finish_f32(plan, &final, x + at);
    }
}

static void row(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, krn_ahead ahead,
                float *x) {
    switch (type) {
    case KRN_TYPE_F32: row_of(plan, KRN_TYPE_F32, blocks, source, &ahead, x); break;
    case KRN_TYPE_F16: row_of(plan, KRN_TYPE_F16, blocks, source, &ahead, x); break;
    default: row_of(plan, KRN_TYPE_BF16, blocks, source, &ahead, x); break;
    }
}

#endif
