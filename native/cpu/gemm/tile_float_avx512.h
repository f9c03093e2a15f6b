/* The loop of the AVX-512 tiles with float sums. What differs between them, how a block of codes meets its
 * activations, is a function that the compiler puts in place.
 *
 * One or two rows leave most registers free, and their few chains of dependent additions would leave the multipliers
 * idle for most of the time. There several partial sums are made at once, of as many stretches of KRN_FLOAT_BLOCK_K
 * inputs. They enter t in the order of gemm.h, so a row has the same bits as in a taller tile. */
#ifndef KRN_GEMM_TILE_FLOAT_AVX512_H
#define KRN_GEMM_TILE_FLOAT_AVX512_H

#include "gemm/tile_avx512.h"

enum {
    MAX_SIDE = 4,
    SIDE_ROWS = 2,
    /* Bytes that the streams together look ahead, at least. */
    SIDE_PREFETCH_DISTANCE = 8192,
};

/* Rows whose t stays in registers (tile_avx512.h): all or none. The compiler chooses better between t and constants
 * than a rule for both widths of weights did. */
KRN_ALWAYS_INLINE int32_t float_kept_rows(int32_t rows) { return rows <= MAX_KEPT_ROWS ? rows : 0; }

/* What turns codes into numbers: floats or bf16, as the tile has them. */
typedef struct {
    zmm_i table;
    /* Entries 16..31 and all of them in bf16, if the tile uses them (tile_f32_low_avx512.h). */
    zmm_i upper_table, words;
    /* Of the 32 channels of a group, if they have any, in the form that the tile subtracts. */
    zmm_i zeros[2];
} float_codes;

/* Blocks of weights at equal distances, and the activations that they meet. */
typedef struct {
    const uint8_t *w, *x;
    int64_t w_stride, x_stride;
} block_run;

/* A kind of tile. All constants, so that nothing of it is left in the loops. */
typedef struct {
    int32_t bits;
    int32_t has_zeros;
    /* Partial sums made at once for one row and for two, and the group size from which on. */
    int32_t side[SIDE_ROWS];
    int64_t least_group;
    /* Bytes of the packed activations of a row that meet a block of weights. */
    int64_t x_block_bytes;
    /* From a group's zero points. */
    void (*load_zeros)(zmm_i zeros[], const uint8_t *stored);
    /* acc[s][row] += block s of weights x its activations, for `side` blocks. */
    void (*blocks)(zmm_f acc[][2], const float_codes *codes, const block_run *run, int32_t side, int32_t rows,
                   int32_t bits, int32_t has_zeros);
} float_tile;

/* `count` partial sums of `blocks` blocks each, at equal distances: within a group, or one of each group. */
typedef struct {
    const uint8_t *w, *x;
    int64_t w_stride, x_stride;
    int64_t count, blocks;
    int64_t groups_per_sum;
    /* Of the first sum, and how far it is to those of the next one. */
    const uint8_t *scales, *zeros;
    int64_t scales_stride, zeros_stride;
    int32_t scale_type;
} sum_run;

/* Whether each product of a row loads its activation for itself. A broadcast that two products share is a load less, of
 * which two a cycle are possible, and on Zen 4 a shuffle more, of which there is one: W8 x f32 of 12 rows takes 108
 * cycles a block with such broadcasts, 99 if every second row has none, 98 without any, for 96 multiply-adds. */
KRN_ALWAYS_INLINE int loads_each(int32_t row, int32_t rows) { return rows == 1 || row % 2 == 1; }

KRN_ALWAYS_INLINE void zero_sums(zmm_f acc[][2], int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++)
        acc[r][0] = acc[r][1] = zero_f();
}

/* Sums first..first + side - 1 of a run. */
KRN_ALWAYS_INLINE void fold_side_by_side(zmm_f t[][2], const krn_tile_job *job, const float_tile *tile,
                                         const float_codes *codes, const sum_run *run, int64_t first, int32_t side,
                                         int32_t rows) {
    const uint8_t *w = run->w + first * run->w_stride, *x = run->x + first * run->x_stride;
    zmm_f acc[MAX_SIDE * SIDE_ROWS][2];
    float_codes own[MAX_SIDE];
    /* Lines are fetched in the order of memory, whichever stream they are for: 94% of the read bandwidth in a loop that
     * only adds four streams up, 81% if each stream fetches its own. The last stream's lines are asked for just before
     * the next round begins, so one more round ahead. */
    const int64_t round = side * run->w_stride, codes_bytes = side * run->blocks * KRN_BLOCK_BYTES;
    const uint8_t *ahead = w + (2 * round > SIDE_PREFETCH_DISTANCE ? 2 * round : SIDE_PREFETCH_DISTANCE);
    for (int64_t behind = codes_bytes; behind < round; behind += KRN_LINE_BYTES, ahead += KRN_LINE_BYTES)
        KRN_PREFETCH(ahead);
    zero_sums(acc, side * rows);
    KRN_UNROLL
    for (int32_t s = 0; s < side; s++) {
        own[s] = *codes;
        if (tile->has_zeros)
            tile->load_zeros(own[s].zeros, run->zeros + (first + s) * run->zeros_stride);
    }
    for (int64_t b = 0; b < run->blocks; b++, w += KRN_BLOCK_BYTES, x += tile->x_block_bytes * rows) {
        const block_run blocks = {w, x, run->w_stride, run->x_stride};
        KRN_UNROLL
        for (int32_t s = 0; s < side; s++) {
            KRN_PREFETCH(ahead);
            KRN_PREFETCH(ahead + KRN_LINE_BYTES);
            ahead += KRN_BLOCK_BYTES;
        }
        tile->blocks(acc, own, &blocks, side, rows, tile->bits, tile->has_zeros);
    }
    KRN_UNROLL
    for (int32_t s = 0; s < side; s++) {
        zmm_f scales[2];
        load_floats(scales, run->scale_type, run->scales + (first + s) * run->scales_stride);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++)
            fold_row(t, job->t, r, acc[s * rows + r], scales, float_kept_rows(rows));
    }
}

KRN_ALWAYS_INLINE void fold_run(zmm_f t[][2], const krn_tile_job *job, const float_tile *tile, const float_codes *codes,
                                const sum_run *run, int32_t rows) {
    const int32_t side = tile->side[rows - 1];
    int64_t i = 0;
    for (; i + side <= run->count; i += side)
        fold_side_by_side(t, job, tile, codes, run, i, side, rows);
    /* A sum alone takes as long as two beside each other. */
    for (; side > 2 && i + 2 <= run->count; i += 2)
        fold_side_by_side(t, job, tile, codes, run, i, 2, rows);
    for (; i < run->count; i++)
        fold_side_by_side(t, job, tile, codes, run, i, 1, rows);
}

KRN_ALWAYS_INLINE void tall_float_tile(const krn_tile_job *job, const float_tile *tile, float_codes codes,
                                       int32_t rows) {
    const int64_t per_sum = KRN_FLOAT_BLOCK_K * tile->bits / 32;
    const uint8_t *x = job->x;
    krn_prefetch prefetch = job->prefetch;
    zmm_f t[MAX_KEPT_ROWS][2];
    load_t(t, job, float_kept_rows(rows));
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        const int64_t blocks = krn_tile_blocks(job, g);
        zmm_f scales[2];
        load_scales(scales, job, g);
        if (tile->has_zeros)
            tile->load_zeros(codes.zeros, krn_tile_zeros(job, g));
        for (int64_t b = 0; b < blocks;) {
            const int64_t end = b + per_sum < blocks ? b + per_sum : blocks;
            zmm_f acc[KRN_MAX_TILE_ROWS][2];
            zero_sums(acc, rows);
            for (; b < end; b++, w += KRN_BLOCK_BYTES, x += tile->x_block_bytes * rows) {
                krn_prefetch_block(&prefetch);
                const block_run one = {w, x, 0, 0};
                tile->blocks(acc, &codes, &one, 1, rows, tile->bits, tile->has_zeros);
            }
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++)
                fold_row(t, job->t, r, acc[r], scales, float_kept_rows(rows));
        }
        prefetch.next += prefetch.group_stride;
    }
    store_t(job, t, float_kept_rows(rows));
}

/* The partial sums from block `first` of group g on that are equally long and equally far apart. The last group may be
 * shorter than the others. */
KRN_ALWAYS_INLINE sum_run next_run(const krn_tile_job *job, int64_t per_sum, int64_t x_bytes, int64_t g,
                                   int64_t first) {
    const krn_layout *layout = job->layout;
    const int64_t blocks = krn_tile_blocks(job, g), end = job->group + job->num_groups;
    const int64_t alike = end < layout->num_groups || layout->last_group_blocks == blocks ? end : end - 1;
    sum_run run = {.w = krn_tile_group(job, g) + (job->first_block + first) * KRN_BLOCK_BYTES};
    if (blocks <= per_sum) {
        run.blocks = blocks;
        run.count = g < alike ? alike - g : 1;
        run.groups_per_sum = 1;
        run.w_stride = krn_layout_group_bytes(layout, blocks);
    } else {
        run.blocks = blocks - first < per_sum ? blocks - first : per_sum;
        run.count = (blocks - first) / run.blocks;
        run.w_stride = run.blocks * KRN_BLOCK_BYTES;
    }
    run.x_stride = run.blocks * x_bytes;
    /* What is stored of a group lies where it lies in the group before it, if both are alike. */
    run.scale_type = job->scales != NULL ? KRN_TYPE_F32 : layout->scale_type;
    run.scales = job->scales != NULL ? (const uint8_t *)(job->scales + (g - job->group) * KRN_PANEL_CHANNELS)
                                     : krn_tile_scales(job, g);
    run.scales_stride =
        run.groups_per_sum * (job->scales != NULL ? KRN_PANEL_CHANNELS * (int64_t)sizeof(float) : run.w_stride);
    run.zeros = krn_layout_has_zeros(layout) ? krn_tile_zeros(job, g) : NULL;
    run.zeros_stride = run.groups_per_sum * run.w_stride;
    return run;
}

KRN_ALWAYS_INLINE void low_float_tile(const krn_tile_job *job, const float_tile *tile, const float_codes *codes,
                                      int32_t rows) {
    const int64_t per_sum = KRN_FLOAT_BLOCK_K * tile->bits / 32, end = job->group + job->num_groups;
    const uint8_t *x = job->x;
    zmm_f t[MAX_KEPT_ROWS][2];
    if (job->layout->group_size < tile->least_group) {
        tall_float_tile(job, tile, *codes, rows);
        return;
    }
    load_t(t, job, float_kept_rows(rows));
    for (int64_t g = job->group, first = 0; g < end;) {
        sum_run run = next_run(job, per_sum, tile->x_block_bytes * rows, g, first);
        run.x = x;
        fold_run(t, job, tile, codes, &run, rows);
        x += run.count * run.x_stride;
        first += run.count * run.blocks;
        if (run.groups_per_sum > 0 || first == krn_tile_blocks(job, g)) {
            g += run.groups_per_sum > 0 ? run.count : 1;
            first = 0;
        }
    }
    store_t(job, t, float_kept_rows(rows));
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void run_float_tile(const krn_tile_job *job, const float_tile *tile, const float_codes *codes) {
    switch (job->rows) {
    case 1: low_float_tile(job, tile, codes, 1); break;
    case 2: low_float_tile(job, tile, codes, 2); break;
    case 3: tall_float_tile(job, tile, *codes, 3); break;
    case 4: tall_float_tile(job, tile, *codes, 4); break;
    case 5: tall_float_tile(job, tile, *codes, 5); break;
    case 6: tall_float_tile(job, tile, *codes, 6); break;
    case 7: tall_float_tile(job, tile, *codes, 7); break;
    case 8: tall_float_tile(job, tile, *codes, 8); break;
    case 9: tall_float_tile(job, tile, *codes, 9); break;
    case 10: tall_float_tile(job, tile, *codes, 10); break;
    case 11: tall_float_tile(job, tile, *codes, 11); break;
    default: tall_float_tile(job, tile, *codes, 12); break;
    }
}

#endif
