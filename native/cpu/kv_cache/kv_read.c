/* krn_kv_cache_read: from pages back to rows. */
#include "kv_cache/kv_cache_state.h"

#include "common/context.h"
#include "common/convert.h"
#include "common/f8.h"
#include "common/status.h"
#include "hadamard/hadamard_variants.h"
#include "kv_cache/kv_place.h"

#include <stddef.h>

typedef struct {
    const krn_kv_cache *cache;
    const krn_hadamard_kernels *hadamard;
    int64_t sequence, first, count, pieces;
    int32_t target_type;
    unsigned char *keys, *values;
    int64_t key_ld, value_ld;
} read_pass;

/* (code - zero) * scale, with codes and zero points as they are stored; FP8 has no zero point. */
static float value_of(int32_t type, uint8_t code, int32_t zero, float scale) {
    return (type == KRN_TYPE_F8E4M3 ? krn_f8_to_f32(code) : (float)(code - zero)) * scale;
}

/* The zero point of a type that has no other, as its codes are stored. */
static int32_t fixed_zero(int32_t type, uint8_t flip) { return type == KRN_TYPE_U4 ? 8 : flip; }

typedef struct {
    float scale;
    int32_t zero;
} token_scale;

/* Scale and zero point of a token: of its own from `section`, or its head's. */
static token_scale scale_of(const krn_kv_cache *cache, const krn_kv_format *format, uint8_t flip,
                            const unsigned char *section, int64_t head, int64_t token) {
    if (krn_kv_bits(format->type) > 8 || format->granularity == KRN_KV_CHANNEL)
        return (token_scale){0, 0};
    if (format->granularity == KRN_KV_STATIC)
        return (token_scale){format->static_scales[head], format->type == KRN_TYPE_U4 ? format->static_zero_points[head]
                                                                                      : fixed_zero(format->type, flip)};
    const float *scales = (const float *)(const void *)section;
    const uint8_t *zero_points = section + cache->layout.page_tokens * (int64_t)sizeof *scales;
    return (token_scale){scales[token],
                         format->type == KRN_TYPE_U4 ? zero_points[token] : fixed_zero(format->type, flip)};
}

/* A key as it is stored, centred and rotated. `token` is one of the page. */
static void paged_key(const krn_kv_cache *cache, const unsigned char *head, int64_t h, int64_t token, float *row) {
    const krn_kv_layout *layout = &cache->layout;
    const int32_t type = cache->keys.type, dim = layout->head_dim;
    const uint8_t flip = krn_kv_key_flip(type);
    const unsigned char *block = head + token / KRN_KV_BLOCK * layout->key_block_bytes;
    const unsigned char *section = head + layout->key_scales_at;
    const token_scale own = scale_of(cache, &cache->keys, flip, section, h, token);
    const int per_channel = cache->keys.granularity == KRN_KV_CHANNEL;
    const unsigned char *group =
        per_channel ? section + token / cache->desc.key_group * layout->key_group_bytes : section;
    const float *scales = (const float *)(const void *)group;
    const uint8_t *zero_points = group + dim * (int64_t)sizeof *scales;
    const int64_t t = token % KRN_KV_BLOCK;
    for (int32_t c = 0; c < dim; c++) {
        const float scale = per_channel ? scales[c] : own.scale;
        const int32_t zero = !per_channel ? own.zero : type == KRN_TYPE_U4 ? zero_points[c] : fixed_zero(type, flip);
        switch (krn_kv_bits(type)) {
        case 4: row[c] = value_of(type, krn_kv_nibble(block[krn_kv_key4_at(c, t)], c % 8 >= 4), zero, scale); break;
        case 8: row[c] = value_of(type, block[krn_kv_key8_at(c, t)], zero, scale); break;
        case 16: row[c] = krn_bf16_to_f32(((const uint16_t *)(const void *)block)[krn_kv_key16_at(c, t)]); break;
        default: row[c] = ((const float *)(const void *)block)[krn_kv_key32_at(c, t)]; break;
        }
    }
}

static void paged_value(const krn_kv_cache *cache, const unsigned char *head, int64_t h, int64_t token, float *row) {
    const krn_kv_layout *layout = &cache->layout;
    const int32_t type = cache->values.type, dim = layout->value_dim;
    const uint8_t flip = krn_kv_value_flip(type);
    const unsigned char *block = head + layout->value_codes_at + token / KRN_KV_BLOCK * layout->value_block_bytes;
    const token_scale own = scale_of(cache, &cache->values, flip, head + layout->value_scales_at, h, token);
    const int64_t t = token % KRN_KV_BLOCK;
    for (int32_t c = 0; c < layout->head_dim; c++) {
        switch (krn_kv_bits(type)) {
        case 4:
            row[c] = value_of(type, krn_kv_nibble(block[krn_kv_value4_at(dim, c, t)], t % 8 >= 4), own.zero, own.scale);
            break;
        case 8: {
            const uint8_t code = block[krn_kv_value8_at(dim, c, t)];
            row[c] = type == KRN_TYPE_S8 ? (float)(int8_t)code * own.scale : value_of(type, code, own.zero, own.scale);
            break;
        }
        case 16: row[c] = krn_bf16_to_f32(((const uint16_t *)(const void *)block)[krn_kv_value16_at(dim, c, t)]); break;
        default: row[c] = ((const float *)(const void *)block)[krn_kv_value32_at(dim, c, t)]; break;
        }
    }
}

static void read_key(const read_pass *pass, int64_t token, int64_t h, const unsigned char *head, float *row) {
    const krn_kv_cache *cache = pass->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int32_t dim = layout->head_dim;
    const int64_t paged = krn_kv_paged_keys(cache, pass->sequence);
    if (token < paged) {
        paged_key(cache, head, h, token % layout->page_tokens, row);
    } else {
        const int64_t at = token - paged;
        const float *block = krn_kv_tail(cache, pass->sequence, h) + at / KRN_KV_BLOCK * (int64_t)dim * KRN_KV_BLOCK;
        for (int32_t c = 0; c < dim; c++)
            row[c] = block[krn_kv_key32_at(c, at % KRN_KV_BLOCK)];
    }
    if (cache->desc.rotate_keys)
        pass->hadamard->row(&cache->inverse_rotation, KRN_TYPE_F32, 1, row, (krn_ahead){0}, row);
    if (cache->desc.center_keys) {
        const float *mean = krn_kv_mean(cache, pass->sequence, h);
        for (int32_t c = 0; c < dim; c++)
            row[c] = row[c] + mean[c];
    }
}

static void put_row(const read_pass *pass, unsigned char *target, int64_t ld, int64_t index, int64_t h,
                    const float *row) {
    const int32_t dim = pass->cache->layout.head_dim;
    for (int32_t c = 0; c < dim; c++)
        krn_put_float(pass->target_type, target, index * ld + h * dim + c, row[c]);
}

static void read_piece(void *task_context, int64_t piece) {
    const read_pass *pass = task_context;
    const krn_kv_layout *layout = &pass->cache->layout;
    const int32_t *table = krn_kv_table_of(pass->cache, pass->sequence);
    const int64_t end = krn_first_row(pass->count, pass->pieces, piece + 1);
    for (int64_t i = krn_first_row(pass->count, pass->pieces, piece); i < end; i++) {
        const int64_t token = pass->first + i;
        for (int64_t h = 0; h < layout->kv_heads; h++) {
            const unsigned char *head = krn_kv_head(pass->cache, table[token / layout->page_tokens], h);
            float row[KRN_KV_MAX_HEAD_DIM];
            if (pass->keys != NULL) {
                read_key(pass, token, h, head, row);
                put_row(pass, pass->keys, pass->key_ld, i, h, row);
            }
            if (pass->values != NULL) {
                paged_value(pass->cache, head, h, token % layout->page_tokens, row);
                put_row(pass, pass->values, pass->value_ld, i, h, row);
            }
        }
    }
}

static krn_status check_target(const char *name, const void *target, int64_t ld, int64_t rows, int64_t width,
                               int64_t element_bytes) {
    if (target == NULL)
        return KRN_OK;
    if (ld < width)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s_ld is %lld, but a token takes %lld", name, (long long)ld,
                        (long long)width);
    if (rows > 0 && ld > INT64_MAX / element_bytes / rows)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s_ld is %lld, too large for %lld tokens", name, (long long)ld,
                        (long long)rows);
    if ((uintptr_t)target % (uintptr_t)element_bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%ss is not aligned to its elements of %lld bytes", name,
                        (long long)element_bytes);
    return KRN_OK;
}

krn_status krn_kv_cache_read(krn_context *context, const krn_kv_cache *cache, int32_t sequence, int64_t first,
                             int64_t count, int32_t target_type, void *keys, int64_t key_ld, void *values,
                             int64_t value_ld) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status != KRN_OK)
        return status;
    const int64_t length = cache->lengths[sequence];
    if (first < 0 || count < 0 || first > length || count > length - first)
        return krn_fail(KRN_ERROR_SHAPE, "first is %lld and count %lld, but sequence %d has %lld tokens",
                        (long long)first, (long long)count, sequence, (long long)length);
    if (target_type != KRN_TYPE_F32 && target_type != KRN_TYPE_F16 && target_type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "target_type is %d, not one of KRN_TYPE_F32, _F16 and _BF16",
                        target_type);
    const int64_t width = (int64_t)cache->layout.kv_heads * cache->layout.head_dim;
    const int64_t element_bytes = krn_element_bytes(target_type);
    status = check_target("key", keys, key_ld, count, width, element_bytes);
    if (status == KRN_OK)
        status = check_target("value", values, value_ld, count, width, element_bytes);
    if (status != KRN_OK || count == 0)
        return status;
    read_pass pass = {
        .cache = cache,
        .hadamard = krn_hadamard_kernels_of(context),
        .sequence = sequence,
        .first = first,
        .count = count,
        .pieces = krn_count_pieces(context, count, 2 * width),
        .target_type = target_type,
        .keys = keys,
        .values = values,
        .key_ld = key_ld,
        .value_ld = value_ld,
    };
    krn_context_run(context, pass.pieces, read_piece, &pass);
    return KRN_OK;
}
