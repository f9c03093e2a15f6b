/* Single tokens into a block, for the SIMD variants: a row is quantized by the row kernels of quantize.h and then
 * placed dword by dword. Plain loops, which the compiler makes vectors of; compiled once per instruction set by the
 * file that includes this header. */
#ifndef KRN_KV_CACHE_ROWS_H
#define KRN_KV_CACHE_ROWS_H

#include "common/convert.h"
#include "common/f8.h"
#include "kv_cache/kv_cache_variants.h"
#include "kv_cache/kv_place.h"

#include <string.h>

/* A token of a head in the form in which it is stored, one element per entry. */
typedef struct {
    _Alignas(64) uint32_t elements[KRN_KV_MAX_HEAD_DIM];
    float scale;
    int32_t zero_point;
} stored_row;

static const void *row_at(const krn_kv_rows *rows, int32_t index) {
    return (const unsigned char *)rows->first + index * rows->ld_bytes;
}

static int has_own_scale(const krn_kv_encoding *e) { return krn_kv_bits(e->type) <= 8 && !(e->static_scale > 0); }

static void derive_row(const krn_kv_encoding *e, const krn_kv_rows *rows, int32_t index, stored_row *row) {
    float lowest = 0, highest = rows->magnitudes[index];
    row->scale = e->static_scale;
    row->zero_point = e->static_zero_point;
    if (!has_own_scale(e))
        return;
    if (e->scheme->asymmetric)
        e->quantize->extents(rows->type, row_at(rows, index), e->head_dim, e->head_dim, &lowest, &highest);
    krn_quantize_derive(e->scheme, 1, &lowest, &highest, &row->scale, &row->zero_point);
}

/* `flip` as in kv_place.h. */
static void encode_row(const krn_kv_encoding *e, int32_t source_type, const void *source, uint8_t flip,
                       stored_row *row) {
    float floats[KRN_KV_MAX_HEAD_DIM];
    uint8_t codes[KRN_KV_MAX_HEAD_DIM];
    const int32_t dim = e->head_dim;
    if (krn_kv_bits(e->type) > 8 || e->type == KRN_TYPE_F8E4M3)
        krn_widen(floats, source_type, source, 0, dim);
    if (e->type == KRN_TYPE_F32) {
        memcpy(row->elements, floats, (size_t)dim * sizeof *floats);
    } else if (e->type == KRN_TYPE_BF16) {
        for (int32_t c = 0; c < dim; c++)
            row->elements[c] = krn_kv_narrow_bf16(floats[c]);
    } else if (e->type == KRN_TYPE_F8E4M3) {
        const float inverse = krn_quantize_encoder(e->scheme, row->scale, 0).inverse;
        for (int32_t c = 0; c < dim; c++)
            row->elements[c] = krn_f32_to_f8(floats[c] * inverse);
    } else {
        const krn_memory_hints none = {.stream = 0};
        const krn_block_encoder encoder = krn_quantize_encoder(e->scheme, row->scale, row->zero_point);
        const uint8_t mask = krn_kv_bits(e->type) == 4 ? 15 : 255;
        e->quantize->encode(source_type, source, none, dim, dim, &encoder, codes);
        for (int32_t c = 0; c < dim; c++)
            row->elements[c] = (codes[c] & mask) ^ flip;
    }
}

/* Keys: the dwords of a token are 16 apart. */
static void place_key(const krn_kv_encoding *e, uint32_t *block, int32_t token, const uint32_t *x) {
    uint32_t *to = block + token;
    const int32_t dim = e->head_dim;
    switch (krn_kv_bits(e->type)) {
    case 4:
        for (int32_t c = 0; c < dim; c += 8, to += KRN_KV_BLOCK)
            *to = x[c] | x[c + 1] << 8 | x[c + 2] << 16 | x[c + 3] << 24 | x[c + 4] << 4 | x[c + 5] << 12 |
                  x[c + 6] << 20 | x[c + 7] << 28;
        break;
    case 8:
        for (int32_t c = 0; c < dim; c += 4, to += KRN_KV_BLOCK)
            *to = x[c] | x[c + 1] << 8 | x[c + 2] << 16 | x[c + 3] << 24;
        break;
    case 16:
        for (int32_t c = 0; c < dim; c += 2, to += KRN_KV_BLOCK)
            *to = x[c] | x[c + 1] << 16;
        break;
    default:
        for (int32_t c = 0; c < dim; c++, to += KRN_KV_BLOCK)
            *to = x[c];
        break;
    }
}

/* Values: a part of the dword of every channel. */
static void place_value(const krn_kv_encoding *e, uint32_t *block, int32_t token, const uint32_t *x) {
    const int32_t bits = krn_kv_bits(e->type), per_dword = 32 / bits, part = token % per_dword;
    const int32_t shift = bits == 4 ? part % 4 * 8 + part / 4 * 4 : part * bits;
    const uint32_t keep = bits == 32 ? 0 : ~((UINT32_MAX >> (32 - bits)) << shift);
    uint32_t *to = block + token / per_dword * e->value_dim;
    for (int32_t c = 0; c < e->head_dim; c++)
        to[c] = (to[c] & keep) | x[c] << shift;
}

/* Stores tokens one by one, as krn_kv_kernels says. */
static void store_rows(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block,
                       int64_t block_elems, uint8_t flip,
                       void (*place)(const krn_kv_encoding *, uint32_t *, int32_t, const uint32_t *)) {
    const int32_t bits = krn_kv_bits(e->type);
    if (first == 0) {
        memset(block.codes, bits == 4 ? flip | flip << 4 : flip, (size_t)(block_elems * bits / 8));
        if (has_own_scale(e))
            memset(block.scales, 0, KRN_KV_BLOCK * sizeof *block.scales);
        if (has_own_scale(e) && e->type == KRN_TYPE_U4)
            memset(block.zero_points, 0, KRN_KV_BLOCK);
    }
    for (int32_t i = 0; i < count; i++) {
        stored_row row;
        derive_row(e, &rows, i, &row);
        encode_row(e, rows.type, row_at(&rows, i), flip, &row);
        place(e, (uint32_t *)(void *)block.codes, first + i, row.elements);
        if (has_own_scale(e))
            block.scales[first + i] = row.scale;
        if (has_own_scale(e) && e->type == KRN_TYPE_U4)
            block.zero_points[first + i] = (uint8_t)row.zero_point;
    }
}

static void store_key_rows(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count,
                           krn_kv_block block) {
    store_rows(e, rows, first, count, block, (int64_t)e->head_dim * KRN_KV_BLOCK, krn_kv_key_flip(e->type), place_key);
}

static void store_value_rows(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count,
                             krn_kv_block block) {
    store_rows(e, rows, first, count, block, (int64_t)e->value_dim * KRN_KV_BLOCK, krn_kv_value_flip(e->type),
               place_value);
}

#endif
