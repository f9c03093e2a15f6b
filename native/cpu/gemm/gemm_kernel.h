/* What a GEMM variant is: three functions over tiles of rows x 32 channels, and how the door splits work into them.
 *
 * The door packs activations once per call, tile by tile, then runs every tile of rows against every panel of channels:
 *
 *   pack_rows    rows of X     -> packed rows: the element type and order that the tile function streams through
 *   tile         packed rows x a stretch of a panel of weights: adds to t[rows][32] in f32
 *   store        t -> Y: activation scale, side term, bias, residual, conversion
 *
 * A stretch is either whole groups, or a part of one group that is longer than what the first-level cache holds. Then
 * the integer sums of the tile rest in `acc` between the parts.
 */
#ifndef KRN_GEMM_KERNEL_H
#define KRN_GEMM_KERNEL_H

#include "common/portability.h"
#include "gemm/dynamic.h"
#include "gemm/scales.h"
#include "kernels/gemm.h"

enum {
    /* Rows of a tile: 12 rows x 2 zmm of channels fill 24 of 32 registers with accumulators. */
    KRN_MAX_TILE_ROWS = 12,
    KRN_MAX_TILE_ELEMS = KRN_MAX_TILE_ROWS * KRN_PANEL_CHANNELS,
    /* Inputs over which an int32 accumulator cannot overflow: 65536 * 255 * 128 < 2^31. A longer group is cut into
     * runs of this length, a multiple of every block_k, whose sums are added up in int64. */
    KRN_EXACT_K = 65536,
    /* Inputs of a partial sum of the float cells (part of the contract in gemm.h). */
    KRN_FLOAT_BLOCK_K = 128,
    /* Blocks of a step, over which the tiles of a row block pass one after the other: 128 KiB of weights, which L2
     * holds beside the packed activations; with groups half of it. A step in L1 costs more in tiles begun and ended
     * than it saves in loads, which the reorder buffer hides: 86, 87, 89, 90 % of the integer peak with steps of
     * 128, 256, 512, 1024 blocks. */
    KRN_STEP_BLOCKS = 1024,
    KRN_GROUPED_STEP_BLOCKS = 512,
    /* Weights of a step, unpacked: half of the smallest L2, past which the tiles of a row block stream. */
    KRN_EXPANDED_BYTES = 64 << 10,
    KRN_MIN_EXPANDED_TILES = 3,
    /* Groups of at least 16 inputs that such a step can have. */
    KRN_MAX_STEP_GROUPS = 256,
    KRN_SMALL_GROUP = 128,
    KRN_LINE_BYTES = 64,
    KRN_SEAM_ELEMS = KRN_LINE_BYTES / 4,
};

/* Rows of X to be packed. */
typedef struct krn_pack_job {
    const krn_layout *layout;
    const krn_activations *activations;
    /* Input i is element permutation[i] of a row; NULL: element i. */
    const int32_t *permutation;
    /* Where codes come from when they are made on the way; then `activations` has no data. Or NULL. */
    const krn_dynamic *dynamic;
    int64_t first_row;
    int32_t rows;
    /* rows * padded_k elements of the variant's element size. */
    void *x;
    /* [num_runs][rows]; integer activations. With S the sum of the packed values over a run: -S * z for a format with
     * a fixed offset z (krn_layout_fixed_zero), -S for groups with zero points. What an accumulator starts from. */
    int32_t *x_offsets;
    /* [num_groups][rows]: the sum of every group (krn_start_job), or NULL if not wanted. */
    float *x_sums;
} krn_pack_job;

/* Weights that will be wanted soon. Per block of weights the lines at `next` and `next` + `second` are prefetched,
 * then `next` moves by `stride`; at the end of a group it moves by `group_stride`. The addresses need not exist.
 * Without this the processor looks ahead no further than its reorder buffer: 22 instead of 37 GB/s for a GEMV on
 * 4-bit codes, and a stall at every step of a GEMM. */
typedef struct krn_prefetch {
    const uint8_t *next;
    int64_t stride, second, group_stride;
} krn_prefetch;

typedef struct krn_tile_job {
    const krn_layout *layout;
    /* The packed weights, and the panel that is worked on. */
    const uint8_t *packed;
    int64_t panel_index;
    const uint8_t *panel;
    /* Double-quantized scales: [num_groups][32] f32 of the stretch; NULL for others, which lie behind their codes. */
    const float *scales;
    /* Whole groups group..group + num_groups - 1; or, when part_blocks > 0, that many blocks of one group from
     * first_block on. */
    int64_t group, num_groups;
    int64_t first_block, part_blocks;
    /* Integer sums start anew, not from `acc`; and end up in t, not in `acc`. Both 1 for whole groups. */
    int32_t opens, closes;
    /* Packed activations and offsets of the stretch. */
    const void *x;
    const int32_t *x_offsets;
    /* [rows] zero points of u8 activations, or NULL. */
    const int32_t *x_zeros;
    /* u8 activations: [num_groups][32] sums of the weights of the stretch, which the first tile of a row block leaves
     * to the others; NULL when there are no others. */
    int32_t *w_sums;
    int32_t w_sums_known;
    /* A variant that expands, among several tiles: the weights of the stretch as it multiplies them, elements of x_bytes
     * each, KRN_EXPANDED_BYTES at most, which the first tile makes for all. */
    void *expanded;
    int32_t shares_expanded, is_expanded;
    int32_t rows;
    krn_prefetch prefetch;
    /* [rows][32] */
    int32_t *acc;
    float *t;
} krn_tile_job;

typedef struct krn_store_job {
    const float *t;
    /* [rows][32], or NULL. */
    const float *side;
    int32_t rows;
    /* Channels of the panel that exist, 1..32. */
    int32_t channels;
    int64_t first_row, first_channel;
    const krn_activations *activations;
    const krn_gemm_output *output;
    /* Y's rows begin on cache lines and Y is too large to stay in L2: whole panels may be written past the caches. */
    int32_t streams;
    /* Too large a Y in f32 whose rows do not: [rows][16] floats that wait for the next panel (seam_avx512.h), which a
     * variant may ignore; and whether the panel is the first or the last of those that follow each other. Or NULL. */
    float *seams;
    int32_t opens_seams, closes_seams;
} krn_store_job;

typedef struct krn_gemm_kernel {
    const char *name;
    uint64_t features;
    /* Cells: bit (1 << type) for every weight format and activation type that it takes. */
    uint32_t formats, activations;
    /* Rows of its tallest tile: with one group per channel, with several, and with groups of less than
     * KRN_SMALL_GROUP inputs. A lower tile keeps its float sums in registers (tile_avx512.h), which pays the more
     * often a group ends: with groups of 128, 82, 85, 86, 88, 87, 84% of the integer peak at 12 (in memory), 6, 7,
     * 8, 9, 12 rows for 8-bit weights. */
    int32_t rows, group_rows, small_group_rows;
    /* Bytes of a packed activation. */
    int32_t x_bytes;
    /* Takes a panel in steps; else always whole, with groups of any length. */
    int32_t in_steps;
    /* The first of three tiles or more leaves the weights of a step to the others unpacked: to f32 where few registers
     * make that dear, to what a product takes where unpacking competes with it for pipes. */
    int32_t expands;
    void (*pack_rows)(const krn_pack_job *job);
    void (*tile)(const krn_tile_job *job);
    void (*store)(const krn_store_job *job);
} krn_gemm_kernel;

KRN_ALWAYS_INLINE void krn_prefetch_block(krn_prefetch *prefetch) {
    KRN_PREFETCH(prefetch->next);
    if (prefetch->second != 0)
        KRN_PREFETCH(prefetch->next + prefetch->second);
    prefetch->next += prefetch->stride;
}

static inline int64_t krn_run_blocks(const krn_layout *layout) { return KRN_EXACT_K / layout->block_k; }

/* Runs of a group of `blocks` blocks; nearly always one. */
static inline int64_t krn_runs_of(const krn_layout *layout, int64_t blocks) {
    const int64_t run = krn_run_blocks(layout);
    return (blocks + run - 1) / run;
}

/* Runs of all groups of a channel. */
static inline int64_t krn_num_runs(const krn_layout *layout) {
    if (layout->num_groups == 0)
        return 0;
    return (layout->num_groups - 1) * krn_runs_of(layout, layout->group_blocks) +
           krn_runs_of(layout, layout->last_group_blocks);
}

/* Where the tile function's stretch of a group begins, and its length. */
static inline const uint8_t *krn_tile_group(const krn_tile_job *job, int64_t group) {
    return job->panel + krn_layout_group_offset(job->layout, group);
}

/* The 32 scales of a group as they are stored; not of double-quantized ones. */
static inline const uint8_t *krn_tile_scales(const krn_tile_job *job, int64_t group) {
    return job->panel + krn_layout_scales_offset(job->layout, group);
}

/* The 32 zero points of a group, as s16; krn_layout_has_zeros. */
static inline const uint8_t *krn_tile_zeros(const krn_tile_job *job, int64_t group) {
    return job->panel + krn_layout_zeros_offset(job->layout, group);
}

static inline int64_t krn_tile_blocks(const krn_tile_job *job, int64_t group) {
    return job->part_blocks > 0 ? job->part_blocks : krn_layout_blocks(job->layout, group);
}

#endif
