/* The scalar reference of native/include/kernels/rope.h: it defines the bits. */
#include "common/convert.h"
#include "rope/rope_variants.h"

static void rotate(const krn_rope_heads *shape, const float *cos_sin, int32_t source_type, const void *source,
                   int32_t target_type, void *target) {
    const int64_t half = shape->rotary_dim / 2;
    const int is_half = shape->layout == KRN_ROPE_HALF;
    for (int64_t head = 0; head < shape->heads; head++) {
        const int64_t start = head * shape->head_dim;
        for (int64_t i = 0; i < half; i++) {
            const int64_t first = start + (is_half ? i : 2 * i);
            const int64_t second = start + (is_half ? i + half : 2 * i + 1);
            const float a = krn_float_at(source_type, source, first), b = krn_float_at(source_type, source, second);
            const float cosine = cos_sin[i], sine = cos_sin[half + i];
            krn_put_float(target_type, target, first, a * cosine - b * sine);
            krn_put_float(target_type, target, second, a * sine + b * cosine);
        }
        for (int64_t i = start + shape->rotary_dim; i < start + shape->head_dim; i++)
            krn_put_float(target_type, target, i, krn_float_at(source_type, source, i));
    }
}

const krn_rope_kernels krn_rope_ref = {.name = "ref", .features = 0, .rotate = rotate};
