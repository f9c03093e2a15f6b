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
    MAX_SIDE = 3,
    MAX_ZERO_FORMS = 2,
    SIDE_ROWS = 2,
    /* Bytes that each of the streams adds to how far they look ahead: what one stream wants (gemm_run.c). */
    SIDE_PREFETCH_DISTANCE = 4096,
};

/* Rows whose t stays in registers (tile_avx512.h): all or none. The compiler chooses better between t and constants
 * than a rule for both widths of weights did. */
KRN_ALWAYS_INLINE int32_t float_kept_rows(int32_t rows) { return rows <= MAX_KEPT_ROWS ? rows : 0; }

/* What turns codes into numbers: floats or bf16, as the tile has them. */
typedef struct {
    zmm_i table;
    /* Of the 32 channels of a group, if they have any, in the forms that the tile subtracts. */
    zmm_i zeros[MAX_ZERO_FORMS * 2];
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
    /* Partial sums made at once where there are one or two rows, and the group size from which on. */
    int32_t side;
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
    int64_t group, groups_per_sum;
} sum_run;

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
    /* Whole rounds, so that each stream fetches what it will read itself. */
    const int64_t round = tile->side * run->w_stride;
    const int64_t ahead = (tile->side * SIDE_PREFETCH_DISTANCE + round - 1) / round * round;
    zero_sums(acc, side * rows);
    KRN_UNROLL
    for (int32_t s = 0; s < side; s++) {
        own[s] = *codes;
        /* What lies behind the codes of a group: scales and zero points. Without it every group ends in a miss. */
        const uint8_t *behind = w + s * run->w_stride + run->blocks * KRN_BLOCK_BYTES;
        if (run->groups_per_sum > 0)
            for (int64_t line = 0; line < job->layout->scales_bytes + job->layout->zeros_bytes; line += KRN_LINE_BYTES)
                KRN_PREFETCH(behind + ahead + line);
        if (tile->has_zeros)
            tile->load_zeros(own[s].zeros, krn_tile_zeros(job, run->group + (first + s) * run->groups_per_sum));
    }
    for (int64_t b = 0; b < run->blocks; b++, w += KRN_BLOCK_BYTES, x += tile->x_block_bytes * rows) {
        const block_run blocks = {w, x, run->w_stride, run->x_stride};
        KRN_UNROLL
        for (int32_t s = 0; s < side; s++) {
            KRN_PREFETCH(w + s * run->w_stride + ahead);
            KRN_PREFETCH(w + s * run->w_stride + ahead + KRN_LINE_BYTES);
        }
        tile->blocks(acc, own, &blocks, side, rows, tile->bits, tile->has_zeros);
    }
    KRN_UNROLL
    for (int32_t s = 0; s < side; s++) {
        zmm_f scales[2];
        load_scales(scales, job, run->group + (first + s) * run->groups_per_sum);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++)
            fold_row(t, job->t, r, acc[s * rows + r], scales, float_kept_rows(rows));
    }
}

KRN_ALWAYS_INLINE void fold_run(zmm_f t[][2], const krn_tile_job *job, const float_tile *tile, const float_codes *codes,
                                const sum_run *run, int32_t rows) {
    int64_t i = 0;
    for (; i + tile->side <= run->count; i += tile->side)
        fold_side_by_side(t, job, tile, codes, run, i, tile->side, rows);
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

KRN_ALWAYS_INLINE void low_float_tile(const krn_tile_job *job, const float_tile *tile, const float_codes *codes,
                                      int32_t rows) {
    const krn_layout *layout = job->layout;
    const int64_t per_sum = KRN_FLOAT_BLOCK_K * tile->bits / 32, end = job->group + job->num_groups;
    const int64_t x_bytes = tile->x_block_bytes * rows;
    const uint8_t *x = job->x;
    zmm_f t[MAX_KEPT_ROWS][2];
    if (layout->group_size < tile->least_group) {
        tall_float_tile(job, tile, *codes, rows);
        return;
    }
    load_t(t, job, float_kept_rows(rows));
    for (int64_t g = job->group; g < end;) {
        const int64_t blocks = krn_tile_blocks(job, g);
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        sum_run run = {.w = w, .x = x, .w_stride = blocks * KRN_BLOCK_BYTES, .group = g, .blocks = blocks, .count = 1};
        if (blocks <= per_sum) {
            /* The last group may be shorter. */
            if (g + 1 < end)
                run.count = (end < layout->num_groups ? end : end - 1) - g;
            run.groups_per_sum = 1;
            run.w_stride = krn_layout_group_offset(layout, 1) - krn_layout_group_offset(layout, 0);
            run.x_stride = blocks * x_bytes;
            fold_run(t, job, tile, codes, &run, rows);
            g += run.count;
            x += run.count * run.x_stride;
            continue;
        }
        run.count = blocks / per_sum;
        run.blocks = per_sum;
        run.w_stride = per_sum * KRN_BLOCK_BYTES;
        run.x_stride = per_sum * x_bytes;
        fold_run(t, job, tile, codes, &run, rows);
        if (blocks % per_sum != 0) {
            run.w += run.count * run.w_stride;
            run.x += run.count * run.x_stride;
            run.blocks = blocks % per_sum;
            run.count = 1;
            fold_run(t, job, tile, codes, &run, rows);
        }
        g++;
        x += blocks * x_bytes;
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
