#include "attention_case.h"

#include "common/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 0x1p-24

static int is_integer(int32_t type) { return type == KRN_TYPE_S8 || type == KRN_TYPE_S4 || type == KRN_TYPE_U4; }

static float plain(test_random *random) { return (float)random_between(random, -1000, 1000) / 400.0f; }

static void make_description(attention_case *c, test_random *random, int32_t key_type, int32_t value_type) {
    static const int32_t dims[] = {64, 80, 96, 128, 8, 24, 40, 256, 120, 16};
    static const int64_t pages[] = {16, 32, 64, 128};
    krn_kv_cache_desc *d = &c->desc;
    *d = (krn_kv_cache_desc){
        .struct_size = sizeof *d,
        .sequences = ATTENTION_MAX_SEQUENCES,
        .kv_heads = (int32_t)random_between(random, 1, 3),
        .head_dim = dims[random_between(random, 0, 9)],
        .page_tokens = pages[random_between(random, 0, 3)],
        .key_type = key_type,
        .value_type = value_type,
        .center_keys = random_between(random, 0, 3) == 0,
    };
    d->rotate_keys = random_between(random, 0, 3) == 0 && krn_hadamard_supported(d->head_dim) == KRN_OK;
    if (is_integer(key_type) || key_type == KRN_TYPE_F8E4M3) {
        const int64_t kind = random_between(random, 0, 3);
        d->key_granularity = kind == 0                           ? KRN_KV_STATIC
                             : kind == 1 && is_integer(key_type) ? KRN_KV_CHANNEL
                                                                 : KRN_KV_TOKEN;
    }
    if ((is_integer(value_type) || value_type == KRN_TYPE_F8E4M3) && random_between(random, 0, 3) == 0)
        d->value_granularity = KRN_KV_STATIC;
    if (d->key_granularity == KRN_KV_CHANNEL)
        d->key_group = (int32_t)(d->page_tokens >> random_between(random, 0, d->page_tokens == 16 ? 0 : 1));
    for (int h = 0; h < 8; h++) {
        const float steps[] = {0, 0, 0, 0, 448};
        c->key_scales[h] = 3.0f / (key_type == KRN_TYPE_S8 ? 127 : key_type == KRN_TYPE_F8E4M3 ? steps[4] : 7);
        c->value_scales[h] = 2.0f / (value_type == KRN_TYPE_S8 ? 127 : value_type == KRN_TYPE_F8E4M3 ? steps[4] : 7);
    }
    d->key_scales = d->key_granularity == KRN_KV_STATIC ? c->key_scales : NULL;
    d->value_scales = d->value_granularity == KRN_KV_STATIC ? c->value_scales : NULL;
}

static void make_options(attention_case *c, test_random *random) {
    krn_attention_options *o = &c->options;
    *o = (krn_attention_options){
        .struct_size = sizeof *o,
        .heads = c->desc.kv_heads * (int32_t)random_between(random, 1, 9),
        .scale = random_between(random, 0, 1) ? 0 : 0.05f,
        .full = random_between(random, 0, 3) == 0,
        .softcap = random_between(random, 0, 3) == 0 ? 5.0f : 0,
    };
    if (random_between(random, 0, 2) == 0) {
        o->window = random_between(random, 1, 200);
        o->sink_tokens = random_between(random, 0, 1) ? random_between(random, 1, 20) : 0;
    }
    for (int h = 0; h < ATTENTION_MAX_HEADS; h++) {
        c->sink_logits[h] = h % 5 == 4 ? -INFINITY : plain(random);
        c->alibi_slopes[h] = 0.5f / (float)(1 + h);
    }
    o->sink_logits = random_between(random, 0, 3) == 0 ? c->sink_logits : NULL;
    o->alibi_slopes = random_between(random, 0, 3) == 0 ? c->alibi_slopes : NULL;
}

/* Widths of tensors are padded, and the padding holds NaN. */
static void make_query(attention_case *c, test_random *random) {
    static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    const int64_t width = (int64_t)c->options.heads * c->desc.head_dim;
    c->is_exact = random_between(random, 0, 1) != 0;
    c->query = (krn_attention_query){
        .struct_size = sizeof c->query,
        .type = types[random_between(random, 0, 2)],
        .ld = width + random_between(random, 0, 5),
    };
    c->output_type = types[random_between(random, 0, 2)];
    c->output_ld = width + random_between(random, 0, 5);
    const int64_t size = c->query.type == KRN_TYPE_F32 ? 4 : 2;
    const int64_t elems = c->tokens == 0 ? 0 : (c->tokens - 1) * c->query.ld + width;
    uint8_t *data = guarded_allocate(elems * size, random_between(random, 0, 1) ? GUARD_START : GUARD_END);
    memset(data, 0xFF, (size_t)(elems * size));
    for (int64_t t = 0; t < c->tokens; t++) {
        for (int64_t i = 0; i < width; i++) {
            float x = plain(random) * (random_between(random, 0, 40) == 0 ? 5.0f : 1.0f);
            if (c->is_exact)
                x = i % c->desc.head_dim == 3 ? 127.0f : (float)random_between(random, -127, 127);
            if (c->is_exact)
                x /= 64;
            const int64_t at = t * c->query.ld + i;
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            /* Values with few bits, so that cutting them off is exact; f16 by way of the quantizer's door below. */
            if (c->query.type == KRN_TYPE_F32)
                ((float *)(void *)data)[at] = x;
            else if (c->query.type == KRN_TYPE_BF16)
                ((uint16_t *)(void *)data)[at] = (uint16_t)(bits >> 16);
            else
                ((uint16_t *)(void *)data)[at] = krn_f32_to_f16(x);
        }
    }
    c->query.data = data;
}

static void fill_cache(attention_case *c) {
    krn_context *context = context_of(KRN_ISA_REF, 1);
    const int64_t width = (int64_t)c->desc.kv_heads * c->desc.head_dim;
    CHECK_OK(krn_kv_cache_create(&c->desc, NULL, 0, &c->cache));
    krn_kv_append_options append = {
        .struct_size = sizeof append, .source_type = KRN_TYPE_F32, .key_ld = width, .value_ld = width};
    for (int32_t s = 0; s < ATTENTION_MAX_SEQUENCES; s++)
        CHECK_OK(krn_kv_cache_append(context, c->cache, 1, &s, &c->lengths[s], c->keys[s], c->values[s], &append));
    krn_context_destroy(context);
}

void attention_case_make(attention_case *c, test_random *random, int32_t key_type, int32_t value_type,
                         int64_t max_length) {
    memset(c, 0, sizeof *c);
    make_description(c, random, key_type, value_type);
    make_options(c, random);
    const int64_t width = (int64_t)c->desc.kv_heads * c->desc.head_dim;
    c->desc.max_tokens = max_length;
    c->batch = (krn_attention_batch){.struct_size = sizeof c->batch,
                                     .count = (int32_t)random_between(random, 1, ATTENTION_MAX_SEQUENCES),
                                     .sequences = c->sequences,
                                     .query_tokens = c->query_tokens};
    for (int32_t s = 0; s < ATTENTION_MAX_SEQUENCES; s++) {
        c->lengths[s] = random_between(random, 1, random_between(random, 0, 1) ? max_length : 70);
        c->keys[s] = malloc((size_t)(c->lengths[s] * width) * sizeof(float));
        c->values[s] = malloc((size_t)(c->lengths[s] * width) * sizeof(float));
        for (int64_t i = 0; i < c->lengths[s] * width; i++) {
            /* A channel with a mean, a channel with outliers, now and then a token that draws all weight. */
            c->keys[s][i] = plain(random) + (i % 8 == 5 ? 3.0f : 0.0f);
            if (i % 16 == 7 || i / width % 97 == 13)
                c->keys[s][i] *= 4;
            c->values[s][i] = plain(random) * (i / width % 31 == 3 ? 8.0f : 1.0f);
        }
        /* The same sequence may be asked twice. */
        c->sequences[s] = (int32_t)random_between(random, 0, ATTENTION_MAX_SEQUENCES - 1);
    }
    for (int32_t i = 0; i < c->batch.count; i++) {
        const int64_t most = random_between(random, 0, 1) ? 8 : 30, length = c->lengths[c->sequences[i]];
        c->query_tokens[i] = random_between(random, 0, length < most ? length : most);
        c->tokens += c->query_tokens[i];
    }
    make_query(c, random);
    fill_cache(c);
}

void attention_case_repage(attention_case *c, int64_t page_tokens) {
    krn_kv_cache_destroy(c->cache);
    c->desc.page_tokens = page_tokens;
    fill_cache(c);
}

void attention_case_free(attention_case *c) {
    krn_kv_cache_destroy(c->cache);
    for (int32_t s = 0; s < ATTENTION_MAX_SEQUENCES; s++) {
        free(c->keys[s]);
        free(c->values[s]);
    }
    guarded_free_all();
}

attention_result attention_case_run(const attention_case *c, krn_context *context, int32_t first, int32_t count) {
    krn_attention_batch batch = c->batch;
    batch.count = count;
    batch.sequences += first;
    batch.query_tokens += first;
    int64_t skipped = 0, tokens = 0, needed = 0;
    for (int32_t i = 0; i < first; i++)
        skipped += c->query_tokens[i];
    for (int32_t i = first; i < first + count; i++)
        tokens += c->query_tokens[i];
    krn_attention_query query = c->query;
    query.data = (const uint8_t *)query.data + skipped * query.ld * (query.type == KRN_TYPE_F32 ? 4 : 2);
    const int64_t width = (int64_t)c->options.heads * c->desc.head_dim;
    const int64_t elems = tokens == 0 ? 0 : (tokens - 1) * c->output_ld + width;
    attention_result result = {.bytes = elems * (c->output_type == KRN_TYPE_F32 ? 4 : 2)};
    result.data = guarded_allocate(result.bytes, GUARD_END);
    result.lse = guarded_allocate(tokens * c->options.heads * 4, GUARD_START);
    const krn_attention_output output = {.struct_size = sizeof output,
                                         .type = c->output_type,
                                         .data = result.data,
                                         .ld = c->output_ld,
                                         .lse = result.lse};
    CHECK_OK(krn_attention_workspace_size(context, c->cache, &c->options, &batch, &needed));
    CHECK(needed % 64 == 0, "workspace of %lld bytes", (long long)needed);
    void *workspace = guarded_allocate(needed, GUARD_END);
    memset(workspace, 0xFF, (size_t)needed);
    CHECK_OK(krn_attention(context, c->cache, &c->options, &batch, &query, &output, workspace, needed));
    return result;
}
