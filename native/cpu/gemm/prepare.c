#include "gemm/prepare.h"

#include <math.h>
#include <string.h>

/* Bits of a row of found[] (side_kernels.h). */
enum { FOUND_BITS = 16 };

static int64_t align_up(int64_t bytes) {
    return (bytes + KRN_WORKSPACE_ALIGNMENT - 1) / KRN_WORKSPACE_ALIGNMENT * KRN_WORKSPACE_ALIGNMENT;
}

/* The parts of the workspace, in order. */
typedef struct {
    int64_t encoders, scales, zero_points, columns, found, p;
} sizes;

/* Bytes of found[] of one piece. Whole lines, so that threads do not share one. */
static int64_t found_bytes(const krn_layout *layout) {
    return align_up((layout->k + FOUND_BITS - 1) / FOUND_BITS * (int64_t)sizeof(uint16_t));
}

static int has_outliers(const krn_gemm_options *options) { return options->outlier_threshold > 0; }

/* Floats of a row of P at most. */
static int64_t p_width(const krn_layout *layout, const krn_gemm_options *options) {
    return (has_outliers(options) ? layout->k : 0) + (options->lora != NULL ? options->lora->rank : 0);
}

static sizes sizes_of(const krn_context *context, const krn_layout *layout, const krn_gemm_options *options,
                      int64_t m) {
    sizes s = {.p = align_up(m * p_width(layout, options) * (int64_t)sizeof(float))};
    if (options->compute != 0) {
        s.encoders = align_up(m * (int64_t)sizeof(krn_block_encoder));
        s.scales = align_up(m * (int64_t)sizeof(float));
        s.zero_points = align_up(m * (int64_t)sizeof(int32_t));
    }
    if (has_outliers(options)) {
        /* The columns, and in weights with an order of their own the places of these. */
        s.columns = align_up(layout->k * (int64_t)sizeof(int32_t)) * (layout->ordered ? 3 : 1);
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

/* Where outlier columns lie in weights that have an order of inputs of their own: places[j] is that of columns[j], and `ascending` has
 * them in rising order. */
static void find_places(const krn_layout *layout, const int32_t *permutation, const int32_t *columns, int64_t count,
                        int32_t *places, int32_t *ascending) {
    int64_t found = 0;
    for (int32_t i = 0; i < layout->k && found < count; i++) {
        int64_t low = 0, high = count;
        while (low < high) {
            const int64_t middle = low + (high - low) / 2;
            if (columns[middle] < permutation[i])
                low = middle + 1;
            else
                high = middle;
        }
        if (low < count && columns[low] == permutation[i]) {
            places[low] = i;
            ascending[found++] = i;
        }
    }
}

/* Finds the outlier columns, in the order of X and in that of the weights. */
static void find_outliers(krn_prepared *prepared, int32_t *columns, uint8_t *found) {
    const krn_gemm_call *call = prepared->call;
    const krn_layout *layout = &call->weights->layout;
    const int32_t *permutation = krn_layout_permutation(layout, call->weights->packed);
    const int64_t count = find_columns(call, prepared->side.kernels, found, columns);
    const int64_t stride = align_up(layout->k * (int64_t)sizeof(int32_t)) / (int64_t)sizeof(int32_t);
    prepared->side.num_columns = prepared->dynamic.num_columns = count;
    prepared->dynamic.columns = prepared->dynamic.places = prepared->side.places = columns;
    if (permutation == NULL)
        return;
    find_places(layout, permutation, columns, count, columns + stride, columns + 2 * stride);
    prepared->side.places = columns + stride;
    prepared->dynamic.places = columns + 2 * stride;
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
    if (has_outliers(options))
        find_outliers(prepared, (int32_t *)(void *)columns, found);
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
