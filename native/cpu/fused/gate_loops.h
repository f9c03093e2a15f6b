/* The gates of fused steps in the verbs of fused_loops.h, which is included before, and
 *
 *   load_pairs            LANES pairs of elements of a type, widened: the first of each pair, and the second
 *   times_power           p * 2^n, of n rounded by the addition of KRN_ROUNDER and that sum */
#ifndef KRN_GATE_LOOPS_H
#define KRN_GATE_LOOPS_H

/* activation.h, function by function, four registers at a time: operations that follow one another then do not wait for
 * each other, and more of them fit the queues of the processor (measured on Zen 5). */

enum { GATE_STEPS = 4 };

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

KRN_ALWAYS_INLINE gate_lanes exp_negated(gate_lanes h) {
    const gate_lanes rounded = line_of(-KRN_LOG2_E, h, KRN_ROUNDER);
    gate_lanes n, p;
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        n.of[u] = sub_f(rounded.of[u], constant(KRN_ROUNDER));
    const gate_lanes s = fma_lanes_by(n, KRN_LN2_LOW, fma_lanes_by(n, KRN_LN2_HIGH, h));
    const gate_lanes square = mul_lanes(s, s);
    const gate_lanes low = line_of(KRN_EXP[1], s, -KRN_EXP[0]), middle = line_of(KRN_EXP[3], s, -KRN_EXP[2]);
    const gate_lanes e = fma_lanes(fma_lanes_by(square, -KRN_EXP[4], middle), square, low);
    p = fma_lanes(e, square, s);
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        p.of[u] = times_power(sub_f(constant(1.0f), p.of[u]), n.of[u], rounded.of[u]);
    return p;
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

/* g / (1 + exp(-h)) * up. */
KRN_ALWAYS_INLINE gate_lanes gated(krn_gate_kind kind, gate_lanes g, gate_lanes up) {
    gate_lanes h = kind == KRN_GATE_GELU ? gelu_h(g) : kind == KRN_GATE_GELU_TANH ? gelu_tanh_h(g) : g;
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        h.of[u] = lower_f(higher_f(h.of[u], constant(KRN_GATE_LOWEST)), constant(KRN_GATE_HIGHEST));
    const gate_lanes e = exp_negated(h);
    KRN_UNROLL
    for (int u = 0; u < GATE_STEPS; u++)
        g.of[u] = mul_f(div_f(g.of[u], add_f(constant(1.0f), e.of[u])), up.of[u]);
    return g;
}

KRN_ALWAYS_INLINE void load_gates(int is_paired, int32_t type, const void *gate, const void *up, int64_t at,
                                  gate_lanes *g, gate_lanes *u) {
    KRN_UNROLL
    for (int step = 0; step < GATE_STEPS; step++) {
        if (is_paired) {
            load_pairs(type, gate, 2 * (at + step * LANES), &g->of[step], &u->of[step]);
        } else {
            g->of[step] = load_lanes(type, gate, at + step * LANES);
            u->of[step] = load_lanes(type, up, at + step * LANES);
        }
    }
}

KRN_ALWAYS_INLINE void gate_block(krn_gate_kind kind, int is_paired, int32_t type, const void *gate, const void *up,
                                  int64_t from, lanes_i largest[2], float *y) {
    for (int64_t at = 0; at < KRN_FUSED_LANES; at += GATE_STEPS * LANES) {
        gate_lanes g, u;
        load_gates(is_paired, type, gate, up, from + at, &g, &u);
        const gate_lanes v = gated(kind, g, u);
        KRN_UNROLL
        for (int step = 0; step < GATE_STEPS; step++) {
            largest[step % 2] = higher_bits(largest[step % 2], magnitude_bits(v.of[step]));
            store_f(y + at + step * LANES, v.of[step]);
        }
    }
}

KRN_ALWAYS_INLINE void gate_of(krn_gate_kind kind, int is_paired, int32_t type, const void *gate, const void *up,
                               int64_t n, const krn_ahead *ahead, float *y, krn_row_sums *sums) {
    lanes_i largest[2] = {broadcast_i32(0), broadcast_i32(0)};
    int64_t i = 0;
    for (; i + KRN_FUSED_LANES <= n; i += KRN_FUSED_LANES) {
        krn_prefetch_ahead(ahead, i, KRN_FUSED_LANES);
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

KRN_ALWAYS_INLINE void gate_type(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n,
                                 const krn_ahead *ahead, float *y, krn_row_sums *sums) {
    if (up == NULL)
        gate_of(kind, 1, type, gate, up, n, ahead, y, sums);
    else
        gate_of(kind, 0, type, gate, up, n, ahead, y, sums);
}

KRN_ALWAYS_INLINE void gate_kind(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n,
                                 const krn_ahead *ahead, float *y, krn_row_sums *sums) {
    switch (type) {
    case KRN_TYPE_F32: gate_type(kind, KRN_TYPE_F32, gate, up, n, ahead, y, sums); break;
    case KRN_TYPE_F16: gate_type(kind, KRN_TYPE_F16, gate, up, n, ahead, y, sums); break;
    default: gate_type(kind, KRN_TYPE_BF16, gate, up, n, ahead, y, sums); break;
    }
}

static void gate(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n, krn_ahead ahead,
                 float *y, krn_row_sums *sums) {
    switch (kind) {
    case KRN_GATE_SILU: gate_kind(KRN_GATE_SILU, type, gate, up, n, &ahead, y, sums); break;
    case KRN_GATE_GELU: gate_kind(KRN_GATE_GELU, type, gate, up, n, &ahead, y, sums); break;
    default: gate_kind(KRN_GATE_GELU_TANH, type, gate, up, n, &ahead, y, sums); break;
    }
}

#endif
