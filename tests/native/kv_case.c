#include "kv_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_BF16, KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_F8E4M3};
static const int32_t head_dims[] = {64, 72, 80, 96, 128, 256, 8, 24, 120, 512};
enum { NUM_TYPES = 6, NUM_HEAD_DIMS = 10 };

int kv_has_scales(int32_t type) { return type != KRN_TYPE_F32 && type != KRN_TYPE_BF16; }

void kv_case_make(kv_case *c, test_random *random, int32_t key_type, int32_t value_type) {
    static const int64_t page_sizes[] = {16, 32, 64, 128};
    memset(c, 0, sizeof *c);
    krn_kv_cache_desc *d = &c->desc;
    d->struct_size = sizeof *d;
    d->sequences = (int32_t)random_between(random, 1, KV_MAX_SEQUENCES);
    d->kv_heads = (int32_t)random_between(random, 1, KV_MAX_HEADS);
    d->head_dim = head_dims[random_between(random, 0, NUM_HEAD_DIMS - 1)];
    d->max_tokens = random_between(random, 1, 260);
    d->page_tokens = page_sizes[random_between(random, 0, 3)];
    if (random_between(random, 0, 4) == 0)
        d->page_tokens = (d->max_tokens + 15) / 16 * 16 + 16 * random_between(random, 0, 2);
    d->key_type = key_type >= 0 ? key_type : types[random_between(random, 0, NUM_TYPES - 1)];
    d->value_type = value_type >= 0 ? value_type : types[random_between(random, 0, NUM_TYPES - 1)];
    if (kv_has_scales(d->key_type))
        d->key_granularity = (int32_t)random_between(random, 0, 2);
    if (d->key_type == KRN_TYPE_F8E4M3 && d->key_granularity == KRN_KV_CHANNEL)
        d->key_granularity = KRN_KV_STATIC;
    if (kv_has_scales(d->value_type) && random_between(random, 0, 1))
        d->value_granularity = KRN_KV_STATIC;
    if (d->key_granularity == KRN_KV_CHANNEL) {
        d->key_group = 16 * (int32_t)random_between(random, 1, d->page_tokens < 128 ? d->page_tokens / 16 : 8);
        while (d->page_tokens % d->key_group != 0)
            d->key_group -= 16;
    }
    d->center_keys = (int32_t)random_between(random, 0, 2) == 0;
    d->rotate_keys = (int32_t)random_between(random, 0, 2) == 0;
    for (int h = 0; h < KV_MAX_HEADS; h++) {
        c->key_scales[h] = 0.004f * (float)random_between(random, 1, 40);
        c->value_scales[h] = 0.004f * (float)random_between(random, 1, 40);
        c->key_zero_points[h] = (int32_t)random_between(random, 0, 15);
        c->value_zero_points[h] = (int32_t)random_between(random, 0, 15);
    }
    if (d->key_granularity == KRN_KV_STATIC) {
        d->key_scales = c->key_scales;
        d->key_zero_points = d->key_type == KRN_TYPE_U4 && random_between(random, 0, 1) ? c->key_zero_points : NULL;
    }
    if (d->value_granularity == KRN_KV_STATIC) {
        d->value_scales = c->value_scales;
        d->value_zero_points =
            d->value_type == KRN_TYPE_U4 && random_between(random, 0, 1) ? c->value_zero_points : NULL;
    }
    c->width = (int64_t)d->kv_heads * d->head_dim;
}

krn_kv_cache *kv_case_create(const kv_case *c, guard_side side, void **memory, int64_t *bytes) {
    krn_kv_cache_sizes sizes = {.struct_size = sizeof sizes};
    CHECK_OK(krn_kv_cache_bytes(&c->desc, &sizes));
    *bytes = sizes.total;
    *memory = guarded_allocate(sizes.total, side);
    krn_kv_cache *cache = NULL;
    CHECK_OK(krn_kv_cache_create(&c->desc, *memory, sizes.total, &cache));
    return cache;
}

static float *allocate_floats(int64_t count) {
    float *floats = calloc((size_t)count, sizeof *floats);
    CHECK(floats != NULL, "out of memory");
    return floats;
}

void kv_model_make(kv_model *model, const kv_case *c) {
    memset(model, 0, sizeof *model);
    model->c = c;
    for (int32_t s = 0; s < c->desc.sequences; s++) {
        model->sequences[s].keys = allocate_floats(c->desc.max_tokens * c->width);
        model->sequences[s].values = allocate_floats(c->desc.max_tokens * c->width);
        model->sequences[s].mean = allocate_floats(c->width);
    }
}

void kv_model_free(kv_model *model) {
    for (int32_t s = 0; s < KV_MAX_SEQUENCES; s++) {
        free(model->sequences[s].keys);
        free(model->sequences[s].values);
        free(model->sequences[s].mean);
    }
}

/* Batches. */

static void fill(test_random *random, int32_t type, void *data, int64_t count) {
    const int zeros = random_between(random, 0, 9) == 0;
    for (int64_t i = 0; i < count; i++) {
        const float x = zeros && i % 3 != 0 ? 0.0f : random_activation(random);
        if (type == KRN_TYPE_F32) {
            ((float *)data)[i] = x;
        } else {
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            /* Any finite half will do: f16 with a middling exponent, bf16 the upper half of a float. */
            ((uint16_t *)data)[i] =
                type == KRN_TYPE_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)((bits >> 16 & 0x83FF) | 0x3000);
        }
    }
}

void kv_batch_make(kv_batch *batch, const kv_model *model, test_random *random, int64_t max_tokens) {
    static const int32_t source_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    const krn_kv_cache_desc *d = &model->c->desc;
    memset(batch, 0, sizeof *batch);
    for (int32_t s = 0; s < d->sequences; s++) {
        const int64_t room = d->max_tokens - model->sequences[s].length;
        const int64_t most = room < max_tokens ? room : max_tokens;
        if (random_between(random, 0, 1) || most == 0)
            continue;
        batch->sequences[batch->count] = s;
        batch->tokens[batch->count] = random_between(random, 0, random_between(random, 0, 1) ? 1 : most);
        batch->rows += batch->tokens[batch->count++];
    }
    if (batch->count > 1 && random_between(random, 0, 1)) {
        const int32_t s = batch->sequences[0];
        const int64_t t = batch->tokens[0];
        memmove(batch->sequences, batch->sequences + 1, (size_t)(batch->count - 1) * sizeof s);
        memmove(batch->tokens, batch->tokens + 1, (size_t)(batch->count - 1) * sizeof t);
        batch->sequences[batch->count - 1] = s;
        batch->tokens[batch->count - 1] = t;
    }
    const int64_t pad = random_between(random, 0, 1) * 5;
    const int32_t type = source_types[random_between(random, 0, 2)];
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    const guard_side side = random_between(random, 0, 1) ? GUARD_START : GUARD_END;
    batch->options = (krn_kv_append_options){.struct_size = sizeof batch->options,
                                             .source_type = type,
                                             .key_ld = model->c->width + pad,
                                             .value_ld = model->c->width + pad * 2};
    /* Without the padding of the last row. */
    const int64_t keys = batch->rows == 0 ? 0 : batch->rows * batch->options.key_ld - pad;
    const int64_t values = batch->rows == 0 ? 0 : batch->rows * batch->options.value_ld - 2 * pad;
    batch->keys = guarded_allocate(keys * size, side);
    batch->values = guarded_allocate(values * size, side);
    fill(random, type, batch->keys, keys);
    fill(random, type, batch->values, values);
    if (random_between(random, 0, 2) == 0) {
        batch->rope = (krn_rope_options){.struct_size = sizeof batch->rope,
                                         .layout = (int32_t)random_between(random, 0, 1),
                                         .head_dim = d->head_dim,
                                         .rotary_dim = random_between(random, 0, 1) ? d->head_dim / 2 : 0};
        const int64_t width = batch->rope.rotary_dim == 0 ? d->head_dim : batch->rope.rotary_dim;
        const int own_positions = random_between(random, 0, 1) != 0;
        batch->options.first_position = own_positions ? 3 : 0;
        batch->options.position_count = own_positions ? 50 : d->max_tokens;
        float *table = guarded_allocate(batch->options.position_count * width * 4, side);
        CHECK_OK(krn_rope_table(&batch->rope, batch->options.first_position, batch->options.position_count, table));
        batch->options.cos_sin = table;
        batch->options.rope = &batch->rope;
        if (own_positions) {
            batch->positions = guarded_allocate(batch->rows * 4, side);
            for (int64_t i = 0; i < batch->rows; i++)
                batch->positions[i] = (int32_t)random_between(random, 3, 52);
            batch->options.positions = batch->positions;
        }
    }
}

krn_status kv_batch_append(const kv_batch *batch, krn_context *context, krn_kv_cache *cache) {
    return krn_kv_cache_append(context, cache, batch->count, batch->sequences, batch->tokens, batch->keys,
                               batch->values, &batch->options);
}

krn_context *kv_reference(void) {
    static krn_context *context;
    if (context == NULL)
        context = context_of(KRN_ISA_REF, 1);
    return context;
}

static float float_at(int32_t type, const void *data, int64_t index) {
    if (type == KRN_TYPE_F32)
        return ((const float *)data)[index];
    const uint16_t bits = ((const uint16_t *)data)[index];
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    if (type == KRN_TYPE_F16) { /* normal numbers alone (see fill) */
        value = ldexpf((float)((bits & 0x3FF) | 0x400), ((bits >> 10) & 31) - 25);
        return bits & 0x8000 ? -value : value;
    }
    memcpy(&value, &wide, sizeof value);
    return value;
}

void kv_rotate_heads(const kv_case *c, float *keys, int64_t rows, int inverse) {
    const krn_hadamard_options options = {
        .struct_size = sizeof options, .normalized = 1, .n = c->desc.head_dim, .inverse = inverse};
    int64_t bytes;
    CHECK_OK(krn_hadamard_workspace_size(kv_reference(), &options, &bytes));
    void *workspace;
    CHECK_OK(krn_memory_allocate(bytes, &workspace));
    CHECK_OK(krn_hadamard(kv_reference(), &options, rows, c->width, KRN_TYPE_F32, keys, c->width, keys, c->width,
                          workspace, bytes));
    krn_memory_free(workspace);
}

static void rotate_positions(const kv_batch *batch, const kv_case *c, int64_t row, int64_t length, int64_t count,
                             float *keys) {
    int32_t positions[512];
    for (int64_t i = 0; i < count; i++)
        positions[i] = batch->positions != NULL ? batch->positions[row + i] : (int32_t)(length + i);
    CHECK_OK(krn_rope(kv_reference(), &batch->rope, count, c->desc.kv_heads, KRN_TYPE_F32, keys, c->width, positions,
                      batch->options.cos_sin, batch->options.first_position, batch->options.position_count,
                      KRN_TYPE_F32, keys, c->width));
}

static void center(const kv_case *c, kv_sequence *s, int64_t count, float *keys) {
    for (int64_t e = 0; e < c->width; e++) {
        if (s->length == 0 && !s->mean_is_set) {
            float sum = 0;
            for (int64_t i = 0; i < count; i++)
                sum += keys[i * c->width + e];
            s->mean[e] = sum / (float)count;
        }
        for (int64_t i = 0; i < count; i++)
            keys[i * c->width + e] -= s->mean[e];
    }
}

void kv_model_append(kv_model *model, const kv_batch *batch) {
    const kv_case *c = model->c;
    int64_t row = 0;
    for (int64_t b = 0; b < batch->count; b++) {
        kv_sequence *s = &model->sequences[batch->sequences[b]];
        const int64_t count = batch->tokens[b];
        if (count == 0)
            continue;
        float *keys = s->keys + s->length * c->width, *values = s->values + s->length * c->width;
        for (int64_t i = 0; i < count; i++)
            for (int64_t e = 0; e < c->width; e++) {
                keys[i * c->width + e] =
                    float_at(batch->options.source_type, batch->keys, (row + i) * batch->options.key_ld + e);
                values[i * c->width + e] =
                    float_at(batch->options.source_type, batch->values, (row + i) * batch->options.value_ld + e);
            }
        if (batch->options.rope != NULL)
            rotate_positions(batch, c, row, s->length, count, keys);
        if (c->desc.center_keys)
            center(c, s, count, keys);
        if (c->desc.rotate_keys)
            kv_rotate_heads(c, keys, count, 0);
        s->length += count;
        row += count;
    }
}

void kv_model_truncate(kv_model *model, int32_t sequence, int64_t length) {
    const kv_case *c = model->c;
    kv_sequence *s = &model->sequences[sequence];
    const int64_t group = c->desc.key_group;
    if (c->desc.key_granularity == KRN_KV_CHANNEL && length % group != 0) {
        const int64_t start = length - length % group;
        if (start + group <= s->length) {
            float *expected = allocate_floats(s->length * c->width);
            kv_expect_keys(c, s, expected);
            memcpy(s->keys + start * c->width, expected + start * c->width,
                   (size_t)(group * c->width) * sizeof *expected);
            free(expected);
        }
    }
    s->length = length;
}

void kv_model_reset(kv_model *model, int32_t sequence) {
    model->sequences[sequence].length = 0;
    model->sequences[sequence].mean_is_set = 0;
}

void kv_model_fork(kv_model *model, int32_t source, int64_t length, int32_t target) {
    const kv_sequence *from = &model->sequences[source];
    kv_sequence *to = &model->sequences[target];
    const size_t bytes = (size_t)(from->length * model->c->width) * sizeof *from->keys;
    memcpy(to->keys, from->keys, bytes);
    memcpy(to->values, from->values, bytes);
    memcpy(to->mean, from->mean, (size_t)model->c->width * sizeof *from->mean);
    to->mean_is_set = from->mean_is_set;
    to->length = from->length;
    kv_model_truncate(model, target, length);
}
