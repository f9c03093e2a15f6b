/* What a fused step writes, codes or narrowed floats, in the verbs of fused_loops.h, which is included before. */
#ifndef KRN_OUTPUT_LOOPS_H
#define KRN_OUTPUT_LOOPS_H

/* What turns elements into codes. */
typedef struct {
    lanes_f mean, inverse, scale_inverse, low, high;
    /* Added to a number that was clamped: then it lies in -128..127. */
    lanes_i shift;
    /* What is added there, to bytes. */
    lanes_codes zero_codes;
} row_encoder;

/* How the loops differ: constants wherever they are called. */
typedef struct {
    int lines, is_centred, has_bias, is_clamped, stream;
} encoder_kind;

KRN_ALWAYS_INLINE lanes_i code_of(encoder_kind kind, const row_encoder *e, lanes_f y) {
    const lanes_f scaled = mul_f(y, e->scale_inverse);
    if (!kind.is_clamped)
        return round_i32(scaled);
    return add_i32(round_i32(lower_f(higher_f(scaled, e->low), e->high)), e->shift);
}

KRN_ALWAYS_INLINE void encode_block(encoder_kind kind, int unpacked, int32_t type, const void *x, int64_t at,
                                    const float *weight, const float *bias, const row_encoder *e, uint8_t *codes) {
    KRN_UNROLL
    for (int r = 0; r < CODE_REGISTERS; r++) {
        lanes_i q[CODE_STEPS];
        KRN_UNROLL
        for (int u = 0; u < CODE_STEPS; u += 2) {
            lanes_f d[2];
            load_normed(type, x, at + (r * CODE_STEPS + u) * LANES, d);
            KRN_UNROLL
            for (int v = 0; v < 2; v++) {
                const int64_t i = (r * CODE_STEPS + u + v) * LANES;
                q[u + v] = code_of(
                    kind, e,
                    normalized(kind.is_centred, kind.has_bias, d[v], weight + i, bias + i, e->mean, e->inverse));
            }
        }
        const lanes_codes bytes = add_codes(unpacked ? narrow_unpacked(q) : narrow_signed(q), e->zero_codes);
        if (kind.stream)
            stream_codes(codes + r * CODE_BYTES, bytes);
        else
            store_codes(codes + r * CODE_BYTES, bytes);
    }
}

KRN_ALWAYS_INLINE void encode_of(encoder_kind kind, int32_t type, const void *x, const float *weight, const float *bias,
                                 int64_t n, float mean, const row_encoder *e, const krn_ahead *ahead, uint8_t *codes) {
    int64_t i = 0;
    for (; i + KRN_FUSED_LANES <= n; i += KRN_FUSED_LANES) {
        prefetch_some(kind.lines, ahead, i);
        encode_block(kind, is_unpacked(type), type, x, i, weight + i, bias + i, e, codes + i);
    }
    if (i < n) {
        _Alignas(64) float rest[KRN_FUSED_LANES];
        _Alignas(64) uint8_t made[KRN_FUSED_LANES];
        kind.stream = 0;
        widen_normed_rest(type, x, i, n - i, mean, rest);
        encode_block(kind, is_unpacked(type), KRN_TYPE_F32, rest, 0, weight + i, bias + i, e, made);
        memcpy(codes + i, made, (size_t)(n - i));
    }
}

KRN_ALWAYS_INLINE void encode_lines(int is_centred, int stream, int32_t type, const void *x, const float *weight,
                                    int64_t n, float mean, const row_encoder *e, const krn_ahead *ahead,
                                    uint8_t *codes) {
    encoder_kind kind = {.is_centred = is_centred, .stream = stream};
    switch (lines_of(type, ahead)) {
    case 0:
        kind.lines = 0;
        encode_of(kind, type, x, weight, weight, n, mean, e, ahead, codes);
        break;
    case 1:
        kind.lines = 1;
        encode_of(kind, type, x, weight, weight, n, mean, e, ahead, codes);
        break;
    default:
        kind.lines = MANY;
        encode_of(kind, type, x, weight, weight, n, mean, e, ahead, codes);
        break;
    }
}

/* Loops for what is rare do without the fine differences: to clamp or take 0 off where that changes nothing is slower,
 * but not wrong. */
KRN_ALWAYS_INLINE void encode_clamped(int stream, int32_t type, const void *x, const float *weight, const float *bias,
                                      int64_t n, float mean, const row_encoder *e, const krn_ahead *ahead,
                                      uint8_t *codes) {
    encoder_kind kind = {.lines = MANY, .is_centred = 1, .is_clamped = 1, .stream = stream};
    if (bias == NULL) {
        encode_of(kind, type, x, weight, weight, n, mean, e, ahead, codes);
    } else {
        kind.has_bias = 1;
        encode_of(kind, type, x, weight, bias, n, mean, e, ahead, codes);
    }
}

KRN_ALWAYS_INLINE void encode_type(int32_t type, const void *x, const float *weight, const float *bias, int64_t n,
                                   float mean, int is_clamped, int32_t stream, const row_encoder *e,
                                   const krn_ahead *ahead, uint8_t *codes) {
    const int streams = stream && (uintptr_t)codes % CODE_BYTES == 0;
    if (is_clamped) {
        if (streams)
            encode_clamped(1, type, x, weight, bias, n, mean, e, ahead, codes);
        else
            encode_clamped(0, type, x, weight, bias, n, mean, e, ahead, codes);
    } else if (mean != 0 && streams)
        encode_lines(1, 1, type, x, weight, n, mean, e, ahead, codes);
    else if (mean != 0)
        encode_lines(1, 0, type, x, weight, n, mean, e, ahead, codes);
    else if (streams)
        encode_lines(0, 1, type, x, weight, n, mean, e, ahead, codes);
    else
        encode_lines(0, 0, type, x, weight, n, mean, e, ahead, codes);
}

static void encode(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                   float inverse, const krn_block_encoder *encoder, int32_t stream, krn_ahead ahead, uint8_t *codes) {
    const int is_clamped = !encoder->is_unclipped || bias != NULL;
    /* Of u8. */
    const int32_t shift = encoder->high + (float)encoder->zero > 127 ? 128 : 0;
    const row_encoder e = {.mean = broadcast_f32(mean),
                           .inverse = broadcast_f32(inverse),
                           .scale_inverse = broadcast_f32(encoder->inverse),
                           .low = broadcast_f32(encoder->low),
                           .high = broadcast_f32(encoder->high),
                           .shift = broadcast_i32(encoder->zero - shift),
                           .zero_codes = broadcast_code(is_clamped ? shift : encoder->zero)};
    switch (type) {
    case KRN_TYPE_F32:
        encode_type(KRN_TYPE_F32, x, weight, bias, n, mean, is_clamped, stream, &e, &ahead, codes);
        break;
    case KRN_TYPE_F16:
        encode_type(KRN_TYPE_F16, x, weight, bias, n, mean, is_clamped, stream, &e, &ahead, codes);
        break;
    default: encode_type(KRN_TYPE_BF16, x, weight, bias, n, mean, is_clamped, stream, &e, &ahead, codes); break;
    }
}

KRN_ALWAYS_INLINE void narrow_of(int32_t type, const float *y, int64_t n, void *target) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store_lanes(type, target, i, load_f(y + i));
    if (i < n)
        store_rest(type, target, i, n - i, load_f(y + i));
}

static void narrow_row(int32_t type, const float *y, int64_t n, void *target) {
    switch (type) {
    case KRN_TYPE_F32: narrow_of(KRN_TYPE_F32, y, n, target); break;
    case KRN_TYPE_F16: narrow_of(KRN_TYPE_F16, y, n, target); break;
    default: narrow_of(KRN_TYPE_BF16, y, n, target); break;
    }
}

#endif
