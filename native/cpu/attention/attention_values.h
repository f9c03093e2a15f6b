/* Weights times V of a block, in the verbs of unit_*.h. The lanes are channels; a dword of values, which holds consecutive
 * tokens of its channel, meets one dword of a row's weights, broadcast from memory.
 *
 *   accumulators   TILE_ROWS rows x TILE_VECTORS vectors of channels; integer sums of one block, or the float sums
 *                  themselves
 *   values         a vector per step, loaded once for all rows of the tile */
#ifndef KRN_ATTENTION_VALUES_H
#define KRN_ATTENTION_VALUES_H

#include "attention/attention_tiles.h"

/* A tile's share of a job. */
typedef struct {
    const krn_values_job *job;
    int32_t first_row;
    int64_t first_channel;
    int64_t w_row_bytes;
} values_tile;

KRN_ALWAYS_INLINE const uint8_t *weights_row(const values_tile *tile, int32_t r) {
    return (const uint8_t *)tile->job->w + (tile->first_row + r) * tile->w_row_bytes;
}

KRN_ALWAYS_INLINE float *acc_row(const values_tile *tile, int32_t r) {
    return tile->job->acc + (tile->first_row + r) * tile->job->channels + tile->first_channel;
}

KRN_ALWAYS_INLINE void load_values(const values_tile *tile, int32_t unit, int64_t step, int vectors, int is_ahead,
                                   lanes_i raw[]) {
    const krn_values_job *job = tile->job;
    const int64_t at = (step * job->channels + tile->first_channel) * 4;
    KRN_UNROLL
    for (int v = 0; v < vectors; v++) {
        if (is_ahead)
            KRN_PREFETCH(job->next->codes[unit] + at + v * 64);
        raw[v] = lanes_load_i(job->values->codes[unit] + at + v * 64);
    }
}

#if defined(__AVX512VNNI__) || !defined(__AVX512F__)
KRN_ALWAYS_INLINE void dot_values(lanes_i acc[][TILE_VECTORS], const values_tile *tile, const lanes_i codes[],
                                  int64_t dword, int rows, int vectors) {
    bytes_s8 c[TILE_VECTORS];
    KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        c[v] = bytes_of_s8(codes[v]);
    KRN_UNROLL
    for (int r = 0; r < rows; r++) {
        const bytes_u8 w = bytes_of_u8(lanes_all_i(dword_at(weights_row(tile, r), dword)));
        KRN_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = bytes_dot(acc[r][v], w, c[v]);
    }
}

KRN_ALWAYS_INLINE void integer_values(const values_tile *tile, operand_form form, int rows, int vectors,
                                      int is_ahead) {
    const krn_values_job *job = tile->job;
    const lanes_i nibble = lanes_all_i(0x0F0F0F0F);
    lanes_i acc[TILE_ROWS][TILE_VECTORS], raw[TILE_VECTORS], part[TILE_VECTORS];
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[r][v] = lanes_all_i(-job->w_offset[tile->first_row + r]);
    const int64_t steps = KRN_ATTENTION_UNIT / form_elems(form);
    for (int32_t unit = 0; unit < job->units; unit++) {
        for (int64_t step = 0; step < steps; step++) {
            const int64_t dword = (unit * KRN_ATTENTION_UNIT) / 4;
            load_values(tile, unit, step, vectors, is_ahead, raw);
            if (form == FORM_8) {
                dot_values(acc, tile, raw, dword + step, rows, vectors);
                continue;
            }
            KRN_UNROLL
            for (int v = 0; v < vectors; v++)
                part[v] = lanes_and(raw[v], nibble);
            dot_values(acc, tile, part, dword + 2 * step, rows, vectors);
            KRN_UNROLL
            for (int v = 0; v < vectors; v++)
                part[v] = lanes_and(lanes_right(raw[v], 4), nibble);
            dot_values(acc, tile, part, dword + 2 * step + 1, rows, vectors);
        }
    }
    KRN_UNROLL
    for (int r = 0; r < rows; r++) {
        const lanes_f alpha = lanes_all(job->alpha[tile->first_row + r]);
        const lanes_f w_step = lanes_all(job->w_step[tile->first_row + r]);
        KRN_UNROLL
        for (int v = 0; v < vectors; v++) {
            float *sum = acc_row(tile, r) + v * 16;
            lanes_store(sum, lanes_fma(lanes_to_f32(acc[r][v]), w_step, lanes_mul(lanes_load(sum), alpha)));
        }
    }
}
#endif

KRN_ALWAYS_INLINE void dot_float_values(lanes_f acc[][TILE_VECTORS], const values_tile *tile, operand_form form,
                                        const lanes_i raw[], int64_t token, int rows, int vectors) {
#if defined(__AVX512BF16__)
    if (form == FORM_BF16_PAIRS || form == FORM_E4M3_PAIRS) {
        const int pairs = form == FORM_BF16_PAIRS ? 1 : 2;
        KRN_UNROLL
        for (int i = 0; i < pairs; i++) {
            zmm_i c[TILE_VECTORS];
            KRN_UNROLL
            for (int v = 0; v < vectors; v++)
                c[v] = pairs == 1 ? raw[v] : e4m3_to_bf16(i == 0 ? raw[v] : _mm512_srli_epi16(raw[v], 8));
            KRN_UNROLL
            for (int r = 0; r < rows; r++) {
                const zmm_i w = broadcast_i32(dword_at(weights_row(tile, r), token / 2 + i));
                KRN_UNROLL
                for (int v = 0; v < vectors; v++)
                    acc[r][v] = dot_bf16(acc[r][v], c[v], w);
            }
        }
        return;
    }
#endif
    const int elems = (int)form_elems(form);
    KRN_UNROLL
    for (int i = 0; i < elems; i++) {
        lanes_f c[TILE_VECTORS];
        KRN_UNROLL
        for (int v = 0; v < vectors; v++)
            c[v] = widen_element(raw[v], form, i);
        KRN_UNROLL
        for (int r = 0; r < rows; r++) {
            const lanes_f w = float_at(weights_row(tile, r), token + i);
            KRN_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = lanes_fma(w, c[v], acc[r][v]);
        }
    }
}

KRN_ALWAYS_INLINE void float_values(const values_tile *tile, operand_form form, int rows, int vectors, int is_ahead) {
    const krn_values_job *job = tile->job;
    const int64_t elems = form_elems(form);
    lanes_f acc[TILE_ROWS][TILE_VECTORS];
    lanes_i raw[TILE_VECTORS];
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[r][v] = lanes_mul(lanes_load(acc_row(tile, r) + v * 16), lanes_all(job->alpha[tile->first_row + r]));
    for (int32_t unit = 0; unit < job->units; unit++) {
        for (int64_t token = 0; token < KRN_ATTENTION_UNIT; token += elems) {
            load_values(tile, unit, token / elems, vectors, is_ahead, raw);
            dot_float_values(acc, tile, form, raw, unit * KRN_ATTENTION_UNIT + token, rows, vectors);
        }
    }
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        lanes_store(acc_row(tile, r) + v * 16, acc[r][v]);
}

KRN_ALWAYS_INLINE void values_of(const values_tile *tile, operand_form form, int rows, int vectors, int is_ahead) {
#if defined(__AVX512VNNI__) || !defined(__AVX512F__)
    if (form == FORM_8 || form == FORM_4)
        integer_values(tile, form, rows, vectors, is_ahead);
    else
#endif
        float_values(tile, form, rows, vectors, is_ahead);
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void values_by_height(const values_tile *tile, operand_form form, int rows, int vectors,
                                        int is_ahead) {
    switch (rows) {
    case 1: values_of(tile, form, 1, vectors, is_ahead); break;
    case 2: values_of(tile, form, 2, vectors, is_ahead); break;
    case 3: values_of(tile, form, 3, vectors, is_ahead); break;
#if defined(__AVX512F__)
    case 4: values_of(tile, form, 4, vectors, is_ahead); break;
    case 5: values_of(tile, form, 5, vectors, is_ahead); break;
#endif
    default: values_of(tile, form, TILE_ROWS, vectors, is_ahead); break;
    }
}

KRN_ALWAYS_INLINE int64_t weight_bytes(operand_form form) {
    switch (form) {
    case FORM_8:
    case FORM_4: return 1;
    case FORM_BF16_PAIRS:
    case FORM_E4M3_PAIRS: return 2;
    default: return 4;
    }
}

KRN_ALWAYS_INLINE void block_values(const krn_values_job *job, operand_form form) {
    const int32_t strips = count_strips(job->rows);
    const int64_t vectors = job->channels / 16;
    for (int32_t strip = 0; strip < strips; strip++) {
        values_tile tile = {.job = job,
                            .first_row = strip_start(job->rows, strips, strip),
                            .w_row_bytes = KRN_ATTENTION_BLOCK * weight_bytes(form)};
        const int32_t rows = strip_start(job->rows, strips, strip + 1) - tile.first_row;
        int64_t v = 0;
        for (; TILE_VECTORS > 1 && v + TILE_VECTORS <= vectors; v += TILE_VECTORS) {
            tile.first_channel = v * 16;
            if (strip == 0 && job->next != NULL)
                values_by_height(&tile, form, rows, TILE_VECTORS, 1);
            else
                values_by_height(&tile, form, rows, TILE_VECTORS, 0);
        }
        for (; v < vectors; v++) {
            tile.first_channel = v * 16;
            values_by_height(&tile, form, rows, 1, 0);
        }
    }
}

#endif
