/* The gates of fused steps in the verbs of fused_loops.h, which is included before, and
 *
 *   load_pairs            LANES pairs of elements of a type, widened: the first of each pair, and the second
 *   load_two              two registers of elements of a type, widened
 *   times_power           p * 2^n, of n rounded by the addition of KRN_ROUNDER and that sum; is_near: |n| <= 125
 *   GATE_STEPS            2 or 4, and
 *   GATE_IN_PARTS         whether gates are made in two parts */
#ifndef KRN_GATE_LOOPS_H
#define KRN_GATE_LOOPS_H

/* activation.h, function by function, GATE_STEPS registers at a time: operations that follow one another then do not wait
 * for each other, and more of them fit the queues of the processor (measured on Zen 5: four with AVX-512). */

typedef struct {
    lanes_f of[GATE_STEPS];
} gate_lanes;

KRN_ALWAYS_INLINE lanes_f constant(float value) { return broadcast_f32(value); }

/* a * b + c, and with constants in place of some. */
KRN_ALWAYS_INLINE gate_lanes fma_lanes(gate_lanes a, gate_lanes b, gate_lanes c) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        a.of[u] = fma_f(a.of[u], b.of[u], c.of[u]);
    return a;
}

KRN_ALWAYS_INLINE gate_lanes fma_lanes_by(gate_lanes a, float b, gate_lanes c) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        a.of[u] = fma_f(a.of[u], constant(b), c.of[u]);
    return a;
}

KRN_ALWAYS_INLINE gate_lanes line_of(float slope, gate_lanes a, float start) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        a.of[u] = fma_f(a.of[u], constant(slope), constant(start));
    return a;
}

KRN_ALWAYS_INLINE gate_lanes mul_lanes(gate_lanes a, gate_lanes b) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        a.of[u] = mul_f(a.of[u], b.of[u]);
    return a;
}

/* h in n ln 2, where n is rounded by the addition of KRN_ROUNDER, and the rest. */
typedef struct {
    gate_lanes rounded, s;
} gate_parts;

KRN_ALWAYS_INLINE gate_lanes rounder_off(gate_lanes rounded) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        rounded.of[u] = sub_f(rounded.of[u], constant(KRN_ROUNDER));
    return rounded;
}

KRN_ALWAYS_INLINE gate_parts parts_of(int is_near, gate_lanes h) {
    KRN_UNROLL
    for (int u = 0; !is_near && u < GATE_STEPS; u++)
        h.of[u] = lower_f(higher_f(h.of[u], constant(KRN_GATE_LOWEST)), constant(KRN_GATE_HIGHEST));
    const gate_lanes rounded = line_of(-KRN_LOG2_E, h, KRN_ROUNDER), n = rounder_off(rounded);
    return (gate_parts){rounded, fma_lanes_by(n, KRN_LN2_LOW, fma_lanes_by(n, KRN_LN2_HIGH, h))};
}

/* What exp(-h) = (1 - terms) 2^n takes off 1. */
KRN_ALWAYS_INLINE gate_lanes exp_terms(gate_lanes s) {
    const gate_lanes square = mul_lanes(s, s);
    const gate_lanes low = line_of(KRN_EXP[1], s, -KRN_EXP[0]), middle = line_of(KRN_EXP[3], s, -KRN_EXP[2]);
    const gate_lanes e = fma_lanes(fma_lanes_by(square, -KRN_EXP[4], middle), square, low);
    return fma_lanes(e, square, s);
}

/* exp(-h), of its terms. */
KRN_ALWAYS_INLINE gate_lanes exp_negated(int is_near, gate_lanes terms, gate_lanes rounded) {
    const gate_lanes n = rounder_off(rounded);
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        terms.of[u] = times_power(is_near, sub_f(constant(1.0f), terms.of[u]), n.of[u], rounded.of[u]);
    return terms;
}

KRN_ALWAYS_INLINE gate_lanes gelu_h(gate_lanes g) {
    gate_lanes square = mul_lanes(g, g);
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        square.of[u] = lower_f(square.of[u], constant(KRN_GELU_LAST));
    const gate_lanes fourth = mul_lanes(square, square);
    const gate_lanes a = line_of(KRN_GELU[1], square, KRN_GELU[0]), b = line_of(KRN_GELU[3], square, KRN_GELU[2]);
    const gate_lanes c = fma_lanes_by(fourth, KRN_GELU[6], line_of(KRN_GELU[5], square, KRN_GELU[4]));
    return mul_lanes(g, fma_lanes(fma_lanes(c, fourth, b), fourth, a));
}

KRN_ALWAYS_INLINE gate_lanes gelu_tanh_h(gate_lanes g) {
    return mul_lanes(g, line_of(KRN_GELU_TANH[1], mul_lanes(g, g), KRN_GELU_TANH[0]));
}

KRN_ALWAYS_INLINE gate_lanes exponent_of(krn_gate_kind kind, gate_lanes g) {
    return kind == KRN_GATE_GELU ? gelu_h(g) : kind == KRN_GATE_GELU_TANH ? gelu_tanh_h(g) : g;
}

/* g / (1 + e). */
KRN_ALWAYS_INLINE gate_lanes gate_by(gate_lanes g, gate_lanes e) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        g.of[u] = div_f(g.of[u], add_f(constant(1.0f), e.of[u]));
    return g;
}

/* g / (1 + exp(-h)) * up. */
KRN_ALWAYS_INLINE gate_lanes gated(gate_lanes g, gate_parts h, gate_lanes up) {
    return mul_lanes(gate_by(g, exp_negated(0, exp_terms(h.s), h.rounded)), up);
}

KRN_ALWAYS_INLINE void load_gates(int is_paired, int32_t type, const void *gate, const void *up, int64_t at,
                                  gate_lanes *g, gate_lanes *u) {
    KRN_UNROLL
    for (int step = 0; step < GATE_STEPS; step++) {
        if (is_paired) {
            load_pairs(type, gate, 2 * (at + step * LANES), &g->of[step], &u->of[step]);
        } else {
            if (step % 2 == 0) {
                load_two(type, gate, at + step * LANES, &g->of[step]);
                load_two(type, up, at + step * LANES, &u->of[step]);
            }
        }
    }
}

KRN_ALWAYS_INLINE gate_lanes load_step(const float *from) {
    gate_lanes x;
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        x.of[u] = load_f(from + u * LANES);
    return x;
}

KRN_ALWAYS_INLINE void store_step(float *to, gate_lanes x) {
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        store_f(to + u * LANES, x.of[u]);
}

KRN_ALWAYS_INLINE void put_gated(gate_lanes v, lanes_i largest[2], float *y) {
    KRN_UNROLL
    for (int step = 0; step < GATE_STEPS; step++)
        largest[step % 2] = higher_bits(largest[step % 2], magnitude_bits(v.of[step]));
    store_step(y, v);
}

KRN_ALWAYS_INLINE void gate_block(krn_gate_kind kind, int is_paired, int32_t type, const void *gate, const void *up,
                                  int64_t from, lanes_i largest[2], float *y) {
    for (int64_t at = 0; at < KRN_FUSED_LANES; at += GATE_STEPS * LANES) {
        gate_lanes g, u;
        load_gates(is_paired, type, gate, up, from + at, &g, &u);
        put_gated(gated(g, parts_of(0, exponent_of(kind, g)), u), largest, y + at);
    }
}

/* What passes from the first part of a gate to the second; its elements, too, where they were widened. */
enum { GATE_CHUNK = 8 * KRN_FUSED_LANES };

typedef struct {
    _Alignas(64) float g[GATE_CHUNK], up[GATE_CHUNK], rounded[GATE_CHUNK], s[GATE_CHUNK + GATE_STEPS * LANES];
} gate_space;

/* Up to which distance of g from 0, as g^2 where GELU has that at hand, |h| is below 86 and exp(-h) needs no bounds. */
KRN_ALWAYS_INLINE lanes_f distance(krn_gate_kind kind, lanes_f g) {
    return kind == KRN_GATE_SILU ? as_f32(magnitude_bits(g)) : mul_f(g, g);
}

KRN_ALWAYS_INLINE float near_distance(krn_gate_kind kind) {
    return kind == KRN_GATE_GELU ? 600.0f : kind == KRN_GATE_GELU_TANH ? 90.0f : 85.0f;
}

/* The first part of whole blocks. Whether all of them are near, if that is what is_near says they are. */
KRN_ALWAYS_INLINE int start_gates(krn_gate_kind kind, int is_near, int is_paired, int32_t type, const void *gate,
                                  const void *up, int64_t from, int64_t n, const krn_ahead *ahead, gate_space *w) {
    const int is_kept = is_paired || type != KRN_TYPE_F32;
    lanes_f furthest[2] = {zero_f(), zero_f()};
    for (int64_t i = 0; i < n; i += KRN_FUSED_LANES) {
        prefetch_lines(ahead, from + i);
        for (int64_t at = i; at < i + KRN_FUSED_LANES; at += GATE_STEPS * LANES) {
            gate_lanes g, u;
            load_gates(is_paired, type, gate, up, from + at, &g, &u);
            KRN_UNROLL
            for (int step = 0; is_near && step < GATE_STEPS; step++)
                furthest[step % 2] = higher_f(distance(kind, g.of[step]), furthest[step % 2]);
            if (is_kept)
                store_step(w->g + at, g);
            if (is_paired)
                store_step(w->up + at, u);
            const gate_parts parts = parts_of(is_near, exponent_of(kind, g));
            store_step(w->rounded + at, parts.rounded);
            store_step(w->s + at, parts.s);
        }
    }
    return is_near && highest_bits(higher_bits(as_i(furthest[0]), as_i(furthest[1]))) <= near_distance(kind);
}

KRN_ALWAYS_INLINE void finish_gates(int is_near, int is_paired, int32_t type, const void *gate, const void *up,
                                    int64_t from, int64_t n, gate_space *w, lanes_i largest[2], float *y) {
    const int is_kept = is_paired || type != KRN_TYPE_F32;
    /* The polynomial of the next step lies between a division and its result, which would wait for each other in the
     * queues of the processor otherwise; that behind the last step is nobody's. */
    store_step(w->s + n, load_step(w->s));
    gate_lanes terms = exp_terms(load_step(w->s));
    for (int64_t at = 0; at < n; at += GATE_STEPS * LANES) {
        gate_lanes g, u;
        load_gates(0, type, gate, is_paired ? gate : up, from + at, &g, &u);
        if (is_kept)
            g = load_step(w->g + at);
        if (is_paired)
            u = load_step(w->up + at);
        g = gate_by(g, exp_negated(is_near, terms, load_step(w->rounded + at)));
        terms = exp_terms(load_step(w->s + at + GATE_STEPS * LANES));
        put_gated(mul_lanes(g, u), largest, y + at);
    }
}

/* Whole blocks, at most GATE_CHUNK elements, in two parts. 16 registers hold the constants of a part, not those of both:
 * in one, constants and intermediate values are loaded and stored 15 (SiLU) to 22 times (GELU) for each register of
 * results, of which Zen 5 does two a cycle; in two parts 12 to 14 times. Bounds are three operations of 27 to 37, and are
 * left out where all are near, which takes one (SiLU: two) to find out; NaN, which is never far, stays what it is. Behind
 * elements that are far `is_near` is 0, and no further ones are expected to be near. */
KRN_ALWAYS_INLINE void gate_chunk(krn_gate_kind kind, int is_paired, int32_t type, const void *gate, const void *up,
                                  int64_t from, int64_t n, const krn_ahead *ahead, int *is_near, lanes_i largest[2],
                                  float *y) {
    static const krn_ahead NOTHING = {0};
    gate_space w;
    if (*is_near) {
        if (start_gates(kind, 1, is_paired, type, gate, up, from, n, ahead, &w)) {
            finish_gates(1, is_paired, type, gate, up, from, n, &w, largest, y);
            return;
        }
        *is_near = 0;
        ahead = &NOTHING;
    }
    (void)start_gates(kind, 0, is_paired, type, gate, up, from, n, ahead, &w);
    finish_gates(0, is_paired, type, gate, up, from, n, &w, largest, y);
}

KRN_ALWAYS_INLINE void gate_of(krn_gate_kind kind, int is_paired, int32_t type, const void *gate, const void *up,
                               int64_t n, const krn_ahead *ahead, float *y, krn_row_sums *sums) {
    lanes_i largest[2] = {broadcast_i32(0), broadcast_i32(0)};
    const int64_t whole = n / KRN_FUSED_LANES * KRN_FUSED_LANES;
    int64_t i = 0;
    int is_near = 1;
    for (int64_t count = 0; GATE_IN_PARTS && i < whole; i += count) {
        count = whole - i < GATE_CHUNK ? whole - i : GATE_CHUNK;
        gate_chunk(kind, is_paired, type, gate, up, i, count, ahead, &is_near, largest, y + i);
    }
    for (; i < whole; i += KRN_FUSED_LANES) {
        prefetch_lines(ahead, i);
        gate_block(kind, is_paired, type, gate, up, i, largest, y + i);
    }
    if (i < n) {
        _Alignas(64) unsigned char gates[2 * KRN_FUSED_LANES * sizeof(float)] = {0};
        _Alignas(64) unsigned char ups[KRN_FUSED_LANES * sizeof(float)] = {0};
        const int64_t bytes = (n - i) * type_bytes(type), width = is_paired ? 2 : 1;
        memcpy(gates, address_of(type, gate, width * i), (size_t)(width * bytes));
        if (!is_paired)
            memcpy(ups, address_of(type, up, i), (size_t)bytes);
        gate_block(kind, is_paired, type, gates, ups, 0, largest, y + i);
    }
    keep_magnitude(sums, largest);
}

KRN_ALWAYS_INLINE void gate_ahead(krn_gate_kind kind, int is_paired, int32_t type, const void *gate, const void *up,
                                  int64_t n, krn_ahead ahead, float *y, krn_row_sums *sums) {
    if (krn_is_outer(&ahead)) {
        ahead.is_outer = 1;
        gate_of(kind, is_paired, type, gate, up, n, &ahead, y, sums);
    } else {
        gate_of(kind, is_paired, type, gate, up, n, &ahead, y, sums);
    }
}

KRN_ALWAYS_INLINE void gate_type(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n,
                                 krn_ahead ahead, float *y, krn_row_sums *sums) {
    if (up == NULL)
        gate_ahead(kind, 1, type, gate, up, n, ahead, y, sums);
    else
        gate_ahead(kind, 0, type, gate, up, n, ahead, y, sums);
}

/* A function for each kind and type, with loops for each place that prefetches go to: in one function for all, what the
 * loops hold competes for the same registers, and gates of f32 took up to a quarter more time on Zen 4. */
#define KRN_GATE_FUNCTION(name, kind, type)                                                                            \
    static void name(const void *gate, const void *up, int64_t n, krn_ahead ahead, float *y, krn_row_sums *sums) {     \
        gate_type(kind, type, gate, up, n, ahead, y, sums);                                                            \
    }

KRN_GATE_FUNCTION(silu_f32, KRN_GATE_SILU, KRN_TYPE_F32)
KRN_GATE_FUNCTION(silu_f16, KRN_GATE_SILU, KRN_TYPE_F16)
KRN_GATE_FUNCTION(silu_bf16, KRN_GATE_SILU, KRN_TYPE_BF16)
KRN_GATE_FUNCTION(gelu_f32, KRN_GATE_GELU, KRN_TYPE_F32)
KRN_GATE_FUNCTION(gelu_f16, KRN_GATE_GELU, KRN_TYPE_F16)
KRN_GATE_FUNCTION(gelu_bf16, KRN_GATE_GELU, KRN_TYPE_BF16)
KRN_GATE_FUNCTION(gelu_tanh_f32, KRN_GATE_GELU_TANH, KRN_TYPE_F32)
KRN_GATE_FUNCTION(gelu_tanh_f16, KRN_GATE_GELU_TANH, KRN_TYPE_F16)
KRN_GATE_FUNCTION(gelu_tanh_bf16, KRN_GATE_GELU_TANH, KRN_TYPE_BF16)
#undef KRN_GATE_FUNCTION

typedef void (*gate_function)(const void *gate, const void *up, int64_t n, krn_ahead ahead, float *y,
                              krn_row_sums *sums);

static void gate(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n, krn_ahead ahead,
                 float *y, krn_row_sums *sums) {
    static const gate_function SILU[] = {silu_f32, silu_f16, silu_bf16}, GELU[] = {gelu_f32, gelu_f16, gelu_bf16},
                               GELU_TANH[] = {gelu_tanh_f32, gelu_tanh_f16, gelu_tanh_bf16};
    const gate_function *of_kind = kind == KRN_GATE_SILU ? SILU : kind == KRN_GATE_GELU ? GELU : GELU_TANH;
    of_kind[type == KRN_TYPE_F32 ? 0 : type == KRN_TYPE_F16 ? 1 : 2](gate, up, n, ahead, y, sums);
}

#endif
