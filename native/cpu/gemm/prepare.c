#include "gemm/prepare.h"

#include "gemm/outliers.h"

#include <math.h>
#include <string.h>

/* Bits of a row of found[] (side_kernels.h). */
enum { FOUND_BITS = 16 };

/* The parts of the workspace, in order. */
typedef struct {
    int64_t encoders, scales, zero_points, columns, found, p;
} sizes;

/* Bytes of found[] of one piece. Whole lines, so that threads do not share one. */
static int64_t found_bytes(const krn_layout *layout) {
    return krn_align_workspace((layout->k + FOUND_BITS - 1) / FOUND_BITS * (int64_t)sizeof(uint16_t));
}

static int finds_outliers(const krn_gemm_options *options) { return options->outlier_threshold > 0; }

/* Outlier columns that the weights name. */
static int64_t fixed_outliers(const krn_layout *layout, const krn_gemm_options *options) {
    return options->compute != 0 ? layout->num_outliers : 0;
}

/* Floats of a row of P at most. */
static int64_t p_width(const krn_layout *layout, const krn_gemm_options *options) {
    const int64_t outliers = finds_outliers(options) ? layout->k : fixed_outliers(layout, options);
    return outliers + (options->lora != NULL ? options->lora->rank : 0);
}

static sizes sizes_of(const krn_context *context, const krn_layout *layout, const krn_gemm_options *options,
                      int64_t m) {
    sizes s = {.p = krn_align_workspace(m * p_width(layout, options) * (int64_t)sizeof(float))};
    if (options->compute != 0) {
        s.encoders = krn_align_workspace(m * (int64_t)sizeof(krn_block_encoder));
        s.scales = krn_align_workspace(m * (int64_t)sizeof(float));
        s.zero_points = krn_align_workspace(m * (int64_t)sizeof(int32_t));
    }
    if (finds_outliers(options)) {
        /* The columns, and in weights with an order of their own the places of these. */
        s.columns = krn_align_workspace(layout->k * (int64_t)sizeof(int32_t)) * (layout->ordered ? 3 : 1);
        s.found = context->num_threads * found_bytes(layout);
    }
    return s;
}

int64_t krn_prepare_bytes(const krn_context *context, const krn_layout *layout, const krn_gemm_options *options,
                          int64_t m) {
    const sizes s = sizes_of(context, layout, options, m);
    return s.encoders + s.scales + s.zero_points + s.columns + s.found + s.p;
}

int64_t krn_prepare_row_bytes(const krn_layout *layout, const krn_gemm_options *options) {
    const int64_t scales =
        options->compute != 0 ? (int64_t)(sizeof(krn_block_encoder) + sizeof(float) + sizeof(int32_t)) : 0;
    return scales + p_width(layout, options) * (int64_t)sizeof(float);
}

typedef struct {
    const krn_gemm_call *call;
    const krn_side_kernels *kernels;
    uint8_t *found;
    int64_t pieces;
} outlier_search;

static uint16_t *found_of(const outlier_search *search, int64_t piece) {
    return (uint16_t *)(void *)(search->found + piece * found_bytes(&search->call->weights->layout));
}

static void search_piece(void *task_context, int64_t piece) {
    const outlier_search *search = task_context;
    const krn_gemm_call *call = search->call;
    const krn_activations *a = call->activations;
    const krn_layout *layout = &call->weights->layout;
    uint16_t *found = found_of(search, piece);
    memset(found, 0, (size_t)found_bytes(layout));
    const int64_t end = krn_first_row(call->m, search->pieces, piece + 1);
    for (int64_t row = krn_first_row(call->m, search->pieces, piece); row < end; row++) {
        const uint8_t *x = (const uint8_t *)a->data + row * a->ld * krn_element_bytes(a->type);
        search->kernels->find_outliers(a->type, x, layout->k, call->options->outlier_threshold, found);
    }
}

/* Lists the outlier columns; gives their number. */
static int64_t find_columns(const krn_gemm_call *call, const krn_side_kernels *kernels, uint8_t *found,
                            int32_t *columns) {
    outlier_search search = {.call = call, .kernels = kernels, .found = found};
    search.pieces = krn_min(call->context->num_threads, call->m);
    krn_context_run(call->context, search.pieces, search_piece, &search);
    const int64_t words = (call->weights->layout.k + FOUND_BITS - 1) / FOUND_BITS;
    int64_t count = 0;
    for (int64_t i = 0; i < words; i++) {
        unsigned bits = 0;
        for (int64_t piece = 0; piece < search.pieces; piece++)
            bits |= found_of(&search, piece)[i];
        for (int32_t column = (int32_t)(i * FOUND_BITS); bits != 0; bits >>= 1, column++)
            if ((bits & 1) != 0)
                columns[count++] = column;
    }
    return count;
}

/* Finds the outlier columns, in the order of X and in that of the weights. */
static void find_outliers(krn_prepared *prepared, int32_t *columns, uint8_t *found) {
    const krn_gemm_call *call = prepared->call;
    const krn_layout *layout = &call->weights->layout;
    const int32_t *permutation = krn_layout_permutation(layout, call->weights->packed);
    const int64_t count = find_columns(call, prepared->side.kernels, found, columns);
    const int64_t stride = krn_align_workspace(layout->k * (int64_t)sizeof(int32_t)) / (int64_t)sizeof(int32_t);
    prepared->side.num_columns = prepared->dynamic.num_columns = count;
    prepared->dynamic.columns = prepared->dynamic.places = prepared->side.places = columns;
    if (permutation == NULL)
        return;
    krn_outliers_places(layout, permutation, columns, count, columns + stride, columns + 2 * stride);
    prepared->side.places = columns + stride;
    prepared->dynamic.places = columns + 2 * stride;
}

/* Takes the outlier columns that the weights name. */
static void take_outliers(krn_prepared *prepared) {
    const krn_weights *weights = prepared->call->weights;
    prepared->side.num_columns = prepared->dynamic.num_columns = weights->layout.num_outliers;
    prepared->dynamic.columns = krn_layout_outlier_columns(&weights->layout, weights->packed);
    prepared->dynamic.places = krn_layout_outlier_places(&weights->layout, weights->packed);
}

void krn_prepare_open(krn_prepared *prepared, const krn_gemm_call *call, uint8_t *workspace) {
    const krn_gemm_options *options = call->options;
    const krn_layout *layout = &call->weights->layout;
    *prepared = (krn_prepared){.call = call, .activations = *call->activations};
    if (options->compute == 0 && options->lora == NULL)
        return;
    const sizes s = sizes_of(call->context, layout, options, call->m);
    uint8_t *const scales = workspace + s.encoders, *const zero_points = scales + s.scales;
    uint8_t *const columns = zero_points + s.zero_points, *const found = columns + s.columns;
    krn_side *side = &prepared->side;
    *side = (krn_side){.kernels = krn_side_kernels_of(call->context),
                       .weights = call->weights,
                       .scales = krn_scales_kernel_for(call->context->features),
                       .lora = options->lora,
                       .p = (float *)(void *)(found + s.found)};
    if (finds_outliers(options))
        find_outliers(prepared, (int32_t *)(void *)columns, found);
    else if (fixed_outliers(layout, options) > 0)
        take_outliers(prepared);
    side->p_ld = side->num_columns + (options->lora != NULL ? options->lora->rank : 0);
    prepared->has_side = side->p_ld > 0;
    if (options->compute == 0)
        return;
    const krn_quantize_options way = {.struct_size = sizeof way,
                                      .type = options->compute,
                                      .granularity = KRN_GRANULARITY_TOKEN,
                                      .asymmetric = options->compute == KRN_TYPE_U8};
    krn_dynamic *dynamic = &prepared->dynamic;
    prepared->is_dynamic = 1;
    dynamic->quantize = krn_quantize_kernels_of(call->context);
    dynamic->side = side->kernels;
    dynamic->scheme = krn_quantize_scheme_of(&way);
    dynamic->source = call->activations;
    dynamic->k = layout->k;
    dynamic->permutation = krn_layout_permutation(layout, call->weights->packed);
    dynamic->encoders = (krn_block_encoder *)(void *)workspace;
    dynamic->scales = (float *)(void *)scales;
    dynamic->zero_points = (int32_t *)(void *)zero_points;
    /* s4 codes are made as s8. */
    prepared->activations = (krn_activations){
        .struct_size = sizeof prepared->activations,
        .type = options->compute == KRN_TYPE_U8 ? KRN_TYPE_U8 : KRN_TYPE_S8,
        .scales = prepared->dynamic.scales,
        .zero_points = options->compute == KRN_TYPE_U8 ? prepared->dynamic.zero_points : NULL,
    };
}

void krn_prepare_rows(const krn_prepared *prepared, int64_t first_row, int32_t rows) {
    const krn_side *side = &prepared->side;
    for (int64_t row = first_row; prepared->is_dynamic && row < first_row + rows; row++)
        krn_dynamic_measure(&prepared->dynamic, row, side->p + row * side->p_ld);
    if (side->lora != NULL)
        krn_side_project(side, prepared->call->activations, first_row, rows);
}

krn_status krn_prepare_check(const krn_prepared *prepared) {
    for (int64_t row = 0; prepared->is_dynamic && row < prepared->call->m; row++)
        if (isnan(prepared->dynamic.scales[row]))
            return krn_dynamic_fail(&prepared->dynamic, row);
    return KRN_OK;
}
