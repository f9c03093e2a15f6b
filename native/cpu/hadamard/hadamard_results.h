/* Where passes of the Hadamard transform put results, and what they bring near meanwhile: part of hadamard_loops.h, in
 * whose verbs it is written. */
#ifndef KRN_HADAMARD_RESULTS_H
#define KRN_HADAMARD_RESULTS_H

/* Where the results of a pass go. */
typedef struct {
    /* Elements of `to`; aligned to the register for STREAMED_F32. */
    void *target;
    float scale;
    const uint8_t *signs;
    /* This pass's share of what is read next. */
    krn_ahead ahead;
} sink;

/* Lines first .. end - 1, which are constants: loops whose length is known only at run time are slower. */
KRN_ALWAYS_INLINE void prefetch_lines(int is_outer, const char *from, int64_t first, int64_t end) {
    KRN_UNROLL
    for (int64_t line = first; line < end; line++) {
        if (is_outer)
            KRN_PREFETCH_OUTER(from + 64 * line);
        else
            KRN_PREFETCH(from + 64 * line);
    }
}

/* The head and the last pass of a block fetch a share each of what comes after it, spread over all of their steps: memory
 * works while they compute. There are 1, 2 or 4 lines for 64 elements; `count` is a power of two below 64 or a multiple
 * of 64. */
KRN_ALWAYS_INLINE void prefetch_stream_to(int is_outer, const sink *s, int stream, int64_t at, int64_t count) {
    const int64_t lines = s->ahead.bytes_per_64 / 64, blocks = count < 64 ? 1 : count / 64;
    const char *from = s->ahead.stream[stream] + at * lines;
    if (count < 64 && at % 64 != 0)
        return;
    prefetch_lines(is_outer, from, 0, blocks);
    if (lines > 1)
        prefetch_lines(is_outer, from, blocks, 2 * blocks);
    if (lines > 2)
        prefetch_lines(is_outer, from, 2 * blocks, 4 * blocks);
}

KRN_ALWAYS_INLINE void prefetch_stream(const sink *s, int stream, int64_t at, int64_t count) {
    if (krn_is_outer(&s->ahead))
        prefetch_stream_to(1, s, stream, at, count);
    else
        prefetch_stream_to(0, s, stream, at, count);
}

KRN_ALWAYS_INLINE void prefetch_ahead(const sink *s, int64_t at, int64_t count) {
    if (s->ahead.streams > 0)
        prefetch_stream(s, 0, at, count);
    if (s->ahead.streams > 1)
        prefetch_stream(s, 1, at, count);
}

/* Whether the head brings near all of what is ahead. On the way to the second level it does so before bases of many rows:
 * these go through a row in few steps, each of which would ask for many lines at a time, and bursts of prefetches wait for
 * each other (Zen 4, 16 lanes: n = 14336 24% less time, 11008 5%; n = 5120 2% more, so not there). */
KRN_ALWAYS_INLINE int head_fetches_all(const krn_hadamard_plan *plan, const krn_ahead *ahead) {
    enum { MANY_ROWS = 28 };
    return krn_is_outer(ahead) && plan->num_bases > 0 && plan->bases[plan->num_bases - 1].order >= MANY_ROWS;
}

/* The share of the head, or of the last pass, in what `elements` elements from number `first` on bring near: whole lines
 * of all streams, or a stream each where there is one line of two. */
KRN_ALWAYS_INLINE krn_ahead share_of(const krn_hadamard_plan *plan, const krn_ahead *ahead, int64_t first,
                                     int64_t elements, int is_last) {
    if (ahead->streams == 0)
        return (krn_ahead){0};
    const int is_whole = head_fetches_all(plan, ahead);
    const int64_t lines = ahead->bytes_per_64 / 64, of_last = is_whole ? 0 : lines / 2, of_head = lines - of_last;
    krn_ahead share = *ahead;
    share.bytes_per_64 = 64 * (is_last ? of_last : of_head);
    const int64_t skipped = first * lines + (is_last ? elements * of_head : 0);
    for (int32_t s = 0; s < KRN_AHEAD_STREAMS; s++)
        share.stream[s] = s < ahead->streams ? ahead->stream[s] + skipped : NULL;
    if (lines == 1 && ahead->streams == 2 && !is_whole) {
        share.streams = 1;
        share.bytes_per_64 = 64;
        share.stream[0] = ahead->stream[is_last] + first;
    } else if (share.bytes_per_64 == 0) {
        share.streams = 0;
    }
    return share;
}

KRN_ALWAYS_INLINE lanes_i rounded_split(const sink *s, lanes_f x) {
    return round_bf16(mul_f(x, broadcast_f32(s->scale)));
}

KRN_ALWAYS_INLINE void put_split(const sink *s, int64_t at, lanes_i even, lanes_i odd) {
    store_split((uint16_t *)s->target + at, s->signs == NULL ? NULL : s->signs + (uint64_t)at / 8, even, odd);
}

/* Scaled and negated, unless the row is unfinished: `count` registers, `step` elements apart. */
KRN_ALWAYS_INLINE void finish_lanes(int32_t to, const sink *s, int64_t at, int64_t step, int count, lanes_f *x) {
    if (to == UNFINISHED)
        return;
    const lanes_f scale = broadcast_f32(s->scale);
    KRN_UNROLL
    for (int r = 0; r < count; r++)
        x[r] = mul_f(x[r], scale);
    if (s->signs != NULL) {
        const uint8_t *signs = s->signs + (uint64_t)at / 8;
        KRN_UNROLL
        for (int r = 0; r < count; r++)
            x[r] = negate_lanes(x[r], signs + r * (step / 8));
    }
}

KRN_ALWAYS_INLINE void put_register(int32_t to, char *target, int64_t at, lanes_f x) {
    if (to == STREAMED_F32)
        stream_f((float *)(void *)target + at, x);
    else
        store_lanes(to == UNFINISHED ? KRN_TYPE_F32 : to, target, at, x);
}

/* Results of `count` registers behind each other. */
KRN_ALWAYS_INLINE void put_lanes(int32_t to, const sink *s, int64_t at, int count, lanes_f *x) {
    if (to == SPLIT_BF16) {
        KRN_UNROLL
        for (int r = 0; r + 1 < count; r += 2)
            put_split(s, at + r * LANES, lower_half(rounded_split(s, x[r])), rounded_split(s, x[r + 1]));
        return;
    }
    finish_lanes(to, s, at, LANES, count, x);
    char *target = (char *)s->target + at * size_of(to);
    KRN_UNROLL
    for (int r = 0; r < count; r++)
        put_register(to, target, r * LANES, x[r]);
}

/* Registers far apart are reached from every fourth of them, and loaded once: compilers otherwise load them again for each
 * of their uses. */
enum { NEIGHBOURS = 4 };

KRN_ALWAYS_INLINE void load_apart(int count, const float *from, int64_t step, lanes_f *x) {
    KRN_UNROLL
    for (int r = 0; r < count; r++) {
        if (r > 0 && r % NEIGHBOURS == 0) {
            from += NEIGHBOURS * step;
            KRN_OPAQUE(from);
        }
        x[r] = in_turn(load_f(from + r % NEIGHBOURS * step));
    }
}

KRN_ALWAYS_INLINE void put_apart(int32_t to, const sink *s, int64_t at, int64_t step, int count, lanes_f *x) {
    finish_lanes(to, s, at, step, count, x);
    char *target = (char *)s->target + at * size_of(to);
    KRN_UNROLL
    for (int r = 0; r < count; r++) {
        if (r > 0 && r % NEIGHBOURS == 0) {
            target += NEIGHBOURS * step * size_of(to);
            KRN_OPAQUE(target);
        }
        put_register(to, target, r % NEIGHBOURS * step, x[r]);
    }
}

/* Column number `column` of registers `step` elements apart, of columns that come one after the other. With SPLIT_BF16
 * the even ones wait in `evens`, LANES floats for each register. */
KRN_ALWAYS_INLINE void put_column(int32_t to, const sink *s, int64_t at, int column, int64_t step, int count,
                                  lanes_f *x, float *evens) {
    if (to != SPLIT_BF16) {
        put_apart(to, s, at + column * LANES, step, count, x);
        return;
    }
    if (column % 2 == 0) {
        KRN_UNROLL
        for (int r = 0; r < count; r++)
            store_i(evens + r * LANES, lower_half(rounded_split(s, x[r])));
    } else {
        KRN_UNROLL
        for (int r = 0; r < count; r++)
            put_split(s, at + (column - 1) * LANES + r * step, load_i(evens + r * LANES), rounded_split(s, x[r]));
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

#endif
