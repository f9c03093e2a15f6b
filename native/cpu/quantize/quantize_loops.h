/* The loops of quantization over blocks, written in verbs and compiled once per instruction set by the file that
 * includes this header after it has defined the verbs:
 *
 *   lanes_f, lanes_i      STEP elements, as f32 or as 32-bit integers
 *   load_lanes            STEP elements of a type, widened
 *   load_rest             n < STEP of them, with the first one in the other lanes
 *   store_lanes           f32 narrowed to a type
 *   store_rest            the first n lanes only
 *   load_codes            codes, one per byte, with the bits of `flip` turned over, to one per lane
 *   load_codes_rest       n < STEP of them
 *   narrow_codes          UNROLL steps of codes from the low bytes of lanes whose other bytes are 0
 *   narrow_signed         the same of lanes in -128..127
 *   lanes_codes           a register of codes; broadcast_code, add_codes, store_codes
 *   stream_codes          a store past the caches, to an address that is a multiple of the register
 *   store_codes_rest      n <= STEP codes
 *   magnitude_bits        the bits of |x|
 *   higher_bits           the higher of two, lane by lane; highest_bits: the highest lane
 *   lower_f, higher_f     the lower and the higher of two, lane by lane; lowest_f, highest_f: the extreme lanes
 *   lanes_table           16 floats; load_table: from memory; entries_at: those at indices 0..15
 *   add_where_greater     sum + addend in the lanes in which one float is above another
 *   load_i, add_i32, ...  as in common/simd_*.h
 *
 * `type` is a constant wherever these functions are called, so that every switch over it is decided by the compiler. */
#ifndef KRN_QUANTIZE_LOOPS_H
#define KRN_QUANTIZE_LOOPS_H

/* Steps between two branches. */
enum { UNROLL = 4 };

KRN_ALWAYS_INLINE int64_t type_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

KRN_ALWAYS_INLINE int64_t block_end(int64_t from, int64_t count, int64_t block) {
    return count - from < block ? count : from + block;
}

KRN_ALWAYS_INLINE float magnitude_of(int32_t type, const void *source, int64_t from, int64_t to) {
    /* One accumulator would chain every step to the one before it; four keep up with two loads per cycle where a
     * maximum takes two cycles. */
    lanes_i largest[UNROLL];
    KRN_UNROLL
    for (int u = 0; u < UNROLL; u++)
        largest[u] = broadcast_i32(0);
    int64_t i = from;
    for (; i + UNROLL * STEP <= to; i += UNROLL * STEP) {
        KRN_UNROLL
        for (int u = 0; u < UNROLL; u++)
            largest[u] = higher_bits(largest[u], magnitude_bits(load_lanes(type, source, i + u * STEP)));
    }
    for (; i + STEP <= to; i += STEP)
        largest[0] = higher_bits(largest[0], magnitude_bits(load_lanes(type, source, i)));
    if (i < to)
        largest[1] = higher_bits(largest[1], magnitude_bits(load_rest(type, source, i, to - i)));
    return highest_bits(higher_bits(higher_bits(largest[0], largest[1]), higher_bits(largest[2], largest[3])));
}

KRN_ALWAYS_INLINE void magnitudes_of(int32_t type, const void *source, int64_t count, int64_t block, float *magnitude) {
    for (int64_t from = 0; from < count; from += block)
        *magnitude++ = magnitude_of(type, source, from, block_end(from, count, block));
}

static void magnitudes(int32_t type, const void *source, int64_t count, int64_t block, float *magnitude) {
    switch (type) {
    case KRN_TYPE_F32: magnitudes_of(KRN_TYPE_F32, source, count, block, magnitude); break;
    case KRN_TYPE_F16: magnitudes_of(KRN_TYPE_F16, source, count, block, magnitude); break;
    default: magnitudes_of(KRN_TYPE_BF16, source, count, block, magnitude); break;
    }
}

KRN_ALWAYS_INLINE void extents_of(int32_t type, const void *source, int64_t count, int64_t block, float *lowest,
                                  float *highest) {
    for (int64_t from = 0; from < count; from += block) {
        const int64_t to = block_end(from, count, block);
        const lanes_f start =
            to - from < STEP ? load_rest(type, source, from, to - from) : load_lanes(type, source, from);
        lanes_f low[2] = {start, start}, high[2] = {start, start};
        int64_t i = from + STEP;
        for (; i + 2 * STEP <= to; i += 2 * STEP) {
            KRN_UNROLL
            for (int u = 0; u < 2; u++) {
                const lanes_f x = load_lanes(type, source, i + u * STEP);
                low[u] = lower_f(low[u], x);
                high[u] = higher_f(high[u], x);
            }
        }
        for (; i < to; i += STEP) {
            const lanes_f x = to - i < STEP ? load_rest(type, source, i, to - i) : load_lanes(type, source, i);
            low[0] = lower_f(low[0], x);
            high[0] = higher_f(high[0], x);
        }
        *lowest++ = lowest_f(lower_f(low[0], low[1]));
        *highest++ = highest_f(higher_f(high[0], high[1]));
    }
}

static void extents(int32_t type, const void *source, int64_t count, int64_t block, float *lowest, float *highest) {
    switch (type) {
    case KRN_TYPE_F32: extents_of(KRN_TYPE_F32, source, count, block, lowest, highest); break;
    case KRN_TYPE_F16: extents_of(KRN_TYPE_F16, source, count, block, lowest, highest); break;
    default: extents_of(KRN_TYPE_BF16, source, count, block, lowest, highest); break;
    }
}

typedef struct {
    lanes_f inverse, low, high;
    lanes_i zero, low_byte;
    /* The zero point in every byte. */
    lanes_codes zero_codes;
} lanes_encoder;

/* Codes in the low bytes of lanes. The other bytes are 0, so that a saturating pack keeps the codes. */
KRN_ALWAYS_INLINE lanes_i encode_lanes(const lanes_encoder *e, lanes_f x) {
    const lanes_f clamped = lower_f(higher_f(mul_f(x, e->inverse), e->low), e->high);
    return and_i(add_i32(round_i32(clamped), e->zero), e->low_byte);
}

/* UNROLL steps from source[i] on. */
KRN_ALWAYS_INLINE lanes_codes encode_steps(const lanes_encoder *e, int32_t type, const void *source, int64_t i) {
    lanes_i q[UNROLL];
    KRN_UNROLL
    for (int u = 0; u < UNROLL; u++)
        q[u] = encode_lanes(e, load_lanes(type, source, i + u * STEP));
    return narrow_codes(q);
}

/* The same where clamping does nothing. */
KRN_ALWAYS_INLINE lanes_codes encode_unclipped(const lanes_encoder *e, int32_t type, const void *source, int64_t i) {
    lanes_i q[UNROLL];
    KRN_UNROLL
    for (int u = 0; u < UNROLL; u++)
        q[u] = round_i32(mul_f(load_lanes(type, source, i + u * STEP), e->inverse));
    return add_codes(narrow_signed(q), e->zero_codes);
}

/* The steps of a block that are whole; where the rest begins. */
KRN_ALWAYS_INLINE int64_t encode_whole(const lanes_encoder *e, int32_t type, int is_unclipped, int stream,
                                       const void *source, const krn_ahead *ahead, int64_t from, int64_t to,
                                       uint8_t *codes) {
    int64_t i = from;
    for (; i + UNROLL * STEP <= to; i += UNROLL * STEP) {
        krn_prefetch_ahead(ahead, i, UNROLL * STEP);
        const lanes_codes bytes =
            is_unclipped ? encode_unclipped(e, type, source, i) : encode_steps(e, type, source, i);
        if (stream)
            stream_codes(codes + i, bytes);
        else
            store_codes(codes + i, bytes);
    }
    return i;
}

KRN_ALWAYS_INLINE void encode_of(int32_t type, const void *source, krn_memory_hints hints, int64_t count, int64_t block,
                                 const krn_block_encoder *encoders, uint8_t *codes) {
    for (int64_t from = 0; from < count; from += block, encoders++) {
        const int64_t to = block_end(from, count, block);
        const lanes_encoder e = {
            .inverse = broadcast_f32(encoders->inverse),
            .low = broadcast_f32(encoders->low),
            .high = broadcast_f32(encoders->high),
            .zero = broadcast_i32(encoders->zero),
            .zero_codes = broadcast_code(encoders->zero),
            .low_byte = broadcast_i32(0xFF),
        };
        const int stream = hints.stream && (uintptr_t)(codes + from) % (UNROLL * STEP) == 0;
        int64_t i;
        if (encoders->is_unclipped)
            i = stream ? encode_whole(&e, type, 1, 1, source, &hints.ahead, from, to, codes)
                       : encode_whole(&e, type, 1, 0, source, &hints.ahead, from, to, codes);
        else
            i = stream ? encode_whole(&e, type, 0, 1, source, &hints.ahead, from, to, codes)
                       : encode_whole(&e, type, 0, 0, source, &hints.ahead, from, to, codes);
        if (i < to)
            krn_prefetch_ahead(&hints.ahead, i, to - i);
        for (; i < to; i += STEP) {
            const int64_t n = to - i < STEP ? to - i : STEP;
            const lanes_f x = n < STEP ? load_rest(type, source, i, n) : load_lanes(type, source, i);
            store_codes_rest(codes + i, n, encode_lanes(&e, x));
        }
    }
}

static void encode(int32_t type, const void *source, krn_memory_hints hints, int64_t count, int64_t block,
                   const krn_block_encoder *encoders, uint8_t *codes) {
    switch (type) {
    case KRN_TYPE_F32: encode_of(KRN_TYPE_F32, source, hints, count, block, encoders, codes); break;
    case KRN_TYPE_F16: encode_of(KRN_TYPE_F16, source, hints, count, block, encoders, codes); break;
    default: encode_of(KRN_TYPE_BF16, source, hints, count, block, encoders, codes); break;
    }
}

typedef struct {
    lanes_f scale;
    lanes_i zero;
} lanes_decoder;

KRN_ALWAYS_INLINE lanes_f decode_lanes(const lanes_decoder *d, lanes_i codes) {
    return mul_f(to_f32(sub_i32(codes, d->zero)), d->scale);
}

KRN_ALWAYS_INLINE void decode_of(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block,
                                 const krn_block_decoder *decoders, int32_t type, void *target) {
    for (int64_t from = 0; from < count; from += block, decoders++) {
        const int64_t to = block_end(from, count, block);
        const lanes_decoder d = {
            .scale = broadcast_f32(decoders->scale),
            .zero = broadcast_i32(decoders->zero),
        };
        int64_t i = from;
        for (; i + STEP <= to; i += STEP)
            store_lanes(type, target, i, decode_lanes(&d, load_codes(codes + i, flip)));
        if (i < to)
            store_rest(type, target, i, to - i, decode_lanes(&d, load_codes_rest(codes + i, to - i, flip)));
    }
}

static void decode(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block, const krn_block_decoder *decoders,
                   int32_t type, void *target) {
    switch (type) {
    case KRN_TYPE_F32: decode_of(codes, flip, count, block, decoders, KRN_TYPE_F32, target); break;
    case KRN_TYPE_F16: decode_of(codes, flip, count, block, decoders, KRN_TYPE_F16, target); break;
    default: decode_of(codes, flip, count, block, decoders, KRN_TYPE_BF16, target); break;
    }
}

/* How many of the 15 ascending midpoints lie below each element, by bisection: 4 lookups instead of 15 comparisons. */
KRN_ALWAYS_INLINE lanes_i nearest_entries(lanes_table midpoints, lanes_f scaled) {
    lanes_i code = broadcast_i32(0);
    KRN_UNROLL
    for (int half = 8; half > 0; half /= 2) {
        const lanes_f middle = entries_at(midpoints, add_i32(code, broadcast_i32(half - 1)));
        code = add_where_greater(code, broadcast_i32(half), scaled, middle);
    }
    return code;
}

static void encode_nearest(int32_t type, const void *source, int64_t count, int64_t block,
                           const krn_block_encoder *encoders, const float *midpoints, uint8_t *codes) {
    const lanes_table table = load_table(midpoints);
    for (int64_t from = 0; from < count; from += block, encoders++) {
        const int64_t to = block_end(from, count, block);
        const lanes_f inverse = broadcast_f32(encoders->inverse);
        for (int64_t i = from; i < to; i += STEP) {
            const int64_t n = to - i < STEP ? to - i : STEP;
            const lanes_f x = n < STEP ? load_rest(type, source, i, n) : load_lanes(type, source, i);
            store_codes_rest(codes + i, n, nearest_entries(table, mul_f(x, inverse)));
        }
    }
}

static void decode_entries(const uint8_t *codes, int64_t count, int64_t block, const krn_block_decoder *decoders,
                           const float *codebook, int32_t type, void *target) {
    const lanes_table table = load_table(codebook);
    for (int64_t from = 0; from < count; from += block, decoders++) {
        const int64_t to = block_end(from, count, block);
        const lanes_f scale = broadcast_f32(decoders->scale);
        int64_t i = from;
        for (; i + STEP <= to; i += STEP)
            store_lanes(type, target, i, mul_f(entries_at(table, load_codes(codes + i, 0)), scale));
        if (i < to)
            store_rest(type, target, i, to - i, mul_f(entries_at(table, load_codes_rest(codes + i, to - i, 0)), scale));
    }
}

/* A register holds PAIRED_CODES codes, one per byte. A 16-bit lane is a pair of them, the even one in its low byte. */

static void pack_nibbles(const uint8_t *codes, int64_t count, uint8_t *packed) {
    const lanes_i low = broadcast_i32(0x000F000F), high = broadcast_i32(0x00F000F0);
    int64_t i = 0;
    for (; i + PAIRED_CODES <= count; i += PAIRED_CODES) {
        const lanes_i pairs = load_i(codes + i);
        store_low_bytes_i16(packed + i / 2, or_i(and_i(pairs, low), and_i(nibble_down_i16(pairs), high)));
    }
    if (i < count)
        krn_quantize_ref.pack_nibbles(codes + i, count - i, packed + i / 2);
}

static void unpack_nibbles(const uint8_t *packed, int64_t count, uint8_t *codes) {
    const lanes_i low = broadcast_i32(0x000F000F), high = broadcast_i32(0x00F000F0);
    int64_t i = 0;
    for (; i + PAIRED_CODES <= count; i += PAIRED_CODES) {
        const lanes_i pairs = widen_u8_i16(packed + i / 2);
        store_i(codes + i, or_i(and_i(pairs, low), nibble_up_i16(and_i(pairs, high))));
    }
    if (i < count)
        krn_quantize_ref.unpack_nibbles(packed + i / 2, count - i, codes + i);
}

#endif
