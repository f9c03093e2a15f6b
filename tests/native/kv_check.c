/* What is in a cache against the model: through krn_kv_cache_read, and element by element, by the drawing in
 * kv_layout.h. */
#include "kv_case.h"

#include "kv_cache/kv_cache_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float nearest_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    float low, high;
    const uint32_t below = bits & 0xFFFF0000u, above = below + 0x10000u;
    memcpy(&low, &below, sizeof low);
    memcpy(&high, &above, sizeof high);
    const double to_low = fabs((double)x - (double)low), to_high = fabs((double)high - (double)x);
    if (!isfinite(high) || to_low < to_high)
        return low;
    return to_high < to_low || (above >> 16) % 2 == 0 ? high : low;
}

static float f8_value(int code) {
    const int exponent = code >> 3 & 15, fraction = code & 7;
    return exponent == 0 ? ldexpf((float)fraction, -9) : ldexpf((float)(8 + fraction), exponent - 10);
}

/* Ties go to the even code. Every element that is checked comes here: the values are computed once. */
static float nearest_f8(float x) {
    enum { LARGEST = 0x7E };
    static float values[LARGEST + 1];
    if (values[LARGEST] == 0)
        for (int code = 0; code <= LARGEST; code++)
            values[code] = f8_value(code);
    const double magnitude = fabs((double)x);
    int low = 0, high = LARGEST;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if ((double)values[middle] <= magnitude)
            low = middle;
        else
            high = middle;
    }
    const double to_low = magnitude - (double)values[low], to_high = fabs((double)values[high] - magnitude);
    const float nearest = to_low < to_high || (to_low == to_high && low % 2 == 0) ? values[low] : values[high];
    return x < 0 ? -nearest : nearest;
}

static void expect_scale(int32_t type, float scale, int32_t zero_point, int64_t count, const float *x, float *expected);

/* By a scale of their own. */
static void expect_own_scale(int32_t type, int64_t count, const float *x, float *expected) {
    if (type == KRN_TYPE_F8E4M3) {
        float largest = 0;
        for (int64_t i = 0; i < count; i++)
            largest = fmaxf(largest, fabsf(x[i]));
        expect_scale(type, largest / 448, 0, count, x, expected);
        return;
    }
    const krn_quantize_options options = {.struct_size = sizeof options,
                                          .type = type,
                                          .granularity = KRN_GRANULARITY_TOKEN,
                                          .asymmetric = type == KRN_TYPE_U4};
    uint8_t codes[512];
    float scale;
    int32_t zero_point;
    CHECK_OK(krn_quantize(kv_reference(), &options, 1, count, KRN_TYPE_F32, x, count, codes, 512, &scale, &zero_point,
                          NULL));
    CHECK_OK(krn_dequantize(kv_reference(), &options, 1, count, codes, 512, &scale, &zero_point, KRN_TYPE_F32, expected,
                            count));
}

/* By a scale that is given; 0 for one of their own. */
static void expect_scale(int32_t type, float scale, int32_t zero_point, int64_t count, const float *x,
                         float *expected) {
    if (kv_has_scales(type) && !(scale > 0)) {
        if (type == KRN_TYPE_F8E4M3)
            memset(expected, 0, (size_t)count * sizeof *expected);
        else
            expect_own_scale(type, count, x, expected);
        return;
    }
    const int32_t q = type == KRN_TYPE_S8 ? 127 : 7;
    const float low = (float)(type == KRN_TYPE_U4 ? -zero_point : -q);
    const float high = (float)(type == KRN_TYPE_U4 ? 15 - zero_point : q);
    const float inverse = 1.0f / scale;
    for (int64_t i = 0; i < count; i++) {
        const float scaled = x[i] * inverse;
        switch (type) {
        case KRN_TYPE_F32: expected[i] = x[i]; break;
        case KRN_TYPE_BF16: expected[i] = nearest_bf16(x[i]); break;
        case KRN_TYPE_F8E4M3: expected[i] = nearest_f8(scaled) * scale; break;
        default: expected[i] = rintf(fminf(fmaxf(scaled, low), high)) * scale; break;
        }
    }
}

static void expect_row(int32_t type, const float *scales, const int32_t *zero_points, int32_t head, int64_t dim,
                       const float *x, float *expected) {
    if (type == KRN_TYPE_F8E4M3 && scales == NULL)
        expect_own_scale(type, dim, x, expected);
    else
        expect_scale(type, scales == NULL ? 0 : scales[head], zero_points == NULL ? 8 : zero_points[head], dim, x,
                     expected);
}

/* The keys of a sequence as stored: x^ of every token, in groups or one by one. */
void kv_expect_keys(const kv_case *c, const kv_sequence *s, float *expected) {
    const krn_kv_cache_desc *d = &c->desc;
    const int64_t dim = d->head_dim;
    memcpy(expected, s->keys, (size_t)(s->length * c->width) * sizeof *expected);
    if (d->key_granularity != KRN_KV_CHANNEL) {
        for (int64_t t = 0; t < s->length; t++)
            for (int32_t h = 0; h < d->kv_heads; h++)
                expect_row(d->key_type, d->key_scales, d->key_zero_points, h, dim, s->keys + t * c->width + h * dim,
                           expected + t * c->width + h * dim);
        return;
    }
    for (int64_t g = 0; g + d->key_group <= s->length; g += d->key_group)
        for (int64_t e = 0; e < c->width; e++) {
            float in[128], out[128];
            for (int32_t i = 0; i < d->key_group; i++)
                in[i] = s->keys[(g + i) * c->width + e];
            expect_own_scale(d->key_type, d->key_group, in, out);
            for (int32_t i = 0; i < d->key_group; i++)
                expected[(g + i) * c->width + e] = out[i];
        }
}

static void expect_values(const kv_case *c, const kv_sequence *s, float *expected) {
    const krn_kv_cache_desc *d = &c->desc;
    const int64_t dim = d->head_dim;
    for (int64_t t = 0; t < s->length; t++)
        for (int32_t h = 0; h < d->kv_heads; h++)
            expect_row(d->value_type, d->value_scales, d->value_zero_points, h, dim, s->values + t * c->width + h * dim,
                       expected + t * c->width + h * dim);
}

/* One element of a page by the drawing. `at` is where the head's section of codes begins, T and D as there. */
typedef struct {
    int32_t type;
    int is_key;
    int64_t T, d, D;
} section;

static int64_t bits_of(int32_t type) {
    switch (type) {
    case KRN_TYPE_F32: return 32;
    case KRN_TYPE_BF16: return 16;
    case KRN_TYPE_S4:
    case KRN_TYPE_U4: return 4;
    default: return 8;
    }
}

static int64_t codes_bytes(const section *s) { return s->T * (s->is_key ? s->d : s->D) * bits_of(s->type) / 8; }

/* A code, or a float, times 1: value before the scale. */
static double element(const section *s, const uint8_t *codes, int64_t t, int64_t c, int32_t zero_point) {
    const int64_t bits = bits_of(s->type), block = t / 16 * 16 * s->d;
    const int64_t per_dword = 32 / bits;
    /* The dword, and its part. */
    const int64_t dword = s->is_key ? block * bits / 32 + c / per_dword * 16 + t % 16 : t / per_dword * s->D + c;
    const int64_t part = s->is_key ? c % per_dword : t % per_dword;
    uint32_t word;
    memcpy(&word, codes + dword * 4, sizeof word);
    if (bits == 32) {
        float value;
        memcpy(&value, &word, sizeof value);
        return (double)value;
    }
    if (bits == 16) {
        word = part ? word & 0xFFFF0000u : word << 16;
        float value;
        memcpy(&value, &word, sizeof value);
        return (double)value;
    }
    if (bits == 4)
        return (double)((int32_t)(word >> (part % 4 * 8 + part / 4 * 4) & 15) -
                        (s->type == KRN_TYPE_U4 ? zero_point : 8));
    const int32_t code = (int32_t)(word >> (part * 8) & 255);
    if (s->type == KRN_TYPE_F8E4M3)
        return (double)(code & 128 ? -f8_value(code & 127) : f8_value(code & 127));
    return s->is_key ? code - 128 : (double)(int8_t)code;
}

/* Scale and zero point of an element. */
static float scale_of(const kv_case *c, const section *s, const uint8_t *scales, int32_t h, int64_t t, int64_t channel,
                      int32_t *zero_point) {
    const krn_kv_cache_desc *d = &c->desc;
    const int32_t granularity = s->is_key ? d->key_granularity : d->value_granularity;
    if (!kv_has_scales(s->type))
        return 1;
    if (granularity == KRN_KV_STATIC) {
        const int32_t *zero_points = s->is_key ? d->key_zero_points : d->value_zero_points;
        *zero_point = zero_points == NULL ? 8 : zero_points[h];
        return s->is_key ? d->key_scales[h] : d->value_scales[h];
    }
    int64_t index = t, count = s->T;
    if (granularity == KRN_KV_CHANNEL) {
        scales += t / d->key_group * (s->d * 4 + (s->type == KRN_TYPE_U4 ? s->D : 0));
        index = channel;
        count = s->d;
    }
    float scale;
    memcpy(&scale, scales + index * 4, sizeof scale);
    *zero_point = scales[count * 4 + index];
    return scale;
}

static int64_t scales_bytes(const kv_case *c, const section *s) {
    const krn_kv_cache_desc *d = &c->desc;
    const int32_t granularity = s->is_key ? d->key_granularity : d->value_granularity;
    if (!kv_has_scales(s->type) || granularity == KRN_KV_STATIC)
        return 0;
    if (granularity == KRN_KV_CHANNEL)
        return s->T / d->key_group * (s->d * 4 + (s->type == KRN_TYPE_U4 ? s->D : 0));
    return s->T * (s->type == KRN_TYPE_U4 ? 5 : 4);
}

static void check_pages(const kv_case *c, const krn_kv_cache *cache, int32_t sequence, int64_t length,
                        const float *expected_keys, const float *expected_values) {
    const krn_kv_cache_desc *d = &c->desc;
    const int64_t T = d->page_tokens, D = (d->head_dim + 15) / 16 * 16;
    const section keys = {d->key_type, 1, T, d->head_dim, D}, values = {d->value_type, 0, T, d->head_dim, D};
    const int64_t key_scales = codes_bytes(&keys), value_codes = key_scales + scales_bytes(c, &keys);
    const int64_t value_scales = value_codes + codes_bytes(&values);
    const int64_t head_bytes = (value_scales + scales_bytes(c, &values) + 63) / 64 * 64;
    int32_t table[64];
    int64_t count;
    CHECK_OK(krn_kv_cache_table(cache, sequence, 64, table, &count));
    const int64_t paged = d->key_granularity == KRN_KV_CHANNEL ? length - length % d->key_group : length;
    for (int64_t t = 0; t < length; t++)
        for (int32_t h = 0; h < d->kv_heads; h++)
            for (int64_t e = 0; e < d->head_dim; e++) {
                const uint8_t *head = cache->pool + (table[t / T] * d->kv_heads + h) * head_bytes;
                const float key = expected_keys[t * c->width + h * d->head_dim + e];
                const float value = expected_values[t * c->width + h * d->head_dim + e];
                int32_t zero = 0;
                if (t < paged) {
                    const float scale = scale_of(c, &keys, head + key_scales, h, t % T, e, &zero);
                    const float found = (float)element(&keys, head, t % T, e, zero) * scale;
                    CHECK(found == key, "type %d by %d: key %lld, %d, %lld is %g in its page, expected %g", d->key_type,
                          d->key_granularity, (long long)t, h, (long long)e, (double)found, (double)key);
                } else {
                    const int64_t at = t - paged;
                    const float found = krn_kv_tail(cache, sequence, h)[at / 16 * 16 * d->head_dim + e * 16 + at % 16];
                    CHECK(found == key, "key %lld, %d, %lld is %g in the tail, expected %g", (long long)t, h,
                          (long long)e, (double)found, (double)key);
                }
                const float scale = scale_of(c, &values, head + value_scales, h, t % T, e, &zero);
                const float found = (float)element(&values, head + value_codes, t % T, e, zero) * scale;
                CHECK(found == value, "value %lld, %d, %lld is %g in its page, expected %g", (long long)t, h,
                      (long long)e, (double)found, (double)value);
            }
}

static void check_read(const kv_model *model, krn_context *context, const krn_kv_cache *cache, int32_t sequence,
                       const float *expected_keys, const float *expected_values) {
    const kv_case *c = model->c;
    const kv_sequence *s = &model->sequences[sequence];
    const int64_t ld = c->width + 3, elems = s->length == 0 ? 0 : s->length * ld - 3;
    float *keys = guarded_allocate(elems * 4, GUARD_END), *values = guarded_allocate(elems * 4, GUARD_START);
    CHECK_OK(krn_kv_cache_read(context, cache, sequence, 0, s->length, KRN_TYPE_F32, keys, ld, values, ld));
    for (int64_t t = 0; t < s->length; t++)
        for (int64_t e = 0; e < c->width; e++) {
            const float key = expected_keys[t * c->width + e] + (c->desc.center_keys ? s->mean[e] : 0.0f);
            CHECK(keys[t * ld + e] == key, "key %lld, %lld reads as %g, expected %g", (long long)t, (long long)e,
                  (double)keys[t * ld + e], (double)key);
            CHECK(values[t * ld + e] == expected_values[t * c->width + e], "value %lld, %lld reads as %g, expected %g",
                  (long long)t, (long long)e, (double)values[t * ld + e], (double)expected_values[t * c->width + e]);
        }
}

void kv_model_check(const kv_model *model, krn_context *context, const krn_kv_cache *cache, int32_t sequence) {
    const kv_case *c = model->c;
    const kv_sequence *s = &model->sequences[sequence];
    int64_t length;
    CHECK_OK(krn_kv_cache_length(cache, sequence, &length));
    CHECK(length == s->length, "sequence %d has %lld tokens, expected %lld", sequence, (long long)length,
          (long long)s->length);
    const size_t bytes = (size_t)(length * c->width + 1) * sizeof(float);
    float *keys = malloc(bytes), *values = malloc(bytes);
    CHECK(keys != NULL && values != NULL, "out of memory");
    kv_expect_keys(c, s, keys);
    expect_values(c, s, values);
    check_pages(c, cache, sequence, length, keys, values);
    if (c->desc.rotate_keys)
        kv_rotate_heads(c, keys, length, 1);
    check_read(model, context, cache, sequence, keys, values);
    free(keys);
    free(values);
}
