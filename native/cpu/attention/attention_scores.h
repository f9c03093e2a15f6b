/* Q K^T of a block, in the verbs of unit_*.h. The lanes are the 16 tokens of a unit; a dword of keys of every token
 * meets one dword of a query, broadcast from memory.
 *
 *   accumulators   TILE_ROWS rows x TILE_VECTORS units
 *   keys           a vector per unit and step, loaded once for all rows of the tile
 *
 * Integer codes are unsigned as they are stored; q_offset, where a sum starts from, takes their zero point out. */
#ifndef KRN_ATTENTION_SCORES_H
#define KRN_ATTENTION_SCORES_H

#include "attention/attention_tiles.h"

/* A tile's share of a job. `units`, `rows` and `is_ahead` are constants wherever the functions below are inlined. */
typedef struct {
    const krn_scores_job *job;
    int32_t first_row, first_unit;
} scores_tile;

/* The step that a loop is at. */
typedef struct {
    /* Keys of every unit, and the query of the tile's first row. */
    const uint8_t *keys[TILE_VECTORS], *query;
    int64_t q_row_bytes;
} scores_step;

KRN_ALWAYS_INLINE scores_step first_step(const scores_tile *tile, int units) {
    const krn_scores_job *job = tile->job;
    scores_step at = {.query = job->q + tile->first_row * job->q_row_bytes, .q_row_bytes = job->q_row_bytes};
    KRN_UNROLL
    for (int u = 0; u < units; u++)
        at.keys[u] = job->keys->codes[tile->first_unit + u];
    return at;
}

KRN_ALWAYS_INLINE void load_keys(scores_step *at, int units, lanes_i raw[]) {
    KRN_UNROLL
    for (int u = 0; u < units; u++) {
        raw[u] = lanes_load_i(at->keys[u]);
        at->keys[u] += 64;
    }
}

/* Products to scores. What a job says is read before the first store, behind which it would be read again. */
KRN_ALWAYS_INLINE void finish_scores(const scores_tile *tile, lanes_f products[][TILE_VECTORS], int rows, int units) {
    const krn_scores_job *job = tile->job;
    const float *q_scale = job->q_scale + tile->first_row, *q_bias = job->q_bias + tile->first_row;
    float *s = job->s + tile->first_row * KRN_ATTENTION_BLOCK + tile->first_unit * KRN_ATTENTION_UNIT;
    lanes_f scale[TILE_VECTORS];
    KRN_UNROLL
    for (int u = 0; u < units; u++) {
        const float *scales = job->keys->scales[tile->first_unit + u];
        scale[u] = scales != NULL ? lanes_load(scales) : lanes_all(1.0f);
    }
    KRN_UNROLL
    for (int r = 0; r < rows; r++) {
        const lanes_f factor = lanes_all(q_scale[r]), bias = lanes_all(q_bias[r]);
        KRN_UNROLL
        for (int u = 0; u < units; u++)
            lanes_store(s + r * KRN_ATTENTION_BLOCK + u * KRN_ATTENTION_UNIT,
                        lanes_fma(lanes_mul(products[r][u], scale[u]), factor, bias));
    }
}

KRN_ALWAYS_INLINE void dot_keys(lanes_i acc[][TILE_VECTORS], const lanes_i codes[], const uint8_t *query,
                                int64_t q_row_bytes, int rows, int units) {
    bytes_u8 k[TILE_VECTORS];
    KRN_UNROLL
    for (int u = 0; u < units; u++)
        k[u] = bytes_of_u8(codes[u]);
    KRN_UNROLL
    for (int r = 0; r < rows; r++) {
        const bytes_s8 q = bytes_of_s8(lanes_all_i(dword_at(query + r * q_row_bytes, 0)));
        KRN_UNROLL
        for (int u = 0; u < units; u++)
            acc[r][u] = bytes_dot(acc[r][u], k[u], q);
    }
}

/* Lines that a step asks for: of four units three, of two both. */
KRN_ALWAYS_INLINE int64_t lines_ahead(int units) { return units == 2 ? 2 : TILE_AHEAD; }

KRN_ALWAYS_INLINE void integer_scores(const scores_tile *tile, operand_form form, int rows, int units, int is_ahead) {
    const krn_scores_job *job = tile->job;
    const lanes_i nibble = lanes_all_i(0x0F0F0F0F);
    lanes_i acc[TILE_ROWS][TILE_VECTORS], raw[TILE_VECTORS], half[TILE_VECTORS];
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int u = 0; u < units; u++)
        acc[r][u] = lanes_all_i(-job->q_offset[tile->first_row + r]);
    const int64_t steps = job->head_dim / form_elems(form);
    scores_step at = first_step(tile, units);
    krn_attention_ahead *const ahead = tile->job->ahead;
    for (int64_t step = 0; step < steps; step++) {
        if (is_ahead)
            krn_look_ahead(ahead, lines_ahead(units));
        load_keys(&at, units, raw);
        if (form == FORM_8) {
            dot_keys(acc, raw, at.query, at.q_row_bytes, rows, units);
        } else {
            KRN_UNROLL
            for (int u = 0; u < units; u++)
                half[u] = lanes_and(raw[u], nibble);
            dot_keys(acc, half, at.query, at.q_row_bytes, rows, units);
            KRN_UNROLL
            for (int u = 0; u < units; u++)
                half[u] = lanes_and(lanes_right(raw[u], 4), nibble);
            dot_keys(acc, half, at.query + 4, at.q_row_bytes, rows, units);
        }
        at.query += form_elems(form);
    }
    keep_tile(acc, rows, units);
    if (job->keys->zeros[tile->first_unit] != NULL) {
        KRN_UNROLL
        for (int u = 0; u < units; u++) {
            const lanes_i zeros = lanes_widen_u8(job->keys->zeros[tile->first_unit + u]);
            KRN_UNROLL
            for (int r = 0; r < rows; r++)
                acc[r][u] = lanes_sub_i(acc[r][u], lanes_mul_i(zeros, lanes_all_i(job->q_sum[tile->first_row + r])));
        }
    }
    lanes_f products[TILE_ROWS][TILE_VECTORS];
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int u = 0; u < units; u++)
        products[r][u] = lanes_to_f32(acc[r][u]);
    finish_scores(tile, products, rows, units);
}

KRN_ALWAYS_INLINE void dot_float_keys(lanes_f acc[][TILE_VECTORS], operand_form form, const lanes_i raw[],
                                      const scores_step *at, int rows, int units) {
#if defined(KRN_UNIT_HAS_PAIRS)
    if (is_pairs(form)) {
        const int pairs = form == FORM_BF16_PAIRS ? 1 : 2;
        lanes_i k[TILE_VECTORS][2];
        KRN_UNROLL
        for (int u = 0; u < units; u++)
            pairs_of(raw[u], form, k[u]);
        KRN_UNROLL
        for (int i = 0; i < pairs; i++) {
            KRN_UNROLL
            for (int r = 0; r < rows; r++) {
                const lanes_i q = lanes_all_i(dword_at(at->query + r * at->q_row_bytes, i));
                KRN_UNROLL
                for (int u = 0; u < units; u++)
                    acc[r][u] = lanes_dot_pairs(acc[r][u], k[u][i], q);
            }
        }
        return;
    }
#endif
    const int elems = (int)form_elems(form);
    KRN_UNROLL
    for (int i = 0; i < elems; i++) {
        lanes_f k[TILE_VECTORS];
        KRN_UNROLL
        for (int u = 0; u < units; u++)
            k[u] = widen_element(raw[u], form, i);
        KRN_UNROLL
        for (int r = 0; r < rows; r++) {
            const lanes_f q = float_at(at->query + r * at->q_row_bytes, i);
            KRN_UNROLL
            for (int u = 0; u < units; u++)
                acc[r][u] = lanes_fma(q, k[u], acc[r][u]);
        }
    }
}

KRN_ALWAYS_INLINE void float_scores(const scores_tile *tile, operand_form form, int rows, int units, int is_ahead) {
    lanes_f acc[TILE_ROWS][TILE_VECTORS];
    lanes_i raw[TILE_VECTORS];
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int u = 0; u < units; u++)
        acc[r][u] = lanes_all(0);
    const int64_t steps = tile->job->head_dim / form_elems(form);
    const int64_t query_bytes = (is_pairs(form) ? 2 : 4) * form_elems(form);
    scores_step at = first_step(tile, units);
    krn_attention_ahead *const ahead = tile->job->ahead;
    for (int64_t step = 0; step < steps; step++) {
        if (is_ahead)
            krn_look_ahead(ahead, lines_ahead(units));
        load_keys(&at, units, raw);
        dot_float_keys(acc, form, raw, &at, rows, units);
        at.query += query_bytes;
    }
    keep_float_tile(acc, rows, units);
    finish_scores(tile, acc, rows, units);
}

KRN_ALWAYS_INLINE void scores_of(const scores_tile *tile, operand_form form, int rows, int units, int is_ahead) {
    if (form == FORM_8 || form == FORM_4)
        integer_scores(tile, form, rows, units, is_ahead);
    else
        float_scores(tile, form, rows, units, is_ahead);
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void scores_by_height(const scores_tile *tile, operand_form form, int rows, int units, int is_ahead) {
    switch (rows) {
    case 1: scores_of(tile, form, 1, units, is_ahead); break;
    case 2: scores_of(tile, form, 2, units, is_ahead); break;
    case 3: scores_of(tile, form, 3, units, is_ahead); break;
#if defined(__AVX512F__)
    case 4: scores_of(tile, form, 4, units, is_ahead); break;
    case 5: scores_of(tile, form, 5, units, is_ahead); break;
#endif
    default: scores_of(tile, form, TILE_ROWS, units, is_ahead); break;
    }
}

KRN_ALWAYS_INLINE void block_scores(const krn_scores_job *job, operand_form form) {
    const int32_t strips = count_strips(job->rows), end = job->first_unit + job->units;
    for (int32_t strip = 0; strip < strips; strip++) {
        scores_tile tile = {.job = job, .first_row = strip_start(job->rows, strips, strip)};
        const int32_t rows = strip_start(job->rows, strips, strip + 1) - tile.first_row;
        tile.first_unit = job->first_unit;
        /* bf16 keys of four units are 16 KiB, which are read in turns: the last of them would be needed with the first.
         * Two by two they come as memory has them (measured on Zen 5: 2% less time). */
        if (TILE_VECTORS > 2 && form == FORM_BF16_PAIRS && job->units == TILE_VECTORS && strip == 0 &&
            job->ahead != NULL) {
            for (; tile.first_unit < end; tile.first_unit += 2)
                scores_by_height(&tile, form, rows, 2, 1);
            continue;
        }
        if (TILE_VECTORS > 1 && job->units == TILE_VECTORS) {
            if (strip == 0 && job->ahead != NULL)
                scores_by_height(&tile, form, rows, TILE_VECTORS, 1);
            else
                scores_by_height(&tile, form, rows, TILE_VECTORS, 0);
            continue;
        }
        for (; tile.first_unit < end; tile.first_unit++) {
            if (TILE_VECTORS == 1 && strip == 0 && job->ahead != NULL)
                scores_by_height(&tile, form, rows, 1, 1);
            else
                scores_by_height(&tile, form, rows, 1, 0);
        }
    }
}

#endif
