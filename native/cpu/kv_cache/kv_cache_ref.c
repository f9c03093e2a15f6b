/* The scalar reference of krn_kv_cache_append: it defines the bits. A row is quantized by the row kernels of
 * quantize.h, one code per byte, and then put where the layout wants it. */
#include "common/convert.h"
#include "common/f8.h"
#include "kv_cache/kv_cache_variants.h"
#include "kv_cache/kv_place.h"

#include <string.h>

/* A token of a head: codes of 8 and 4 bits one per byte, or floats. */
typedef struct {
    uint8_t codes[KRN_KV_MAX_HEAD_DIM];
    float floats[KRN_KV_MAX_HEAD_DIM];
    float scale;
    int32_t zero_point;
} token_row;

static const void *row_at(const krn_kv_rows *rows, int32_t index) {
    return (const unsigned char *)rows->first + index * rows->ld_bytes;
}

static int is_float(int32_t type) { return krn_kv_bits(type) > 8; }

static void derive(const krn_kv_encoding *e, const krn_kv_rows *rows, int32_t index, token_row *row) {
    float lowest = 0, highest = rows->magnitudes[index];
    row->scale = e->static_scale;
    row->zero_point = e->static_zero_point;
    if (is_float(e->type) || e->static_scale > 0)
        return;
    if (e->scheme->asymmetric)
        e->quantize->extents(rows->type, row_at(rows, index), e->head_dim, e->head_dim, &lowest, &highest);
    krn_quantize_derive(e->scheme, 1, &lowest, &highest, &row->scale, &row->zero_point);
}

static void encode_f8(const krn_kv_encoding *e, int32_t source_type, const void *source, token_row *row) {
    const float inverse = krn_quantize_encoder(e->scheme, row->scale, 0).inverse;
    krn_widen(row->floats, source_type, source, 0, e->head_dim);
    for (int32_t c = 0; c < e->head_dim; c++)
        row->codes[c] = krn_f32_to_f8(row->floats[c] * inverse);
}

static void encode(const krn_kv_encoding *e, const krn_kv_rows *rows, int32_t index, token_row *row) {
    const void *source = row_at(rows, index);
    derive(e, rows, index, row);
    if (is_float(e->type)) {
        krn_widen(row->floats, rows->type, source, 0, e->head_dim);
    } else if (e->type == KRN_TYPE_F8E4M3) {
        encode_f8(e, rows->type, source, row);
    } else {
        const krn_memory_hints none = {.stream = 0};
        const krn_block_encoder encoder = krn_quantize_encoder(e->scheme, row->scale, row->zero_point);
        e->quantize->encode(rows->type, source, none, e->head_dim, e->head_dim, &encoder, row->codes);
    }
}

static void put_key(const krn_kv_encoding *e, unsigned char *codes, int32_t token, const token_row *row) {
    const uint8_t flip = krn_kv_key_flip(e->type);
    for (int32_t c = 0; c < e->head_dim; c++) {
        switch (krn_kv_bits(e->type)) {
        case 4: krn_kv_put_nibble(codes + krn_kv_key4_at(c, token), c % 8 >= 4, (row->codes[c] & 15) ^ flip); break;
        case 8: codes[krn_kv_key8_at(c, token)] = row->codes[c] ^ flip; break;
        case 16: ((uint16_t *)(void *)codes)[krn_kv_key16_at(c, token)] = krn_kv_narrow_bf16(row->floats[c]); break;
        default: ((float *)(void *)codes)[krn_kv_key32_at(c, token)] = row->floats[c]; break;
        }
    }
}

static void put_value(const krn_kv_encoding *e, unsigned char *codes, int32_t token, const token_row *row) {
    const uint8_t flip = krn_kv_value_flip(e->type);
    const int32_t dim = e->value_dim;
    for (int32_t c = 0; c < e->head_dim; c++) {
        switch (krn_kv_bits(e->type)) {
        case 4:
            krn_kv_put_nibble(codes + krn_kv_value4_at(dim, c, token), token % 8 >= 4, (row->codes[c] & 15) ^ flip);
            break;
        case 8: codes[krn_kv_value8_at(dim, c, token)] = row->codes[c] ^ flip; break;
        case 16:
            ((uint16_t *)(void *)codes)[krn_kv_value16_at(dim, c, token)] = krn_kv_narrow_bf16(row->floats[c]);
            break;
        default: ((float *)(void *)codes)[krn_kv_value32_at(dim, c, token)] = row->floats[c]; break;
        }
    }
}

static void put_scale(const krn_kv_encoding *e, const krn_kv_block *block, int32_t token, const token_row *row) {
    if (is_float(e->type) || e->static_scale > 0)
        return;
    block->scales[token] = row->scale;
    if (e->type == KRN_TYPE_U4)
        block->zero_points[token] = (uint8_t)row->zero_point;
}

/* A block of zeros with scale 0. */
static void clear(const krn_kv_encoding *e, const krn_kv_block *block, int64_t elems, uint8_t flip) {
    const int byte = krn_kv_bits(e->type) == 4 ? flip | flip << 4 : flip;
    memset(block->codes, byte, (size_t)(elems * krn_kv_bits(e->type) / 8));
    if (is_float(e->type) || e->static_scale > 0)
        return;
    memset(block->scales, 0, KRN_KV_BLOCK * sizeof *block->scales);
    if (e->type == KRN_TYPE_U4)
        memset(block->zero_points, 0, KRN_KV_BLOCK);
}

static void store_keys(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block) {
    if (first == 0)
        clear(e, &block, (int64_t)e->head_dim * KRN_KV_BLOCK, krn_kv_key_flip(e->type));
    for (int32_t i = 0; i < count; i++) {
        token_row row;
        encode(e, &rows, i, &row);
        put_key(e, block.codes, first + i, &row);
        put_scale(e, &block, first + i, &row);
    }
}

static void store_values(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block) {
    if (first == 0)
        clear(e, &block, (int64_t)e->value_dim * KRN_KV_BLOCK, krn_kv_value_flip(e->type));
    for (int32_t i = 0; i < count; i++) {
        token_row row;
        encode(e, &rows, i, &row);
        put_value(e, block.codes, first + i, &row);
        put_scale(e, &block, first + i, &row);
    }
}

static void store_group(const krn_kv_encoding *e, const float *tail, int32_t blocks, unsigned char *codes,
                        float *scales, uint8_t *zero_points) {
    const int64_t block_elems = (int64_t)e->head_dim * KRN_KV_BLOCK;
    const krn_memory_hints none = {.stream = 0};
    const uint8_t flip = krn_kv_key_flip(e->type);
    const int32_t tokens = blocks * KRN_KV_BLOCK;
    for (int32_t c = 0; c < e->head_dim; c++) {
        float channel[KRN_KV_MAX_GROUP], lowest = 0, highest;
        uint8_t row[KRN_KV_MAX_GROUP];
        int32_t zero_point;
        for (int32_t t = 0; t < tokens; t++)
            channel[t] = tail[t / KRN_KV_BLOCK * block_elems + krn_kv_key32_at(c, t % KRN_KV_BLOCK)];
        if (e->scheme->asymmetric)
            e->quantize->extents(KRN_TYPE_F32, channel, tokens, tokens, &lowest, &highest);
        else
            e->quantize->magnitudes(KRN_TYPE_F32, channel, tokens, tokens, &highest);
        krn_quantize_derive(e->scheme, 1, &lowest, &highest, &scales[c], &zero_point);
        const krn_block_encoder encoder = krn_quantize_encoder(e->scheme, scales[c], zero_point);
        e->quantize->encode(KRN_TYPE_F32, channel, none, tokens, tokens, &encoder, row);
        if (e->type == KRN_TYPE_U4)
            zero_points[c] = (uint8_t)zero_point;
        for (int32_t t = 0; t < tokens; t++) {
            unsigned char *block = codes + t / KRN_KV_BLOCK * block_elems * krn_kv_bits(e->type) / 8;
            if (krn_kv_bits(e->type) == 4)
                krn_kv_put_nibble(block + krn_kv_key4_at(c, t % KRN_KV_BLOCK), c % 8 >= 4, (row[t] & 15) ^ flip);
            else
                block[krn_kv_key8_at(c, t % KRN_KV_BLOCK)] = row[t] ^ flip;
        }
    }
}

const krn_kv_kernels krn_kv_cache_ref = {
    .name = "ref",
    .features = 0,
    .store_keys = store_keys,
    .store_values = store_values,
    .store_group = store_group,
};
