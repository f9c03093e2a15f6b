/* Rows of queries on their way in and of results on their way out. Plain C, compiled once per instruction set by the
 * file that includes it, with the same bits. */
#ifndef KRN_ATTENTION_ROWS_H
#define KRN_ATTENTION_ROWS_H

#include "attention/attention_kernel.h"
#include "common/convert.h"

/* Widens a head of a query; returns whether all of it is finite. */
static int widen_query(int32_t type, const void *query, int64_t first, int64_t head_dim, float *row) {
    krn_widen(row, type, query, first, head_dim);
    uint32_t highest = 0;
    for (int64_t i = 0; i < head_dim; i++) {
        const uint32_t magnitude = krn_f32_bits(row[i]) & UINT32_C(0x7FFFFFFF);
        highest = magnitude > highest ? magnitude : highest;
    }
    return highest < UINT32_C(0x7F800000);
}

/* Rounds a head of a query to bf16, to the form that `scores` takes. */
static void round_query(const float *row, int64_t head_dim, krn_query_form form, void *rounded) {
    uint16_t *words = rounded;
    switch (form) {
    case KRN_QUERY_ROUNDED:
        for (int64_t i = 0; i < head_dim; i++)
            ((float *)rounded)[i] = krn_bf16_to_f32(krn_f32_to_bf16(row[i]));
        break;
    case KRN_QUERY_PAIRS: krn_narrow_bf16(words, row, head_dim); break;
    case KRN_QUERY_SWAPPED_PAIRS:
        for (int64_t i = 0; i < head_dim; i += 4) {
            words[i] = krn_f32_to_bf16(row[i]);
            words[i + 1] = krn_f32_to_bf16(row[i + 2]);
            words[i + 2] = krn_f32_to_bf16(row[i + 1]);
            words[i + 3] = krn_f32_to_bf16(row[i + 3]);
        }
        break;
    }
}

/* Elements first..first+head_dim-1 of an output of `type`: acc * factor. */
static void put_output(const float *acc, float factor, int64_t head_dim, int32_t type, void *output, int64_t first) {
    float row[512];
    float *const target = type == KRN_TYPE_F32 ? (float *)output + first : row;
    for (int64_t i = 0; i < head_dim; i++)
        target[i] = acc[i] * factor;
    if (type == KRN_TYPE_F16)
        krn_narrow_f16((uint16_t *)output + first, row, head_dim);
    else if (type == KRN_TYPE_BF16)
        krn_narrow_bf16((uint16_t *)output + first, row, head_dim);
}

#endif
