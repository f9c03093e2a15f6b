/* The scalar reference of native/include/kernels/fused.h: it defines the bits. */
#include "common/convert.h"
#include "common/fma.h"
#include "fused/activation.h"
#include "fused/fused_variants.h"

static void total(int32_t type, const void *x, int64_t n, krn_ahead ahead, krn_row_sums *sums) {
    (void)ahead;
    for (int64_t i = 0; i < n; i++)
        sums->lanes[i % KRN_FUSED_LANES] += krn_float_at(type, x, i);
}

/* Compared as integers, magnitudes are in order, and infinity and NaN are above all finite numbers. */
static void keep_magnitude(krn_row_sums *sums, float value) {
    const uint32_t bits = krn_f32_bits(value) & UINT32_C(0x7FFFFFFF);
    if (bits > krn_f32_bits(sums->magnitude))
        sums->magnitude = krn_f32_from_bits(bits);
}

static void squares(int32_t type, const void *x, const float *weight, int64_t n, float mean, krn_ahead ahead,
                    krn_row_sums *sums) {
    (void)ahead;
    for (int64_t i = 0; i < n; i++) {
        const float d = krn_float_at(type, x, i) - mean;
        sums->lanes[i % KRN_FUSED_LANES] = krn_fmaf(d, d, sums->lanes[i % KRN_FUSED_LANES]);
        if (weight != NULL)
            keep_magnitude(sums, d * weight[i]);
    }
}

static float normalized(int32_t type, const void *x, const float *weight, const float *bias, int64_t i, float mean,
                        float inverse) {
    const float y = ((krn_float_at(type, x, i) - mean) * weight[i]) * inverse;
    return bias == NULL ? y : y + bias[i];
}

static void pad(float *y, int64_t n) {
    for (int64_t i = n; i % KRN_FUSED_LANES != 0; i++)
        y[i] = 0;
}

static void normalize(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                      float inverse, krn_ahead ahead, float *y) {
    (void)ahead;
    for (int64_t i = 0; i < n; i++)
        y[i] = normalized(type, x, weight, bias, i, mean, inverse);
    pad(y, n);
}

static void measure(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                    float inverse, int32_t asymmetric, krn_ahead ahead, krn_row_sums *sums) {
    (void)asymmetric;
    (void)ahead;
    for (int64_t i = 0; i < n; i++) {
        const float y = normalized(type, x, weight, bias, i, mean, inverse);
        keep_magnitude(sums, y);
        sums->lowest = y < sums->lowest ? y : sums->lowest;
        sums->highest = y > sums->highest ? y : sums->highest;
    }
}

static void encode(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                   float inverse, const krn_block_encoder *encoder, int32_t stream, krn_ahead ahead, uint8_t *codes) {
    for (int64_t i = 0; i < n; i++) {
        const float y = normalized(type, x, weight, bias, i, mean, inverse);
        krn_quantize_ref.encode(KRN_TYPE_F32, &y, (krn_memory_hints){.ahead = ahead, .stream = stream}, 1, 1, encoder,
                                codes + i);
    }
}

static void add(int32_t type, const void *x, const void *residual, int64_t n, int32_t stream, krn_ahead ahead,
                void *sum, float *y) {
    (void)stream;
    (void)ahead;
    for (int64_t i = 0; i < n; i++) {
        krn_put_float(type, sum, i, krn_float_at(type, x, i) + krn_float_at(type, residual, i));
        y[i] = krn_float_at(type, sum, i);
    }
    pad(y, n);
}

static float gate_of(krn_gate_kind kind, float g) {
    switch (kind) {
    case KRN_GATE_SILU: return krn_gate(g, g);
    case KRN_GATE_GELU: return krn_gate(g, krn_gelu_h(g));
    default: return krn_gate(g, krn_gelu_tanh_h(g));
    }
}

static void gate(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n, krn_ahead ahead,
                 float *y, krn_row_sums *sums) {
    (void)ahead;
    for (int64_t i = 0; i < n; i++) {
        const float g = krn_float_at(type, gate, up == NULL ? 2 * i : i);
        const float u = up == NULL ? krn_float_at(type, gate, 2 * i + 1) : krn_float_at(type, up, i);
        y[i] = gate_of(kind, g) * u;
        keep_magnitude(sums, y[i]);
    }
    pad(y, n);
}

static void narrow(int32_t type, const float *y, int64_t n, void *target) {
    for (int64_t i = 0; i < n; i++)
        krn_put_float(type, target, i, y[i]);
}

const krn_fused_kernels krn_fused_ref = {
    .name = "ref",
    .features = 0,
    .add = add,
    .total = total,
    .squares = squares,
    .normalize = normalize,
    .measure = measure,
    .encode = encode,
    .gate = gate,
    .narrow = narrow,
};
