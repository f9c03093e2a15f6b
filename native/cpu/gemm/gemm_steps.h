/* A GEMM in progress, and the steps that it takes a panel in (KRN_STEP_BLOCKS). */
#ifndef KRN_GEMM_STEPS_H
#define KRN_GEMM_STEPS_H

#include "gemm/gemm_run.h"
#include "gemm/output_stores.h"

typedef struct {
    const krn_gemm_kernel *variant;
    const krn_layout *layout;
    const uint8_t *packed;
    const krn_scales_kernel *scales;
    /* What the tiles and the epilogue see. */
    const krn_activations *activations;
    const krn_gemm_output *output;
    const krn_prepared *prepared;
    int64_t m;
    /* Tiles of rows, and of these per row block. */
    int64_t num_tiles, block_tiles;
    /* The first `taller_tiles` have a row more than `tile_height`. */
    int64_t tile_height, taller_tiles;
    /* Work is cut into panel_blocks x row_blocks, rows being the faster index. */
    int64_t row_blocks, panel_blocks;
    /* As many as take pieces. */
    int64_t num_threads;
    int64_t step_blocks;
    /* A tile of a row or two does without prefetches. */
    int32_t follows_streams;
    /* Bytes that a lone tile of more rows prefetches ahead. */
    int64_t tall_prefetch;
    krn_output_stores stores;
    /* Packed activations of all rows, and offsets [m][num_runs], each tile's interleaved. */
    uint8_t *x;
    int64_t x_row_bytes;
    int32_t *x_offsets;
    int64_t num_runs;
    /* [m][num_groups], each tile's interleaved; only if weights have float offsets. */
    float *x_sums;
} gemm_job;

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* First row of a tile. Heights differ by at most one: 13 rows are 7 + 6, not 12 + 1, because a tile of one row loads
 * as many weights as one of twelve. */
static inline int64_t tile_start(const gemm_job *job, int64_t tile) {
    return tile * job->tile_height + min_i64(tile, job->taller_tiles);
}

static inline int32_t tile_rows(const gemm_job *job, int64_t tile) {
    return (int32_t)(tile_start(job, tile + 1) - tile_start(job, tile));
}

/* A stretch of a panel (krn_tile_job), and where it lies in packed activations. */
typedef struct {
    int64_t group, num_groups;
    int64_t first_block, part_blocks;
    int32_t opens, closes;
    /* The group is longer than int32 sums allow: runs are added up by sum_runs. */
    int32_t is_long;
    /* The first and the last step of a panel. */
    int32_t is_first, is_last;
    int64_t inputs_before, runs_before;
    /* Of its weights; of each tile's share in prefetching the next step, and of that per block. */
    int64_t bytes, share_bytes, share_stride;
} step;

/* Double-quantized scales become f32 before the tiles of a step need them. The reference reads them as they are. */
static inline int widens_scales(const gemm_job *job) {
    return krn_layout_is_nested(job->layout) && job->variant->in_steps;
}

/* Sizes the step that begins at s->group, s->first_block. */
static inline void set_step(step *s, const gemm_job *job) {
    const krn_layout *layout = job->layout;
    const int64_t group_blocks = krn_layout_blocks(layout, s->group), run_blocks = krn_run_blocks(layout);
    /* A single tile has nobody to share the L1 with. */
    const int64_t most = job->num_tiles == 1 ? INT64_MAX : job->step_blocks;
    /* Float cells fold every block of inputs at once and have no sums to overflow. */
    s->is_long = group_blocks > run_blocks && job->activations->scales != NULL && job->variant->in_steps;
    s->num_groups = 1;
    s->part_blocks = 0;
    s->opens = s->closes = 1;
    s->is_first = s->group == 0 && s->first_block == 0;
    if (group_blocks > most || s->is_long) {
        const int64_t left_of_run = run_blocks - s->first_block % run_blocks;
        s->part_blocks = min_i64(min_i64(most, group_blocks - s->first_block), left_of_run);
        s->opens = s->first_block % run_blocks == 0;
        s->closes = !s->is_long && s->first_block + s->part_blocks == group_blocks;
    } else {
        s->num_groups = min_i64(most / group_blocks, layout->num_groups - s->group);
        if (widens_scales(job))
            s->num_groups = min_i64(s->num_groups, KRN_MAX_SCALE_GROUPS);
    }
    s->is_last = s->closes && s->group + s->num_groups == layout->num_groups;
    const int64_t blocks = s->part_blocks > 0 ? s->part_blocks : s->num_groups * group_blocks;
    s->bytes =
        s->part_blocks > 0 ? blocks * KRN_BLOCK_BYTES : s->num_groups * krn_layout_group_bytes(layout, group_blocks);
    s->share_bytes = divide_up(s->bytes, job->block_tiles);
    s->share_stride = divide_up(s->share_bytes, blocks);
}

/* Moves to the next step; 0 when the panel is done. */
static inline int next_step(step *s, const gemm_job *job) {
    const krn_layout *layout = job->layout;
    if (s->part_blocks > 0) {
        s->inputs_before += s->part_blocks * layout->block_k;
        s->first_block += s->part_blocks;
        if (s->first_block == krn_layout_blocks(layout, s->group)) {
            s->runs_before++;
            s->group++;
            s->first_block = 0;
        } else if (s->is_long && s->first_block % krn_run_blocks(layout) == 0) {
            s->runs_before++;
        }
    } else {
        for (int64_t i = 0; i < s->num_groups; i++, s->group++, s->runs_before++)
            s->inputs_before += krn_layout_blocks(layout, s->group) * layout->block_k;
    }
    if (s->group == layout->num_groups)
        return 0;
    set_step(s, job);
    return 1;
}

#endif
