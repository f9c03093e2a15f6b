/* The loops of RoPE, for a file that has defined lanes of its instruction set: LANES elements in `lanes_f`, and the
 * verbs load_lanes, store_lanes, load_some and store_some (the first n < LANES), pairs_lower, pairs_upper, swap_pairs
 * and subtract_add. */
#ifndef KRN_ROPE_LOOPS_H
#define KRN_ROPE_LOOPS_H

#include "rope/rope_variants.h"

KRN_ALWAYS_INLINE lanes_f load_upto(int32_t type, const void *source, int64_t at, int64_t n) {
    return n >= LANES ? load_lanes(type, source, at) : load_some(type, source, at, n);
}

KRN_ALWAYS_INLINE void store_upto(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    if (n >= LANES)
        store_lanes(type, target, at, value);
    else
        store_some(type, target, at, n, value);
}

/* Pairs i..i+n-1, n <= LANES, of a head that begins at element `start`. */
KRN_ALWAYS_INLINE void rotate_halves(int64_t start, int64_t i, int64_t n, int64_t half, const float *cos_sin,
                                     int32_t source_type, const void *source, int32_t target_type, void *target) {
    const lanes_f cosine = load_upto(KRN_TYPE_F32, cos_sin, i, n), sine = load_upto(KRN_TYPE_F32, cos_sin, half + i, n);
    const lanes_f a = load_upto(source_type, source, start + i, n);
    const lanes_f b = load_upto(source_type, source, start + half + i, n);
    store_upto(target_type, target, start + i, n, sub_f(mul_f(a, cosine), mul_f(b, sine)));
    store_upto(target_type, target, start + half + i, n, add_f(mul_f(a, sine), mul_f(b, cosine)));
}

/* `count` elements, pairs a b a b. Even lanes become a * cos - b * sin, odd ones b * cos + a * sin. */
KRN_ALWAYS_INLINE void rotate_pairs(int64_t at, int64_t count, lanes_f cosine, lanes_f sine, int32_t source_type,
                                    const void *source, int32_t target_type, void *target) {
    const lanes_f x = load_upto(source_type, source, at, count);
    store_upto(target_type, target, at, count, subtract_add(mul_f(x, cosine), mul_f(swap_pairs(x), sine)));
}

/* Pairs i..i+n-1, n <= LANES, of a head that begins at element `start`. */
KRN_ALWAYS_INLINE void rotate_interleaved(int64_t start, int64_t i, int64_t n, int64_t half, const float *cos_sin,
                                          int32_t source_type, const void *source, int32_t target_type, void *target) {
    const lanes_f cosine = load_upto(KRN_TYPE_F32, cos_sin, i, n), sine = load_upto(KRN_TYPE_F32, cos_sin, half + i, n);
    const int64_t at = start + 2 * i;
    rotate_pairs(at, 2 * n, pairs_lower(cosine), pairs_lower(sine), source_type, source, target_type, target);
    if (2 * n > LANES)
        rotate_pairs(at + LANES, 2 * n - LANES, pairs_upper(cosine), pairs_upper(sine), source_type, source,
                     target_type, target);
}

KRN_ALWAYS_INLINE void rotate_head(int32_t layout, const krn_rope_heads *shape, int64_t start, const float *cos_sin,
                                   int32_t source_type, const void *source, int32_t target_type, void *target) {
    const int64_t half = shape->rotary_dim / 2;
    int64_t i = 0;
    /* The whole steps apart from the last, so that they are free of masks. */
    for (; i + LANES <= half; i += LANES) {
        if (layout == KRN_ROPE_HALF)
            rotate_halves(start, i, LANES, half, cos_sin, source_type, source, target_type, target);
        else
            rotate_interleaved(start, i, LANES, half, cos_sin, source_type, source, target_type, target);
    }
    if (i < half) {
        if (layout == KRN_ROPE_HALF)
            rotate_halves(start, i, half - i, half, cos_sin, source_type, source, target_type, target);
        else
            rotate_interleaved(start, i, half - i, half, cos_sin, source_type, source, target_type, target);
    }
    for (i = shape->rotary_dim; i < shape->head_dim; i += LANES) {
        const int64_t n = shape->head_dim - i;
        store_upto(target_type, target, start + i, n, load_upto(source_type, source, start + i, n));
    }
}

KRN_ALWAYS_INLINE void rotate_heads(const krn_rope_heads *shape, const float *cos_sin, int32_t source_type,
                                    const void *source, int32_t target_type, void *target) {
    const int64_t end = shape->heads * shape->head_dim;
    if (shape->layout == KRN_ROPE_HALF) {
        for (int64_t start = 0; start < end; start += shape->head_dim)
            rotate_head(KRN_ROPE_HALF, shape, start, cos_sin, source_type, source, target_type, target);
    } else {
        for (int64_t start = 0; start < end; start += shape->head_dim)
            rotate_head(KRN_ROPE_INTERLEAVED, shape, start, cos_sin, source_type, source, target_type, target);
    }
}

KRN_ALWAYS_INLINE void rotate_from(const krn_rope_heads *shape, const float *cos_sin, int32_t source_type,
                                   const void *source, int32_t target_type, void *target) {
    switch (target_type) {
    case KRN_TYPE_F32: rotate_heads(shape, cos_sin, source_type, source, KRN_TYPE_F32, target); break;
    case KRN_TYPE_F16: rotate_heads(shape, cos_sin, source_type, source, KRN_TYPE_F16, target); break;
    default: rotate_heads(shape, cos_sin, source_type, source, KRN_TYPE_BF16, target); break;
    }
}

static void rotate(const krn_rope_heads *shape, const float *cos_sin, int32_t source_type, const void *source,
                   int32_t target_type, void *target) {
    switch (source_type) {
    case KRN_TYPE_F32: rotate_from(shape, cos_sin, KRN_TYPE_F32, source, target_type, target); break;
    case KRN_TYPE_F16: rotate_from(shape, cos_sin, KRN_TYPE_F16, source, target_type, target); break;
    default: rotate_from(shape, cos_sin, KRN_TYPE_BF16, source, target_type, target); break;
    }
}

#endif
