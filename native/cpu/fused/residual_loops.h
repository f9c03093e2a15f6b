/* The sums with a residual, in the verbs of fused_loops.h, which is included before. */
#ifndef KRN_RESIDUAL_LOOPS_H
#define KRN_RESIDUAL_LOOPS_H

/* Sums of half precision on their way to memory. */
enum { SUM_CHUNK = 16 * KRN_FUSED_LANES };

/* The sums of 2 LANES bf16, which are no NaN with anything in the lower half. */
KRN_ALWAYS_INLINE lanes_i add_words(const uint16_t *x, const uint16_t *residual) {
    lanes_f a[2], b[2];
    split_bf16(load_i(x), a);
    split_bf16(load_i(residual), b);
    return join_bf16(lower_half(round_bf16(add_f(a[0], b[0]))), round_bf16(add_f(a[1], b[1])));
}

KRN_ALWAYS_INLINE void add_bf16_block(const uint16_t *x, const uint16_t *residual, uint16_t *sums, float *y) {
    KRN_UNROLL
    for (int i = 0; i < KRN_FUSED_LANES; i += 2 * LANES) {
        lanes_f sum[2];
        store_i(sums + i, add_words(x + i, residual + i));
        load_two(KRN_TYPE_BF16, sums, i, sum);
        store_f(y + i, sum[0]);
        store_f(y + i + LANES, sum[1]);
    }
}

/* Whole blocks: sums in f32 to y, and rounded to `sums`. */
KRN_ALWAYS_INLINE void add_blocks(int32_t type, int stream, const void *x, const void *residual, int64_t n,
                                  const krn_ahead *ahead, int64_t from, void *sums, float *y) {
    for (int64_t i = 0; i < n; i += KRN_FUSED_LANES) {
        prefetch_lines(ahead, from + i);
        /* Half the operations; 16 lanes wait for memory in any case, and lose 4 to 15%. */
        if (type == KRN_TYPE_BF16 && LANES == 8) {
            add_bf16_block((const uint16_t *)x + from + i, (const uint16_t *)residual + from + i, (uint16_t *)sums + i,
                           y + i);
            continue;
        }
        KRN_UNROLL
        for (int u = 0; u < STEPS; u++) {
            const int64_t at = i + u * LANES;
            const lanes_f sum = add_f(load_lanes(type, x, from + at), load_lanes(type, residual, from + at));
            if (type == KRN_TYPE_F32 && stream)
                stream_f((float *)sums + at, sum);
            else
                store_lanes(type, sums, at, sum);
            store_f(y + at, type == KRN_TYPE_F32 ? sum : load_lanes(type, sums, at));
        }
    }
}

KRN_ALWAYS_INLINE void add_of(int32_t type, int stream, const void *x, const void *residual, int64_t n,
                              const krn_ahead *ahead, void *sum, float *y) {
    _Alignas(64) unsigned char made[SUM_CHUNK * sizeof(uint16_t)];
    const int64_t whole = n / KRN_FUSED_LANES * KRN_FUSED_LANES;
    if (stream && type != KRN_TYPE_F32) {
        for (int64_t i = 0; i < whole; i += SUM_CHUNK) {
            const int64_t count = whole - i < SUM_CHUNK ? whole - i : SUM_CHUNK;
            uint8_t *target = (uint8_t *)sum + i * type_bytes(type);
            add_blocks(type, 0, x, residual, count, ahead, i, made, y + i);
            for (int64_t at = 0; at < count * type_bytes(type); at += CODE_BYTES)
                stream_codes(target + at, load_i(made + at));
        }
    } else {
        add_blocks(type, stream, x, residual, whole, ahead, 0, sum, y);
    }
    if (whole == n)
        return;
    _Alignas(64) float rest[KRN_FUSED_LANES], other[KRN_FUSED_LANES];
    _Alignas(64) unsigned char rounded[KRN_FUSED_LANES * sizeof(float)];
    widen_rest(type, x, whole, n - whole, 0, rest);
    widen_rest(type, residual, whole, n - whole, 0, other);
    for (int u = 0; u < STEPS; u++) {
        store_lanes(type, rounded, u * LANES, add_f(load_f(rest + u * LANES), load_f(other + u * LANES)));
        store_f(y + whole + u * LANES, load_lanes(type, rounded, u * LANES));
    }
    memcpy((char *)sum + whole * type_bytes(type), rounded, (size_t)((n - whole) * type_bytes(type)));
}

/* With loops for each place that prefetches go to, as gates have them (Zen 4: bf16 13% less time). */
KRN_ALWAYS_INLINE void add_ahead(int32_t type, int stream, const void *x, const void *residual, int64_t n,
                                 krn_ahead ahead, void *sum, float *y) {
    if (krn_is_outer(&ahead)) {
        ahead.is_outer = 1;
        add_of(type, stream, x, residual, n, &ahead, sum, y);
    } else {
        add_of(type, stream, x, residual, n, &ahead, sum, y);
    }
}

KRN_ALWAYS_INLINE void add_type(int32_t type, int32_t stream, const void *x, const void *residual, int64_t n,
                                krn_ahead ahead, void *sum, float *y) {
    if (stream && (uintptr_t)sum % CODE_BYTES == 0)
        add_ahead(type, 1, x, residual, n, ahead, sum, y);
    else
        add_ahead(type, 0, x, residual, n, ahead, sum, y);
}

static void add(int32_t type, const void *x, const void *residual, int64_t n, int32_t stream, krn_ahead ahead,
                void *sum, float *y) {
    switch (type) {
    case KRN_TYPE_F32: add_type(KRN_TYPE_F32, stream, x, residual, n, ahead, sum, y); break;
    case KRN_TYPE_F16: add_type(KRN_TYPE_F16, stream, x, residual, n, ahead, sum, y); break;
    default: add_type(KRN_TYPE_BF16, stream, x, residual, n, ahead, sum, y); break;
    }
}

#endif
