#include "gemm/outliers.h"

#include "common/convert.h"
#include "common/status.h"
#include "gemm/side.h"

#include <math.h>

/* The first of `count` ascending columns that is not below `column`. */
static int64_t find_column(const int32_t *columns, int64_t count, int32_t column) {
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (columns[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void krn_outliers_places(const krn_layout *layout, const int32_t *permutation, const int32_t *columns, int64_t count,
                         int32_t *places, int32_t *ascending) {
    int64_t found = 0;
    for (int32_t i = 0; i < layout->k && found < count; i++) {
        const int64_t j = find_column(columns, count, permutation[i]);
        if (j < count && columns[j] == permutation[i]) {
            places[j] = i;
            ascending[found++] = i;
        }
    }
}

/* What a task needs to keep the columns of one panel. */
typedef struct {
    const krn_weights *weights;
    const krn_weights_source *source;
    krn_side side;
    const int32_t *places;
} keep_job;

static void keep_given(const keep_job *job, int64_t panel, uint8_t *kept) {
    const krn_layout *layout = &job->weights->layout;
    const int64_t bytes = krn_float_bytes(layout->outlier_type), first = panel * KRN_PANEL_CHANNELS;
    const uint8_t *given = job->source->outlier_weights;
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS && first + c < layout->n; c++)
        for (int64_t j = 0; j < layout->num_outliers; j++)
            memcpy(kept + (j * KRN_PANEL_CHANNELS + c) * bytes,
                   given + ((first + c) * layout->num_outliers + j) * bytes, (size_t)bytes);
}

static void keep_panel(void *task_context, int64_t panel) {
    const keep_job *job = task_context;
    const krn_layout *layout = &job->weights->layout;
    uint8_t *kept = job->weights->packed + krn_layout_outlier_panel(layout, panel);
    if (job->source->outlier_weights != NULL) {
        keep_given(job, panel, kept);
        return;
    }
    for (int64_t j = 0; j < layout->num_outliers; j++) {
        float q[KRN_PANEL_CHANNELS];
        krn_side_dequantize(&job->side, panel, job->places + j, 1, q);
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS && panel * KRN_PANEL_CHANNELS + c < layout->n; c++)
            krn_put_float(layout->outlier_type, kept, j * KRN_PANEL_CHANNELS + c, q[c]);
    }
}

static int kept_are_finite(const krn_layout *layout, const uint8_t *packed) {
    const int64_t count = layout->num_panels * layout->num_outliers * KRN_PANEL_CHANNELS;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(krn_float_at(layout->outlier_type, packed + layout->outlier_weights_at, i)))
            return 0;
    return 1;
}

krn_status krn_outliers_pack(krn_context *context, krn_weights *weights, const krn_weights_source *source) {
    const krn_layout *layout = &weights->layout;
    if (layout->num_outliers == 0)
        return KRN_OK;
    int32_t *columns = (int32_t *)(weights->packed + layout->outliers_at);
    memcpy(columns, source->outlier_columns, (size_t)layout->num_outliers * sizeof *columns);
    keep_job job = {.weights = weights,
                    .source = source,
                    .side = {.kernels = krn_side_kernels_of(context),
                             .weights = weights,
                             .scales = krn_scales_kernel_for(context->features)},
                    .places = columns};
    void *places = NULL;
    if (layout->ordered) {
        const krn_status status = krn_memory_allocate(krn_layout_outliers_bytes(layout), &places);
        if (status != KRN_OK)
            return status;
        krn_outliers_places(layout, krn_layout_permutation(layout, weights->packed), columns, layout->num_outliers,
                            places, columns + krn_layout_outliers_bytes(layout) / (int64_t)sizeof *columns);
        job.places = places;
    }
    krn_context_run(context, layout->num_panels, keep_panel, &job);
    krn_memory_free(places);
    if (!kept_are_finite(layout, weights->packed))
        return krn_fail(KRN_ERROR_NON_FINITE, "source->codes: a weight of an outlier column dequantizes to infinity");
    return KRN_OK;
}

void krn_outliers_unpack(const krn_layout *layout, const uint8_t *packed, const krn_weights_parts *parts) {
    if (layout->num_outliers == 0)
        return;
    if (parts->outlier_columns != NULL)
        memcpy(parts->outlier_columns, krn_layout_outlier_columns(layout, packed),
               (size_t)layout->num_outliers * sizeof(int32_t));
    const int64_t bytes = krn_float_bytes(layout->outlier_type);
    for (int64_t n = 0; parts->outlier_weights != NULL && n < layout->n; n++) {
        const uint8_t *kept = packed + krn_layout_outlier_panel(layout, n / KRN_PANEL_CHANNELS);
        for (int64_t j = 0; j < layout->num_outliers; j++)
            memcpy((uint8_t *)parts->outlier_weights + (n * layout->num_outliers + j) * bytes,
                   kept + (j * KRN_PANEL_CHANNELS + n % KRN_PANEL_CHANNELS) * bytes, (size_t)bytes);
    }
}

static int is_ascending(const int32_t *indices, int64_t count, int64_t end) {
    for (int64_t j = 0; j < count; j++)
        if (indices[j] < 0 || indices[j] >= end || (j > 0 && indices[j] <= indices[j - 1]))
            return 0;
    return 1;
}

int krn_outliers_are_sound(const krn_layout *layout, const uint8_t *packed) {
    const int32_t *columns = krn_layout_outlier_columns(layout, packed);
    const int32_t *places = krn_layout_outlier_places(layout, packed);
    const int32_t *permutation = krn_layout_permutation(layout, packed);
    const int64_t count = layout->num_outliers;
    if (!is_ascending(columns, count, layout->k) || !is_ascending(places, count, layout->k))
        return 0;
    /* As many places as columns, all different: each has its column. */
    for (int64_t i = 0; i < count && permutation != NULL; i++) {
        const int64_t j = find_column(columns, count, permutation[places[i]]);
        if (j == count || columns[j] != permutation[places[i]])
            return 0;
    }
    return kept_are_finite(layout, packed);
}
