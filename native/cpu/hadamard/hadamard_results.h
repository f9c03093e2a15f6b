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
    /* This pass's half of what is read next. */
    krn_ahead ahead;
} sink;

/* The head and the last pass of a block fetch half each of what comes after it, spread over all of their steps: memory
 * works while they compute. */
KRN_ALWAYS_INLINE void prefetch_stream(const sink *s, int stream, int64_t at, int64_t count) {
    const char *from = s->ahead.stream[stream] + at * s->ahead.bytes_per_64 / 64;
    for (int64_t line = 0; line < count * s->ahead.bytes_per_64 / 64; line += 64)
        KRN_PREFETCH(from + line);
}

KRN_ALWAYS_INLINE void prefetch_ahead(const sink *s, int64_t at, int64_t count) {
    if (s->ahead.streams > 0)
        prefetch_stream(s, 0, at, count);
    if (s->ahead.streams > 1)
        prefetch_stream(s, 1, at, count);
}

/* The half, the first or the second, of what `elements` elements from number `first` on bring near. */
KRN_ALWAYS_INLINE krn_ahead half_of(const krn_ahead *ahead, int64_t first, int64_t elements, int is_second) {
    krn_ahead half = *ahead;
    half.bytes_per_64 /= 2;
    const int64_t skipped = first * ahead->bytes_per_64 / 64 + (is_second ? elements * half.bytes_per_64 / 64 : 0);
    for (int32_t s = 0; s < KRN_AHEAD_STREAMS; s++)
        half.stream[s] = s < ahead->streams ? ahead->stream[s] + skipped : NULL;
    return half;
}

KRN_ALWAYS_INLINE lanes_i rounded_split(const sink *s, lanes_f x) {
    return round_bf16(mul_f(x, broadcast_f32(s->scale)));
}

KRN_ALWAYS_INLINE void put_split(const sink *s, int64_t at, lanes_i even, lanes_i odd) {
    store_split((uint16_t *)s->target + at, s->signs == NULL ? NULL : s->signs + (uint64_t)at / 8, even, odd);
}

/* Results of `count` registers, `step` elements apart; with SPLIT_BF16 behind each other. */
KRN_ALWAYS_INLINE void put_lanes(int32_t to, const sink *s, int64_t at, int64_t step, int count, lanes_f *x) {
    if (to == SPLIT_BF16) {
        KRN_UNROLL
        for (int r = 0; r + 1 < count; r += 2)
            put_split(s, at + r * LANES, lower_half(rounded_split(s, x[r])), rounded_split(s, x[r + 1]));
        return;
    }
    if (to != UNFINISHED) {
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
    char *target = (char *)s->target + at * size_of(to);
    KRN_UNROLL
    for (int r = 0; r < count; r++) {
        if (to == STREAMED_F32)
            stream_f((float *)(void *)target + r * step, x[r]);
        else
            store_lanes(to == UNFINISHED ? KRN_TYPE_F32 : to, target, r * step, x[r]);
    }
}

/* Column number `column` of registers `step` elements apart, of columns that come one after the other. With SPLIT_BF16
 * the even ones wait in `evens`, LANES floats for each register. */
KRN_ALWAYS_INLINE void put_column(int32_t to, const sink *s, int64_t at, int column, int64_t step, int count,
                                  lanes_f *x, float *evens) {
    if (to != SPLIT_BF16) {
        put_lanes(to, s, at + column * LANES, step, count, x);
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
