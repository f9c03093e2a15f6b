#include "gemm/gemm_run.h"

#include "common/fma.h"
#include "gemm/gemm_steps.h"

#include <string.h>

enum {
    /* Tiles of a row block. Their t and acc (3 KiB a tile) live on the stack. */
    MAX_BLOCK_TILES = 32,
    /* Packed activations of a row block: three quarters of a 1 MiB L2, the rest is for panels on their way through. */
    X_BLOCK_BYTES = 768 << 10,
    /* Bytes that a lone tile prefetches ahead: 100 ns at 40 GB/s. Half of it loses a tenth, twice gains nothing. The
     * reorder buffer adds as much again for one row or two and little for taller tiles, which look further. */
    PREFETCH_DISTANCE = 4096,
    TALL_PREFETCH_DISTANCE = 16384,
    /* The same on Zen 4, with 32 KiB of first cache instead of 48: W8A8 of 8 rows 16% less time, W4A8 4%. */
    NEAR_PREFETCH_DISTANCE = 8192,
    TALL_ROWS = 3,
    /* Of the next panel, where the processor's own prefetcher does the rest: 3 points of W4A8 per channel on Zen 4, 32
     * as good, 64 a loss. */
    NEXT_PANEL_LINES = 16,
    /* The tiles of one and two rows look that far ahead of themselves (tile_float_avx512.h). */
    WIDENING_PREFETCH_DISTANCE = 8192,
    /* Panels that row blocks take in turn: they wait for the next one in the last-level cache (4 points at K =
     * 14336). */
    PANEL_BLOCK_BYTES = 2 << 20,
    /* Pieces per thread: enough to even out cores of unequal speed, few enough that each streams long. */
    PIECES_PER_THREAD = 4,
};

static void pack_tile(void *task_context, int64_t tile) {
    const gemm_job *job = task_context;
    const int64_t first_row = tile_start(job, tile);
    const krn_pack_job pack = {
        .layout = job->layout,
        .activations = job->activations,
        .permutation = krn_layout_permutation(job->layout, job->packed),
        .dynamic = job->prepared->is_dynamic ? &job->prepared->dynamic : NULL,
        .first_row = first_row,
        .rows = tile_rows(job, tile),
        .x = job->x + first_row * job->x_row_bytes,
        .x_offsets = job->x_offsets + first_row * job->num_runs,
        .x_sums = krn_wants_sums(job->variant, job->layout) ? job->x_sums + first_row * job->layout->num_groups : NULL};
    krn_prepare_rows(job->prepared, first_row, pack.rows);
    job->variant->pack_rows(&pack);
}

/* Tiles of a row block against one panel. */
typedef struct {
    int64_t first_tile, num_tiles;
    int64_t first_panel, end_panel;
    /* The tiles of other rows that this thread works on next; none if it stays with its rows. */
    int64_t next_tile, num_next_tiles;
    _Alignas(64) float t[MAX_BLOCK_TILES][KRN_MAX_TILE_ELEMS];
    _Alignas(64) int32_t acc[MAX_BLOCK_TILES][KRN_MAX_TILE_ELEMS];
    _Alignas(64) int32_t w_sums[KRN_MAX_STEP_GROUPS * KRN_PANEL_CHANNELS];
    _Alignas(64) uint8_t expanded[KRN_EXPANDED_BYTES];
    _Alignas(64) float scales[KRN_MAX_SCALE_GROUPS * KRN_PANEL_CHANNELS];
    /* The rows of all tiles, one behind the other. */
    _Alignas(64) float side[MAX_BLOCK_TILES * KRN_MAX_TILE_ELEMS];
    _Alignas(64) float seams[MAX_BLOCK_TILES][KRN_MAX_TILE_ROWS * KRN_SEAM_ELEMS];
} tile_block;

static int is_low_and_alone(const gemm_job *job, const tile_block *block) {
    return block->num_tiles == 1 && tile_rows(job, block->first_tile) < TALL_ROWS;
}

/* Between two panels nobody else asks memory for anything. */
static void ask_for_next_panel(const uint8_t *next) {
    for (int64_t i = 0; i < NEXT_PANEL_LINES; i++)
        KRN_PREFETCH(next + i * KRN_LINE_BYTES);
}

/* A single tile meets every line once: unless the processor does so, it looks a fixed distance ahead of itself.
 * Several tiles share the next step among them: each fetches its part of it while it works on this one. On the last
 * panel before other rows a tile fetches theirs instead, in place of its own activations, which nobody reads any
 * more. */
static krn_prefetch prefetch_of(const gemm_job *job, const step *s, int64_t panel, const uint8_t *here,
                                const tile_block *block, int64_t i) {
    if (is_low_and_alone(job, block) && job->follows_streams)
        return (krn_prefetch){here, 0, 0, 0};
    if (block->num_tiles == 1) {
        const int64_t distance = is_low_and_alone(job, block) ? PREFETCH_DISTANCE : job->tall_prefetch;
        return (krn_prefetch){here + distance, KRN_BLOCK_BYTES, KRN_BLOCK_BYTES / 2,
                              krn_layout_group_bytes(job->layout, 0)};
    }
    if (panel + 1 == block->end_panel && i < block->num_next_tiles) {
        const int64_t tile = block->next_tile + i, input_bytes = tile_rows(job, tile) * job->variant->x_bytes;
        const int64_t stride = input_bytes * job->layout->block_k;
        return (krn_prefetch){job->x + tile_start(job, tile) * job->x_row_bytes + s->inputs_before * input_bytes,
                              stride, stride > KRN_LINE_BYTES ? KRN_LINE_BYTES : 0, 0};
    }
    return (krn_prefetch){here + s->bytes + i * s->share_bytes, s->share_stride, 0, 0};
}

/* The first tile to be stored has the side term of all made: the panel's columns, gathered once, are in L2 by then. */
static const float *side_of_tile(const gemm_job *job, int64_t panel, tile_block *block, int64_t i) {
    if (!job->prepared->has_side)
        return NULL;
    const int64_t first_row = tile_start(job, block->first_tile);
    if (i == 0)
        krn_side_panel(&job->prepared->side, panel, first_row,
                       tile_start(job, block->first_tile + block->num_tiles) - first_row, block->side);
    return block->side + (tile_start(job, block->first_tile + i) - first_row) * KRN_PANEL_CHANNELS;
}

static void store_tile(const gemm_job *job, int64_t panel, tile_block *block, int64_t i) {
    const int64_t tile = block->first_tile + i, first_channel = panel * KRN_PANEL_CHANNELS;
    const krn_store_job store = {.t = block->t[i],
                                 .side = side_of_tile(job, panel, block, i),
                                 .rows = tile_rows(job, tile),
                                 .channels = (int32_t)min_i64(job->layout->n - first_channel, KRN_PANEL_CHANNELS),
                                 .first_row = tile_start(job, tile),
                                 .first_channel = first_channel,
                                 .activations = job->activations,
                                 .output = job->output,
                                 .streams = job->stores == KRN_STORES_STREAMED,
                                 .seams = job->stores == KRN_STORES_SEAMED ? block->seams[i] : NULL,
                                 .opens_seams = panel == block->first_panel,
                                 .closes_seams = panel + 1 == block->end_panel};
    job->variant->store(&store);
}

/* t of a tile: zero, or what float offsets add up to. */
static void start_tile(const gemm_job *job, int64_t panel, tile_block *block, int64_t i) {
    const int64_t first_row = tile_start(job, block->first_tile + i);
    const int32_t rows = tile_rows(job, block->first_tile + i);
    if (!krn_wants_sums(job->variant, job->layout)) {
        memset(block->t[i], 0, (size_t)rows * KRN_PANEL_CHANNELS * sizeof(float));
        return;
    }
    const krn_start_job start = {.layout = job->layout,
                                 .packed = job->packed,
                                 .panel = panel,
                                 .x_sums = job->x_sums + first_row * job->layout->num_groups,
                                 .rows = rows,
                                 .t = block->t[i]};
    job->scales->start(&start);
}

/* While scales are widened nobody else asks memory for anything. Tiles of floats take longer than memory anyway. */
static void widen_scales(const gemm_job *job, const step *s, int64_t panel, const uint8_t *here, tile_block *block) {
    const krn_scales_job widen = {
        .layout = job->layout,
        .packed = job->packed,
        .panel = panel,
        .group = s->group,
        .num_groups = s->num_groups,
        .scales = block->scales,
        .ahead = job->variant->x_bytes < (int64_t)sizeof(float) ? here + WIDENING_PREFETCH_DISTANCE : NULL};
    job->scales->widen(&widen);
}

static void run_step(const gemm_job *job, const step *s, int64_t panel, tile_block *block) {
    const int32_t *x_zeros = job->activations->zero_points;
    const uint8_t *panel_start = job->packed + panel * job->layout->panel_bytes;
    const uint8_t *here =
        panel_start + krn_layout_group_offset(job->layout, s->group) + s->first_block * KRN_BLOCK_BYTES;
    if (widens_scales(job))
        widen_scales(job, s, panel, here, block);
    for (int64_t i = 0; i < block->num_tiles; i++) {
        const int64_t tile = block->first_tile + i, first_row = tile_start(job, tile);
        const int32_t rows = tile_rows(job, tile);
        if (s->is_first)
            start_tile(job, panel, block, i);
        const krn_tile_job compute = {
            .layout = job->layout,
            .packed = job->packed,
            .panel_index = panel,
            .panel = panel_start,
            .scales = widens_scales(job) ? block->scales : NULL,
            .group = s->group,
            .num_groups = s->num_groups,
            .first_block = s->first_block,
            .part_blocks = s->part_blocks,
            .opens = s->opens,
            .closes = s->closes,
            .x = job->x + first_row * job->x_row_bytes + s->inputs_before * job->variant->x_bytes * rows,
            .x_offsets = job->x_offsets + first_row * job->num_runs + s->runs_before * rows,
            .x_zeros = x_zeros == NULL ? NULL : x_zeros + first_row,
            .w_sums = x_zeros != NULL && block->num_tiles > 1 ? block->w_sums : NULL,
            .w_sums_known = i > 0,
            .expanded = block->expanded,
            .shares_expanded = job->variant->expands && block->num_tiles >= KRN_MIN_EXPANDED_TILES,
            .is_expanded = i > 0,
            .rows = rows,
            .prefetch = prefetch_of(job, s, panel, here, block, i),
            .acc = block->acc[i],
            .t = block->t[i],
        };
        job->variant->tile(&compute);
        if (is_low_and_alone(job, block) && job->follows_streams)
            ask_for_next_panel(here + s->bytes);
        /* At once, while t is in L1. */
        if (s->is_last)
            store_tile(job, panel, block, i);
    }
}

/* A group too long for int32 sums: at the end of each run its sums join those in int64, at the end of the group they
 * are folded as gemm.h says. Rare, so one plain version serves every variant. */
static void run_long_group(const gemm_job *job, step *s, int64_t panel, tile_block *block) {
    const int64_t group = s->group, group_blocks = krn_layout_blocks(job->layout, group);
    int64_t sums[MAX_BLOCK_TILES][KRN_MAX_TILE_ELEMS];
    memset(sums, 0, sizeof sums);
    for (;;) {
        const int64_t end = s->first_block + s->part_blocks;
        run_step(job, s, panel, block);
        if (end % krn_run_blocks(job->layout) == 0 || end == group_blocks)
            for (int64_t i = 0; i < block->num_tiles; i++)
                for (int64_t e = 0; e < KRN_MAX_TILE_ELEMS; e++)
                    sums[i][e] += block->acc[i][e];
        if (end == group_blocks)
            break;
        next_step(s, job);
    }
    float scales[KRN_PANEL_CHANNELS] = {0};
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS && panel * KRN_PANEL_CHANNELS + c < job->layout->n; c++)
        scales[c] = krn_scale_at(job->layout, job->packed, panel, group, c);
    for (int64_t i = 0; i < block->num_tiles; i++)
        for (int64_t e = 0; e < KRN_MAX_TILE_ELEMS; e++)
            block->t[i][e] = krn_fmaf((float)sums[i][e], scales[e % KRN_PANEL_CHANNELS], block->t[i][e]);
    for (int64_t i = 0; group + 1 == job->layout->num_groups && i < block->num_tiles; i++)
        store_tile(job, panel, block, i);
}

static void run_panel(const gemm_job *job, int64_t panel, tile_block *block) {
    step s = {0};
    set_step(&s, job);
    do {
        if (s.is_long)
            run_long_group(job, &s, panel, block);
        else
            run_step(job, &s, panel, block);
    } while (next_step(&s, job));
}

/* K = 0: every sum is empty. */
static void run_empty_panel(const gemm_job *job, int64_t panel, tile_block *block) {
    memset(block->t, 0, (size_t)block->num_tiles * sizeof block->t[0]);
    for (int64_t i = 0; i < block->num_tiles; i++)
        store_tile(job, panel, block, i);
}

/* The tiles that this thread takes up after piece `index`, as long as threads keep pace. */
static void find_next_tiles(const gemm_job *job, int64_t index, tile_block *block) {
    const int64_t next = index + job->num_threads;
    block->num_next_tiles = 0;
    if (next >= job->row_blocks * job->panel_blocks || next % job->row_blocks == index % job->row_blocks)
        return;
    block->next_tile = next % job->row_blocks * job->block_tiles;
    block->num_next_tiles = min_i64(job->block_tiles, job->num_tiles - block->next_tile);
}

static void run_block(void *task_context, int64_t index) {
    const gemm_job *job = task_context;
    const int64_t row_block = index % job->row_blocks, panel_block = index / job->row_blocks;
    const int64_t panels = job->layout->num_panels;
    tile_block block;
    block.first_tile = row_block * job->block_tiles;
    block.num_tiles = min_i64(job->block_tiles, job->num_tiles - block.first_tile);
    memset(block.acc, 0, (size_t)block.num_tiles * sizeof block.acc[0]);
    block.first_panel = panel_block * panels / job->panel_blocks;
    block.end_panel = (panel_block + 1) * panels / job->panel_blocks;
    find_next_tiles(job, index, &block);
    for (int64_t panel = block.first_panel; panel < block.end_panel; panel++)
        if (job->layout->num_groups > 0)
            run_panel(job, panel, &block);
        else
            run_empty_panel(job, panel, &block);
    if (job->stores != KRN_STORES_PLAIN)
        KRN_STREAM_FENCE();
}

static int32_t max_rows_of(const krn_gemm_kernel *variant, const krn_layout *layout) {
    if (layout->num_groups <= 1)
        return variant->rows;
    return layout->group_size < KRN_SMALL_GROUP ? variant->small_group_rows : variant->group_rows;
}

static int64_t step_blocks_of(const krn_gemm_kernel *variant, const krn_layout *layout) {
    if (variant->expands)
        return KRN_EXPANDED_BYTES / (layout->block_k * KRN_PANEL_CHANNELS * variant->x_bytes);
    if (!variant->in_steps)
        return INT64_MAX;
    return layout->num_groups > 1 ? KRN_GROUPED_STEP_BLOCKS : KRN_STEP_BLOCKS;
}

static void split_work(gemm_job *job, int32_t num_threads) {
    const int64_t tile_bytes = divide_up(job->m, job->num_tiles) * job->x_row_bytes + 1;
    const int64_t most = min_i64(MAX_BLOCK_TILES, max_i64(1, X_BLOCK_BYTES / tile_bytes));
    job->row_blocks = divide_up(job->num_tiles, most);
    /* Row blocks of equal height, for the same reason as tiles. */
    job->block_tiles = divide_up(job->num_tiles, job->row_blocks);
    job->row_blocks = divide_up(job->num_tiles, job->block_tiles);
    const int64_t for_threads = num_threads == 1 ? 1 : (int64_t)num_threads * PIECES_PER_THREAD;
    const int64_t bytes = job->row_blocks == 1 ? 0 : job->layout->num_panels * job->layout->panel_bytes;
    job->panel_blocks = min_i64(max_i64(for_threads, bytes / PANEL_BLOCK_BYTES), job->layout->num_panels);
}

/* With products of bytes, one or two rows take less time to compute than their weights to read. Other tiles lose 5 to
 * 50% without prefetches, on Zen 4, too. */
static int only_reads(const krn_gemm_kernel *variant) {
    return (variant->features & KRN_CPU_AVX512VNNI) != 0 && variant->x_bytes == 1;
}

krn_status krn_gemm_run(const krn_gemm_call *call) {
    const krn_layout *layout = &call->weights->layout;
    const krn_gemm_kernel *variant = call->variant;
    const int32_t type = call->options->compute != 0 ? call->options->compute : call->activations->type;
    const krn_workspace space = krn_workspace_of(variant, layout, type, call->m);
    uint8_t *const workspace = call->workspace;
    krn_prepared prepared;
    gemm_job job = {.variant = variant,
                    .layout = layout,
                    .packed = call->weights->packed,
                    .scales = krn_scales_kernel_for(call->context->features),
                    .activations = &prepared.activations,
                    .output = call->output,
                    .prepared = &prepared,
                    .m = call->m,
                    .stores = krn_choose_stores(call->output, call->m, layout->n),
                    .num_tiles = divide_up(call->m, max_rows_of(variant, layout)),
                    .step_blocks = step_blocks_of(variant, layout),
                    .x = workspace,
                    .x_row_bytes = layout->padded_k * variant->x_bytes,
                    .x_offsets = (int32_t *)(void *)(workspace + space.x_offsets),
                    .num_runs = krn_num_runs(layout),
                    .x_sums = (float *)(void *)(workspace + space.x_sums)};
    job.tile_height = call->m / job.num_tiles;
    job.taller_tiles = call->m % job.num_tiles;
    job.num_threads = call->context->num_threads;
    job.follows_streams = call->context->follows_streams && only_reads(variant);
    job.tall_prefetch = call->context->follows_streams ? NEAR_PREFETCH_DISTANCE : TALL_PREFETCH_DISTANCE;
    split_work(&job, call->context->num_threads);
    krn_prepare_open(&prepared, call, workspace + space.end);
    krn_context_run(call->context, job.num_tiles, pack_tile, &job);
    const krn_status status = krn_prepare_check(&prepared);
    if (status == KRN_OK)
        krn_context_run(call->context, job.row_blocks * job.panel_blocks, run_block, &job);
    return status;
}
