/* The loops of the fused steps, written in verbs and compiled once per instruction set by the file that includes this
 * header after it has defined the verbs:
 *
 *   lanes_f, lanes_i      LANES elements, as f32 or as 32-bit integers
 *   load_lanes            LANES elements of a type, widened; load_two: two registers of them
 *   store_lanes           f32 narrowed to a type
 *   split_bf16, round_bf16, join_bf16, lower_half      bf16 in split registers, see common/lanes_*.h
 *   magnitude_bits        the bits of |x|
 *   higher_bits           the higher of two, lane by lane; highest_bits: the highest lane
 *   lower_f, higher_f     the lower and the higher of two, lane by lane
 *   round_i32             to the nearest integer; narrow_signed: four registers of them to bytes
 *   lanes_codes           a register of codes; broadcast_code, add_codes, store_codes
 *   stream_codes          a store past the caches, to an address that is a multiple of the register
 *   lower_f, mul_f, ...   as in common/simd_*.h
 *
 * `type` and other parameters that select code are constants wherever these functions are called. */
#ifndef KRN_FUSED_LOOPS_H
#define KRN_FUSED_LOOPS_H

enum { STEPS = KRN_FUSED_LANES / LANES };

/* KRN_UNPACKS: norms take bf16 in the order of krn_unpack, see unpacked_lanes of krn_fused_kernels, by
 *
 *   load_unpacked         two registers of bf16, widened
 *   narrow_unpacked       CODE_STEPS registers of such numbers in -128..127 to bytes in order
 *   store_unpacked        two registers, in order */
#ifdef KRN_UNPACKS
enum { UNPACKED_LANES = 2 * LANES };
#else
enum { UNPACKED_LANES = 0 };

KRN_ALWAYS_INLINE void load_unpacked(const uint16_t *x, lanes_f y[2]) { load_two(KRN_TYPE_BF16, x, 0, y); }

KRN_ALWAYS_INLINE lanes_codes narrow_unpacked(const lanes_i q[]) { return narrow_signed(q); }

KRN_ALWAYS_INLINE void store_unpacked(float *target, const lanes_f y[2]) {
    store_f(target, y[0]);
    store_f(target + LANES, y[1]);
}
#endif

/* Steps of a register of codes, and such registers in a block. */
enum { CODE_STEPS = 4, CODE_BYTES = CODE_STEPS * LANES, CODE_REGISTERS = STEPS / CODE_STEPS };

KRN_ALWAYS_INLINE int64_t type_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

KRN_ALWAYS_INLINE const char *address_of(int32_t type, const void *row, int64_t at) {
    return (const char *)row + at * type_bytes(type);
}

KRN_ALWAYS_INLINE int is_unpacked(int32_t type) { return UNPACKED_LANES > 0 && type == KRN_TYPE_BF16; }

/* Two registers of what a norm is of. */
KRN_ALWAYS_INLINE void load_normed(int32_t type, const void *x, int64_t at, lanes_f y[2]) {
    if (is_unpacked(type))
        load_unpacked((const uint16_t *)x + at, y);
    else
        load_two(type, x, at, y);
}

/* The last n elements of a row from `at` on, widened, with `fill` behind them. */
KRN_ALWAYS_INLINE void widen_rest(int32_t type, const void *row, int64_t at, int64_t n, float fill, float *rest) {
    _Alignas(64) unsigned char raw[KRN_FUSED_LANES * sizeof(float)] = {0};
    memcpy(raw, address_of(type, row, at), (size_t)(n * type_bytes(type)));
    for (int u = 0; u < STEPS; u++)
        store_f(rest + u * LANES, load_lanes(type, raw, u * LANES));
    for (int64_t i = n; i < KRN_FUSED_LANES; i++)
        rest[i] = fill;
}

/* The same in the order of load_normed. */
KRN_ALWAYS_INLINE void widen_normed_rest(int32_t type, const void *row, int64_t at, int64_t n, float fill,
                                         float *rest) {
    widen_rest(type, row, at, n, fill, rest);
    for (int i = 0; is_unpacked(type) && i < KRN_FUSED_LANES; i += UNPACKED_LANES)
        krn_unpack(UNPACKED_LANES, rest + i);
}

/* For KRN_FUSED_LANES elements from number i on: whole lines, at most MOST_LINES of them in each stream. Written out,
 * because a loop whose length is not known costs more than what it brings. */
enum { MOST_LINES = 4 };

KRN_ALWAYS_INLINE void prefetch_lines_to(int is_outer, const krn_ahead *ahead, int64_t i) {
    const int64_t lines = ahead->bytes_per_64 / 64;
    for (int32_t s = 0; s < ahead->streams; s++) {
        const char *from = ahead->stream[s] + i * lines;
        KRN_UNROLL
        for (int l = 0; l < MOST_LINES; l++)
            if (l < lines)
                krn_prefetch_line(is_outer, from + 64 * l);
    }
}

KRN_ALWAYS_INLINE void prefetch_lines(const krn_ahead *ahead, int64_t i) {
    if (krn_is_outer(ahead))
        prefetch_lines_to(1, ahead, i);
    else
        prefetch_lines_to(0, ahead, i);
}

/* The same where `lines` of one stream is a constant: a block then takes that many instructions, where asking takes 20.
 * MANY: as `ahead` says. */
enum { MANY = -1 };

/* Only where instructions are the limit: f32 waits for memory, and its loops would be made three times in vain. */
KRN_ALWAYS_INLINE int lines_of(int32_t type, const krn_ahead *ahead) {
    if (type == KRN_TYPE_F32 || ahead->streams > 1 || ahead->bytes_per_64 > 64)
        return MANY;
    return ahead->streams;
}

KRN_ALWAYS_INLINE void prefetch_some(int lines, const krn_ahead *ahead, int64_t i) {
    if (lines == MANY)
        prefetch_lines(ahead, i);
    else if (lines == 1)
        krn_prefetch_line(krn_is_outer(ahead), ahead->stream[0] + i);
}

KRN_ALWAYS_INLINE void load_sums(const krn_row_sums *sums, lanes_f lanes[STEPS]) {
    KRN_UNROLL
    for (int u = 0; u < STEPS; u++)
        lanes[u] = load_f(sums->lanes + u * LANES);
}

KRN_ALWAYS_INLINE void store_sums(krn_row_sums *sums, const lanes_f lanes[STEPS]) {
    KRN_UNROLL
    for (int u = 0; u < STEPS; u++)
        store_f(sums->lanes + u * LANES, lanes[u]);
}

KRN_ALWAYS_INLINE void total_of(int lines, int32_t type, const void *x, int64_t n, const krn_ahead *ahead,
                                krn_row_sums *sums) {
    lanes_f lanes[STEPS];
    load_sums(sums, lanes);
    int64_t i = 0;
    for (; i + KRN_FUSED_LANES <= n; i += KRN_FUSED_LANES) {
        prefetch_some(lines, ahead, i);
        KRN_UNROLL
        for (int u = 0; u < STEPS; u += 2) {
            lanes_f two[2];
            load_normed(type, x, i + u * LANES, two);
            lanes[u] = add_f(lanes[u], two[0]);
            lanes[u + 1] = add_f(lanes[u + 1], two[1]);
        }
    }
    if (i < n) {
        _Alignas(64) float rest[KRN_FUSED_LANES];
        widen_normed_rest(type, x, i, n - i, 0, rest);
        KRN_UNROLL
        for (int u = 0; u < STEPS; u++)
            lanes[u] = add_f(lanes[u], load_f(rest + u * LANES));
    }
    store_sums(sums, lanes);
}

KRN_ALWAYS_INLINE void total_type(int32_t type, const void *x, int64_t n, const krn_ahead *ahead, krn_row_sums *sums) {
    switch (lines_of(type, ahead)) {
    case 0: total_of(0, type, x, n, ahead, sums); break;
    case 1: total_of(1, type, x, n, ahead, sums); break;
    default: total_of(MANY, type, x, n, ahead, sums); break;
    }
}

static void total(int32_t type, const void *x, int64_t n, krn_ahead ahead, krn_row_sums *sums) {
    switch (type) {
    case KRN_TYPE_F32: total_type(KRN_TYPE_F32, x, n, &ahead, sums); break;
    case KRN_TYPE_F16: total_type(KRN_TYPE_F16, x, n, &ahead, sums); break;
    default: total_type(KRN_TYPE_BF16, x, n, &ahead, sums); break;
    }
}

/* One accumulator would chain every step to the one before it. */
KRN_ALWAYS_INLINE void keep_magnitude(krn_row_sums *sums, const lanes_i largest[2]) {
    const lanes_i before = as_i(broadcast_f32(sums->magnitude));
    sums->magnitude = highest_bits(higher_bits(before, higher_bits(largest[0], largest[1])));
}

KRN_ALWAYS_INLINE void add_squares(int is_centred, int is_measured, int32_t type, const void *x, int64_t at,
                                   const float *weight, lanes_f mean, lanes_f lanes[STEPS], lanes_i largest[2]) {
    KRN_UNROLL
    for (int u = 0; u < STEPS; u += 2) {
        lanes_f d[2];
        load_normed(type, x, at + u * LANES, d);
        KRN_UNROLL
        for (int v = 0; v < 2; v++) {
            if (is_centred)
                d[v] = sub_f(d[v], mean);
            lanes[u + v] = fma_f(d[v], d[v], lanes[u + v]);
            if (is_measured)
                largest[v] = higher_bits(largest[v], magnitude_bits(mul_f(d[v], load_f(weight + (u + v) * LANES))));
        }
    }
}

KRN_ALWAYS_INLINE void squares_of(int lines, int is_centred, int is_measured, int32_t type, const void *x,
                                  const float *weight, int64_t n, float mean, const krn_ahead *ahead,
                                  krn_row_sums *sums) {
    lanes_f lanes[STEPS];
    lanes_i largest[2] = {broadcast_i32(0), broadcast_i32(0)};
    load_sums(sums, lanes);
    int64_t i = 0;
    for (; i + KRN_FUSED_LANES <= n; i += KRN_FUSED_LANES) {
        prefetch_some(lines, ahead, i);
        add_squares(is_centred, is_measured, type, x, i, is_measured ? weight + i : NULL, broadcast_f32(mean), lanes,
                    largest);
    }
    if (i < n) {
        _Alignas(64) float rest[KRN_FUSED_LANES];
        /* Differences of 0. */
        widen_normed_rest(type, x, i, n - i, mean, rest);
        add_squares(is_centred, is_measured, KRN_TYPE_F32, rest, 0, is_measured ? weight + i : NULL,
                    broadcast_f32(mean), lanes, largest);
    }
    store_sums(sums, lanes);
    if (is_measured)
        keep_magnitude(sums, largest);
}

KRN_ALWAYS_INLINE void squares_lines(int is_centred, int is_measured, int32_t type, const void *x, const float *weight,
                                     int64_t n, float mean, const krn_ahead *ahead, krn_row_sums *sums) {
    switch (lines_of(type, ahead)) {
    case 0: squares_of(0, is_centred, is_measured, type, x, weight, n, mean, ahead, sums); break;
    case 1: squares_of(1, is_centred, is_measured, type, x, weight, n, mean, ahead, sums); break;
    default: squares_of(MANY, is_centred, is_measured, type, x, weight, n, mean, ahead, sums); break;
    }
}

KRN_ALWAYS_INLINE void squares_type(int32_t type, const void *x, const float *weight, int64_t n, float mean,
                                    const krn_ahead *ahead, krn_row_sums *sums) {
    /* To take 0 off changes nothing. */
    if (weight == NULL)
        squares_lines(1, 0, type, x, NULL, n, mean, ahead, sums);
    else if (mean == 0)
        squares_lines(0, 1, type, x, weight, n, mean, ahead, sums);
    else
        squares_lines(1, 1, type, x, weight, n, mean, ahead, sums);
}

static void squares(int32_t type, const void *x, const float *weight, int64_t n, float mean, krn_ahead ahead,
                    krn_row_sums *sums) {
    switch (type) {
    case KRN_TYPE_F32: squares_type(KRN_TYPE_F32, x, weight, n, mean, &ahead, sums); break;
    case KRN_TYPE_F16: squares_type(KRN_TYPE_F16, x, weight, n, mean, &ahead, sums); break;
    default: squares_type(KRN_TYPE_BF16, x, weight, n, mean, &ahead, sums); break;
    }
}

KRN_ALWAYS_INLINE lanes_f normalized(int is_centred, int has_bias, lanes_f x, const float *weight, const float *bias,
                                     lanes_f mean, lanes_f inverse) {
    const lanes_f d = is_centred ? sub_f(x, mean) : x;
    const lanes_f y = mul_f(mul_f(d, load_f(weight)), inverse);
    return has_bias ? add_f(y, load_f(bias)) : y;
}

KRN_ALWAYS_INLINE void normalize_block(int is_centred, int has_bias, int unpacked, int32_t type, const void *x,
                                       int64_t at, const float *weight, const float *bias, lanes_f mean,
                                       lanes_f inverse, float *y) {
    KRN_UNROLL
    for (int u = 0; u < STEPS; u += 2) {
        lanes_f d[2];
        load_normed(type, x, at + u * LANES, d);
        KRN_UNROLL
        for (int i = u; i < u + 2; i++) {
            d[i - u] = normalized(is_centred, has_bias, d[i - u], weight + i * LANES, bias + i * LANES, mean, inverse);
            if (!unpacked)
                store_f(y + i * LANES, d[i - u]);
        }
        if (unpacked)
            store_unpacked(y + u * LANES, d);
    }
}

KRN_ALWAYS_INLINE void normalize_of(int is_centred, int has_bias, int32_t type, const void *x, const float *weight,
                                    const float *bias, int64_t n, float mean, float inverse, const krn_ahead *ahead,
                                    float *y) {
    const lanes_f means = broadcast_f32(mean), inverses = broadcast_f32(inverse);
    int64_t i = 0;
    for (; i + KRN_FUSED_LANES <= n; i += KRN_FUSED_LANES) {
        prefetch_lines(ahead, i);
        normalize_block(is_centred, has_bias, is_unpacked(type), type, x, i, weight + i, bias + i, means, inverses,
                        y + i);
    }
    if (i < n) {
        _Alignas(64) float rest[KRN_FUSED_LANES];
        widen_normed_rest(type, x, i, n - i, mean, rest);
        normalize_block(is_centred, has_bias, is_unpacked(type), KRN_TYPE_F32, rest, 0, weight + i, bias + i, means,
                        inverses, y + i);
    }
}

KRN_ALWAYS_INLINE void normalize_type(int32_t type, const void *x, const float *weight, const float *bias, int64_t n,
                                      float mean, float inverse, const krn_ahead *ahead, float *y) {
    /* In place of no bias an address that the code without one does not use. */
    if (bias != NULL)
        normalize_of(1, 1, type, x, weight, bias, n, mean, inverse, ahead, y);
    else if (mean != 0)
        normalize_of(1, 0, type, x, weight, weight, n, mean, inverse, ahead, y);
    else
        normalize_of(0, 0, type, x, weight, weight, n, mean, inverse, ahead, y);
}

static void normalize(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                      float inverse, krn_ahead ahead, float *y) {
    switch (type) {
    case KRN_TYPE_F32: normalize_type(KRN_TYPE_F32, x, weight, bias, n, mean, inverse, &ahead, y); break;
    case KRN_TYPE_F16: normalize_type(KRN_TYPE_F16, x, weight, bias, n, mean, inverse, &ahead, y); break;
    default: normalize_type(KRN_TYPE_BF16, x, weight, bias, n, mean, inverse, &ahead, y); break;
    }
}

/* What a pass has measured. */
typedef struct {
    lanes_i largest[2];
    lanes_f low[2], high[2];
} row_measures;

KRN_ALWAYS_INLINE void measure_block(int has_bias, int asymmetric, int32_t type, const void *x, int64_t at,
                                     const float *weight, const float *bias, lanes_f mean, lanes_f inverse,
                                     row_measures *m) {
    KRN_UNROLL
    for (int u = 0; u < STEPS; u += 2) {
        lanes_f d[2];
        load_normed(type, x, at + u * LANES, d);
        KRN_UNROLL
        for (int v = 0; v < 2; v++) {
            const int i = (u + v) * LANES;
            const lanes_f y = normalized(1, has_bias, d[v], weight + i, bias + i, mean, inverse);
            m->largest[v] = higher_bits(m->largest[v], magnitude_bits(y));
            if (asymmetric) {
                m->low[v] = lower_f(m->low[v], y);
                m->high[v] = higher_f(m->high[v], y);
            }
        }
    }
}

/* The lowest and the highest lanes, where there are any below and above those before. */
KRN_ALWAYS_INLINE void keep_extremes(krn_row_sums *sums, const row_measures *m) {
    float low[LANES], high[LANES];
    store_f(low, lower_f(m->low[0], m->low[1]));
    store_f(high, higher_f(m->high[0], m->high[1]));
    for (int l = 0; l < LANES; l++) {
        sums->lowest = low[l] < sums->lowest ? low[l] : sums->lowest;
        sums->highest = high[l] > sums->highest ? high[l] : sums->highest;
    }
}

KRN_ALWAYS_INLINE void measure_of(int has_bias, int asymmetric, int32_t type, const void *x, const float *weight,
                                  const float *bias, int64_t n, float mean, float inverse, const krn_ahead *ahead,
                                  krn_row_sums *sums) {
    const lanes_f means = broadcast_f32(mean), inverses = broadcast_f32(inverse), zero = broadcast_f32(0);
    row_measures m = {{as_i(zero), as_i(zero)}, {zero, zero}, {zero, zero}};
    int64_t i = 0;
    for (; i + KRN_FUSED_LANES <= n; i += KRN_FUSED_LANES) {
        prefetch_lines(ahead, i);
        measure_block(has_bias, asymmetric, type, x, i, weight + i, bias + i, means, inverses, &m);
    }
    if (i < n) {
        _Alignas(64) float rest[KRN_FUSED_LANES];
        /* Behind the elements lie products of 0 and a bias of 0. */
        widen_normed_rest(type, x, i, n - i, mean, rest);
        measure_block(has_bias, asymmetric, KRN_TYPE_F32, rest, 0, weight + i, bias + i, means, inverses, &m);
    }
    keep_magnitude(sums, m.largest);
    if (asymmetric)
        keep_extremes(sums, &m);
}

KRN_ALWAYS_INLINE void measure_type(int32_t type, const void *x, const float *weight, const float *bias, int64_t n,
                                    float mean, float inverse, int32_t asymmetric, const krn_ahead *ahead,
                                    krn_row_sums *sums) {
    /* In place of no bias an address that the code without one does not use. */
    if (bias == NULL)
        measure_of(0, 1, type, x, weight, weight, n, mean, inverse, ahead, sums);
    else if (asymmetric)
        measure_of(1, 1, type, x, weight, bias, n, mean, inverse, ahead, sums);
    else
        measure_of(1, 0, type, x, weight, bias, n, mean, inverse, ahead, sums);
}

static void measure(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                    float inverse, int32_t asymmetric, krn_ahead ahead, krn_row_sums *sums) {
    switch (type) {
    case KRN_TYPE_F32: measure_type(KRN_TYPE_F32, x, weight, bias, n, mean, inverse, asymmetric, &ahead, sums); break;
    case KRN_TYPE_F16: measure_type(KRN_TYPE_F16, x, weight, bias, n, mean, inverse, asymmetric, &ahead, sums); break;
    default: measure_type(KRN_TYPE_BF16, x, weight, bias, n, mean, inverse, asymmetric, &ahead, sums); break;
    }
}

#endif
