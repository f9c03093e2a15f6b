#include "gemm/side.h"
#include "common/convert.h"

#include <string.h>

enum {
    /* Columns of Q made at a time: 8 KiB, in L1 beside the sums of the rows. */
    COLUMNS = 64,
    /* Inputs and ranks projected at a time: 12 rows of X and 16 of A fill 28 KiB of L1. */
    PROJECT_ROWS = 12,
    PROJECT_RANKS = 16,
    PROJECT_INPUTS = 256,
};

static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

#define ADDRESS(variant) &variant,
static const krn_side_kernels *const variants[] = {KRN_SIDE_VARIANTS(ADDRESS)};
#undef ADDRESS

const krn_side_kernels *krn_side_kernels_of(const krn_context *context) {
    const krn_side_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

/* A float matrix, and a part of it as f32. */
typedef struct {
    int32_t type;
    const void *data;
    int64_t ld;
} float_matrix;

typedef struct {
    const float *data;
    int64_t stride;
} float_rows;

static int64_t whole_lanes(int64_t count) {
    return (count + KRN_PROJECT_LANES - 1) / KRN_PROJECT_LANES * KRN_PROJECT_LANES;
}

/* `count` inputs of some rows, padded with zeros to whole lanes: where they lie if they are f32 already, else in
 * `scratch`. */
static float_rows widen_rows(const krn_side_kernels *kernels, const float_matrix *matrix, int64_t first_row,
                             int64_t rows, int64_t start, int64_t count, float (*scratch)[PROJECT_INPUTS]) {
    const uint8_t *from =
        (const uint8_t *)matrix->data + (first_row * matrix->ld + start) * element_bytes(matrix->type);
    if (matrix->type == KRN_TYPE_F32 && count % KRN_PROJECT_LANES == 0)
        return (float_rows){(const float *)(const void *)from, matrix->ld};
    for (int64_t r = 0; r < rows; r++, from += matrix->ld * element_bytes(matrix->type)) {
        kernels->widen(matrix->type, from, count, scratch[r]);
        for (int64_t i = count; i < whole_lanes(count); i++)
            scratch[r][i] = 0;
    }
    return (float_rows){scratch[0], PROJECT_INPUTS};
}

static float reduce_lanes(float lanes[KRN_PROJECT_LANES]) {
    for (int half = KRN_PROJECT_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* Up to PROJECT_ROWS rows by up to PROJECT_RANKS ranks. */
static void project_block(const krn_side *side, const krn_activations *x, int64_t first_row, int32_t rows,
                          int64_t first_rank, int32_t ranks) {
    const krn_lora *lora = side->lora;
    const int64_t width = side->weights->layout.k;
    const float_matrix x_matrix = {x->type, x->data, x->ld}, a_matrix = {lora->type, lora->a, lora->a_ld};
    float x_scratch[PROJECT_ROWS][PROJECT_INPUTS], a_scratch[PROJECT_RANKS][PROJECT_INPUTS];
    float sums[PROJECT_ROWS][PROJECT_RANKS][KRN_PROJECT_LANES];
    memset(sums, 0, sizeof sums);
    for (int64_t start = 0; start < width; start += PROJECT_INPUTS) {
        const int64_t count = min_i64(width - start, PROJECT_INPUTS);
        const float_rows x_rows = widen_rows(side->kernels, &x_matrix, first_row, rows, start, count, x_scratch);
        const float_rows a_rows = widen_rows(side->kernels, &a_matrix, first_rank, ranks, start, count, a_scratch);
        const krn_project_job job = {
            .x = x_rows.data,
            .a = a_rows.data,
            .x_stride = x_rows.stride,
            .a_stride = a_rows.stride,
            .count = whole_lanes(count),
            .rows = rows,
            .ranks = ranks,
            .sums = sums[0][0],
            .sums_ranks = PROJECT_RANKS,
        };
        side->kernels->project(&job);
    }
    for (int32_t r = 0; r < rows; r++) {
        float *p = side->p + (first_row + r) * side->p_ld + side->num_columns + first_rank;
        for (int32_t j = 0; j < ranks; j++)
            p[j] = reduce_lanes(sums[r][j]) * lora->scale;
    }
}

void krn_side_project(const krn_side *side, const krn_activations *x, int64_t first_row, int32_t rows) {
    for (int32_t r = 0; r < rows; r += PROJECT_ROWS)
        for (int64_t j = 0; j < side->lora->rank; j += PROJECT_RANKS)
            project_block(side, x, first_row + r, (int32_t)min_i64(rows - r, PROJECT_ROWS), j,
                          (int32_t)min_i64(side->lora->rank - j, PROJECT_RANKS));
}

/* What a group of a panel dequantizes with. */
typedef struct {
    int64_t group;
    int32_t zeros[KRN_PANEL_CHANNELS];
    float scales[KRN_PANEL_CHANNELS], offsets[KRN_PANEL_CHANNELS];
} group_terms;

/* Of no group yet: what weights have none of is the same in all. */
static void open_terms(const krn_layout *layout, group_terms *terms) {
    terms->group = -1;
    memset(terms->offsets, 0, sizeof terms->offsets);
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++)
        terms->zeros[c] = krn_layout_fixed_zero(layout);
}

static void load_terms(const krn_side *side, int64_t panel, int64_t group, group_terms *terms) {
    const krn_layout *layout = &side->weights->layout;
    const uint8_t *packed = side->weights->packed;
    terms->group = group;
    if (krn_layout_is_nested(layout)) {
        const krn_scales_job widen = {.layout = layout,
                                      .packed = packed,
                                      .panel = panel,
                                      .group = group,
                                      .num_groups = 1,
                                      .scales = terms->scales};
        side->scales->widen(&widen);
    } else {
        krn_widen(terms->scales, layout->scale_type,
                  packed + panel * layout->panel_bytes + krn_layout_scales_offset(layout, group), 0,
                  KRN_PANEL_CHANNELS);
    }
    if (krn_layout_has_zeros(layout)) {
        int16_t zeros[KRN_PANEL_CHANNELS];
        memcpy(zeros, packed + panel * layout->panel_bytes + krn_layout_zeros_offset(layout, group), sizeof zeros);
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++)
            terms->zeros[c] = zeros[c];
    }
    for (int64_t c = 0; layout->zero_type != 0 && c < KRN_PANEL_CHANNELS; c++)
        terms->offsets[c] = krn_offset_at(layout, packed, panel, group, c);
}

/* q[count][32] = the dequantized weights of a panel's channels at some places. */
static void dequantize_columns(const krn_side *side, int64_t panel, const int32_t *places, int64_t count,
                               group_terms *terms, float *q) {
    const krn_layout *layout = &side->weights->layout;
    const uint8_t *start = side->weights->packed + panel * layout->panel_bytes;
    for (int64_t j = 0; j < count; j++) {
        const int64_t group = places[j] / layout->group_size, i = places[j] - group * layout->group_size;
        if (group != terms->group)
            load_terms(side, panel, group, terms);
        const krn_packed_column column = {
            .codes = start + krn_layout_group_offset(layout, group) + i / layout->block_k * KRN_BLOCK_BYTES,
            .shift = (unsigned)(8 * (i % 4)) + (unsigned)krn_layout_code_shift(layout, i),
            .mask = layout->block_k == 8 ? 15 : 255,
            .zeros = terms->zeros,
            .scales = terms->scales,
            .offsets = terms->offsets,
        };
        side->kernels->dequantize(&column, q + j * KRN_PANEL_CHANNELS);
    }
}

void krn_side_dequantize(const krn_side *side, int64_t panel, const int32_t *places, int64_t count, float *q) {
    group_terms terms;
    open_terms(&side->weights->layout, &terms);
    dequantize_columns(side, panel, places, count, &terms, q);
}

/* The same of outlier columns that the weights keep, from column `first` on: where they lie if they are f32, else in
 * `scratch`. */
static const float *kept_columns(const krn_side *side, int64_t panel, int64_t first, int64_t count, float *scratch) {
    const krn_layout *layout = &side->weights->layout;
    const uint8_t *kept = side->weights->packed + krn_layout_outlier_panel(layout, panel);
    if (layout->outlier_type == KRN_TYPE_F32)
        return (const float *)(const void *)kept + first * KRN_PANEL_CHANNELS;
    side->kernels->widen(layout->outlier_type,
                         kept + first * KRN_PANEL_CHANNELS * krn_float_bytes(layout->outlier_type),
                         count * KRN_PANEL_CHANNELS, scratch);
    return scratch;
}

void krn_side_panel(const krn_side *side, int64_t panel, int64_t first_row, int64_t rows, float *out) {
    const krn_side_kernels *kernels = side->kernels;
    const krn_layout *layout = &side->weights->layout;
    const float *p = side->p + first_row * side->p_ld;
    _Alignas(64) float q[COLUMNS * KRN_PANEL_CHANNELS];
    group_terms terms;
    open_terms(layout, &terms);
    memset(out, 0, (size_t)(rows * KRN_PANEL_CHANNELS) * sizeof(float));
    for (int64_t j = 0; j < side->num_columns; j += COLUMNS) {
        const int64_t count = min_i64(side->num_columns - j, COLUMNS);
        const float *columns = q;
        if (layout->num_outliers > 0)
            columns = kept_columns(side, panel, j, count, q);
        else
            dequantize_columns(side, panel, side->places + j, count, &terms, q);
        kernels->add_products(p + j, side->p_ld, columns, count, rows, out);
    }
    if (side->lora == NULL)
        return;
    const krn_lora *lora = side->lora;
    const int64_t first_channel = panel * KRN_PANEL_CHANNELS;
    const int32_t channels = (int32_t)min_i64(layout->n - first_channel, KRN_PANEL_CHANNELS);
    for (int64_t j = 0; j < lora->rank; j += COLUMNS) {
        const int64_t count = min_i64(lora->rank - j, COLUMNS);
        const uint8_t *b = (const uint8_t *)lora->b + (first_channel * lora->b_ld + j) * element_bytes(lora->type);
        kernels->transpose(lora->type, b, lora->b_ld, channels, count, q);
        kernels->add_products(p + side->num_columns + j, side->p_ld, q, count, rows, out);
    }
}
