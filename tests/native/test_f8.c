/* FP8 E4M3: every code, every float where rounding changes its mind, and every half through the cache at every
 * level. */
#include "check.h"

#include "common/f8.h"

#include <math.h>
#include <string.h>

/* By the definition. */
static double value_of(int code) {
    const int exponent = code >> 3 & 15, fraction = code & 7;
    const double magnitude = exponent == 0 ? ldexp(fraction, -9) : ldexp(8 + fraction, exponent - 10);
    return code & 128 ? -magnitude : magnitude;
}

static void widens_every_code(void) {
    for (int code = 0; code < 256; code++) {
        const float x = krn_f8_to_f32((uint8_t)code);
        if ((code & 127) == 127) {
            CHECK(isnan(x) && !signbit(x) == !(code & 128), "code %d is %g", code, (double)x);
        } else {
            CHECK((double)x == value_of(code) && !signbit(x) == !(code & 128), "code %d is %g", code, (double)x);
        }
        CHECK(krn_f32_to_f8(x) == code, "code %d comes back as %d", code, krn_f32_to_f8(x));
    }
}

/* The nearest code by trying all; of two the even one. */
static int nearest(float x) {
    int best = 0;
    for (int code = 1; code < 127; code++) {
        const double now = fabs(fabs((double)x) - value_of(code)), then = fabs(fabs((double)x) - value_of(best));
        if (now < then || (now == then && code % 2 == 0))
            best = code;
    }
    return best | (signbit(x) ? 128 : 0);
}

static void check(float x) {
    for (int sign = 0; sign < 2; sign++, x = -x)
        CHECK(krn_f32_to_f8(x) == nearest(x), "%.9g becomes %d, expected %d", (double)x, krn_f32_to_f8(x), nearest(x));
}

static void narrows_to_the_nearest(void) {
    /* Every float with 15 bits of fraction or fewer, and the floats around every border between two codes. */
    for (uint32_t upper = 0; upper < 0x7F80; upper++)
        check(krn_f32_from_bits(upper << 16));
    for (int code = 0; code < 126; code++) {
        const float border = (float)((value_of(code) + value_of(code + 1)) / 2);
        for (int step = -3; step <= 3; step++)
            check(krn_f32_from_bits(krn_f32_bits(border) + (uint32_t)step));
    }
    check(448);
    check(464);
    check(nextafterf(464, 1000));
    check(3e38f);
    check(1e-45f);
    CHECK(krn_f32_to_f8(INFINITY) == 0x7E && krn_f32_to_f8(-INFINITY) == 0xFE, "infinity saturates");
    CHECK(krn_f32_to_f8(NAN) == 0x7F && krn_f32_to_f8(-NAN) == 0xFF, "NaN stays one");
}

/* All 63488 finite halves, scaled so that they meet every code and the ends. */
static void converts_in_the_cache(krn_context *context) {
    enum { DIM = 512, TOKENS = 124 };
    static uint16_t keys[TOKENS * DIM], values[TOKENS * DIM];
    static float read[TOKENS * DIM];
    uint16_t half = 0;
    for (int i = 0; i < TOKENS * DIM; i++, half++) {
        if ((half & 0x7C00) == 0x7C00)
            half = (uint16_t)(half + 0x400);
        keys[i] = half;
        values[TOKENS * DIM - 1 - i] = half;
    }
    for (int exponent = -3; exponent <= 9; exponent += 4) {
        const float scale = ldexpf(1.5f, exponent), inverse = 1 / scale;
        const krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                                        .sequences = 1,
                                        .kv_heads = 1,
                                        .head_dim = DIM,
                                        .max_tokens = TOKENS,
                                        .page_tokens = 32,
                                        .key_type = KRN_TYPE_F8E4M3,
                                        .value_type = KRN_TYPE_F8E4M3,
                                        .key_granularity = KRN_KV_STATIC,
                                        .value_granularity = KRN_KV_STATIC,
                                        .key_scales = &scale,
                                        .value_scales = &scale};
        const krn_kv_append_options options = {
            .struct_size = sizeof options, .source_type = KRN_TYPE_F16, .key_ld = DIM, .value_ld = DIM};
        const int32_t sequence = 0;
        const int64_t tokens = TOKENS;
        krn_kv_cache *cache;
        CHECK_OK(krn_kv_cache_create(&desc, NULL, 0, &cache));
        CHECK_OK(krn_kv_cache_append(context, cache, 1, &sequence, &tokens, keys, values, &options));
        for (int side = 0; side < 2; side++) {
            const uint16_t *source = side == 0 ? keys : values;
            CHECK_OK(krn_kv_cache_read(context, cache, 0, 0, TOKENS, KRN_TYPE_F32, side == 0 ? read : NULL, DIM,
                                       side == 0 ? NULL : read, DIM));
            for (int i = 0; i < TOKENS * DIM; i++) {
                const float expected = krn_f8_to_f32((uint8_t)nearest(krn_f16_to_f32(source[i]) * inverse)) * scale;
                CHECK(memcmp(&read[i], &expected, sizeof expected) == 0, "half %04x reads as %g, expected %g",
                      source[i], (double)read[i], (double)expected);
            }
        }
        krn_kv_cache_destroy(cache);
    }
}

int main(void) {
    int32_t levels[8];
    const int num_levels = tested_levels(levels);
    if (tests_reference()) {
        widens_every_code();
        narrows_to_the_nearest();
    }
    for (int l = 0; l < num_levels; l++) {
        krn_context *context = context_of(levels[l], 2);
        converts_in_the_cache(context);
        krn_context_destroy(context);
    }
    puts("f8: ok");
    return 0;
}
