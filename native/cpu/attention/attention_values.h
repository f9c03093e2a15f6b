/* Weights times V of a block, in the verbs of unit_*.h. The lanes are channels; a dword of values, which holds
 * consecutive tokens of its channel, meets one dword of a row's weights, broadcast from memory.
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

KRN_ALWAYS_INLINE float *acc_row(const values_tile *tile, int32_t r) {
    return tile->job->acc + (tile->first_row + r) * tile->job->channels + tile->first_channel;
}

/* Values of step `step` of a block, a dword of every channel. One loop, of at least one step, goes over all units: with
 * others GCC copies accumulators from register to register. */
KRN_ALWAYS_INLINE void load_values(const values_tile *tile, operand_form form, int64_t step, int vectors,
                                   lanes_i raw[]) {
    const krn_values_job *job = tile->job;
    const int64_t unit_steps = KRN_ATTENTION_UNIT / form_elems(form);
    const int64_t unit = step / unit_steps, unit_step = step % unit_steps;
    const uint8_t *values = job->values->codes[unit] + (unit_step * job->channels + tile->first_channel) * 4;
    KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        raw[v] = lanes_load_i(values + v * 64);
}

KRN_ALWAYS_INLINE const uint8_t *first_weights(const values_tile *tile) {
    return (const uint8_t *)tile->job->w + tile->first_row * tile->w_row_bytes;
}

KRN_ALWAYS_INLINE void dot_values(lanes_i acc[][TILE_VECTORS], const lanes_i codes[], const uint8_t *weights,
                                  int64_t w_row_bytes, int rows, int vectors) {
    bytes_s8 c[TILE_VECTORS];
    KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        c[v] = bytes_of_s8(codes[v]);
    KRN_UNROLL
    for (int r = 0; r < rows; r++) {
        const bytes_u8 w = bytes_of_u8(lanes_all_i(dword_at(weights + r * w_row_bytes, 0)));
        KRN_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = bytes_dot(acc[r][v], w, c[v]);
    }
}

KRN_ALWAYS_INLINE void integer_values(const values_tile *tile, operand_form form, int rows, int vectors, int is_ahead) {
    const krn_values_job *job = tile->job;
    const lanes_i nibble = lanes_all_i(0x0F0F0F0F);
    lanes_i acc[TILE_ROWS][TILE_VECTORS], raw[TILE_VECTORS], half[TILE_VECTORS];
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[r][v] = lanes_all_i(-job->w_offset[tile->first_row + r]);
    const int64_t w_row_bytes = tile->w_row_bytes, steps = job->units * (KRN_ATTENTION_UNIT / form_elems(form));
    const uint8_t *weights = first_weights(tile);
    for (int64_t step = 0; step < steps; step++) {
        if (is_ahead)
            krn_look_ahead(job->ahead, TILE_AHEAD);
        load_values(tile, form, step, vectors, raw);
        if (form == FORM_8) {
            dot_values(acc, raw, weights, w_row_bytes, rows, vectors);
        } else {
            KRN_UNROLL
            for (int v = 0; v < vectors; v++)
                half[v] = lanes_and(raw[v], nibble);
            dot_values(acc, half, weights, w_row_bytes, rows, vectors);
            KRN_UNROLL
            for (int v = 0; v < vectors; v++)
                half[v] = lanes_and(lanes_right(raw[v], 4), nibble);
            dot_values(acc, half, weights + 4, w_row_bytes, rows, vectors);
        }
        weights += form_elems(form);
    }
    keep_tile(acc, rows, vectors);
    /* What the job says is read before the first store, behind which it would be read again. */
    const float *alphas = job->alpha + tile->first_row, *w_steps = job->w_step + tile->first_row;
    const int64_t channels = job->channels;
    float *const sums = acc_row(tile, 0);
    KRN_UNROLL
    for (int r = 0; r < rows; r++) {
        const lanes_f alpha = lanes_all(alphas[r]), w_step = lanes_all(w_steps[r]);
        KRN_UNROLL
        for (int v = 0; v < vectors; v++) {
            float *sum = sums + r * channels + v * 16;
            lanes_store(sum, lanes_fma(lanes_to_f32(acc[r][v]), w_step, lanes_mul(lanes_load(sum), alpha)));
        }
    }
}

KRN_ALWAYS_INLINE void dot_float_values(lanes_f acc[][TILE_VECTORS], operand_form form, const lanes_i raw[],
                                        const uint8_t *weights, int64_t w_row_bytes, int rows, int vectors) {
#if defined(KRN_UNIT_HAS_PAIRS)
    if (is_pairs(form)) {
        const int pairs = form == FORM_BF16_PAIRS ? 1 : 2;
        lanes_i c[TILE_VECTORS][2];
        KRN_UNROLL
        for (int v = 0; v < vectors; v++)
            pairs_of(raw[v], form, c[v]);
        KRN_UNROLL
        for (int i = 0; i < pairs; i++) {
            KRN_UNROLL
            for (int r = 0; r < rows; r++) {
                const lanes_i w = lanes_all_i(dword_at(weights + r * w_row_bytes, i));
                KRN_UNROLL
                for (int v = 0; v < vectors; v++)
                    acc[r][v] = lanes_dot_pairs(acc[r][v], c[v][i], w);
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
            const lanes_f w = float_at(weights + r * w_row_bytes, i);
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
    const int64_t w_row_bytes = tile->w_row_bytes, weights_bytes = elems * w_row_bytes / KRN_ATTENTION_BLOCK;
    const int64_t steps = job->units * (KRN_ATTENTION_UNIT / elems);
    const uint8_t *weights = first_weights(tile);
    for (int64_t step = 0; step < steps; step++) {
        if (is_ahead)
            krn_look_ahead(job->ahead, TILE_AHEAD);
        load_values(tile, form, step, vectors, raw);
        dot_float_values(acc, form, raw, weights, w_row_bytes, rows, vectors);
        weights += weights_bytes;
    }
    keep_float_tile(acc, rows, vectors);
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        lanes_store(acc_row(tile, r) + v * 16, acc[r][v]);
}

KRN_ALWAYS_INLINE void values_of(const values_tile *tile, operand_form form, int rows, int vectors, int is_ahead) {
    if (form == FORM_8 || form == FORM_4)
        integer_values(tile, form, rows, vectors, is_ahead);
    else
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
            if (strip == 0 && job->ahead != NULL)
                values_by_height(&tile, form, rows, TILE_VECTORS, 1);
            else
                values_by_height(&tile, form, rows, TILE_VECTORS, 0);
        }
        for (; v < vectors; v++) {
            tile.first_channel = v * 16;
            if (TILE_VECTORS == 1 && strip == 0 && job->ahead != NULL)
                values_by_height(&tile, form, rows, 1, 1);
            else
                values_by_height(&tile, form, rows, 1, 0);
        }
    }
}

#endif
