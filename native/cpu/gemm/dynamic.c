#include "gemm/dynamic.h"

#include "common/status.h"

#include <float.h>
#include <math.h>

enum {
    /* Inputs whose outliers are set to 0 at a time: 8 KiB, in L1. */
    MEASURE_CHUNK = 2048,
    /* Inputs brought into the order of the weights at a time. */
    GATHER_CHUNK = 256,
};

typedef struct {
    float lowest, highest;
    int32_t is_finite;
} row_range;

static const uint8_t *source_of(const krn_dynamic *dynamic, int64_t row, int64_t first) {
    const krn_activations *a = dynamic->source;
    return (const uint8_t *)a->data + (row * a->ld + first) * krn_element_bytes(a->type);
}

/* Widens the range by `count` values. It keeps 0, which krn_quantize_derive adds to it anyway. */
static void widen_range(const krn_dynamic *dynamic, int32_t type, const void *values, int64_t count, row_range *range) {
    float lowest = 0, highest;
    dynamic->quantize->magnitudes(type, values, count, count, &highest);
    if (!(highest <= FLT_MAX)) {
        range->is_finite = 0;
        return;
    }
    if (dynamic->scheme.asymmetric)
        dynamic->quantize->extents(type, values, count, count, &lowest, &highest);
    range->lowest = lowest < range->lowest ? lowest : range->lowest;
    range->highest = highest > range->highest ? highest : range->highest;
}

/* The range of a row without its outliers, which are moved to `outliers`. */
static void measure_rest(const krn_dynamic *dynamic, int64_t row, float *outliers, row_range *range) {
    float values[MEASURE_CHUNK];
    int64_t j = 0;
    for (int64_t start = 0; start < dynamic->k; start += MEASURE_CHUNK) {
        const int64_t count = krn_min(dynamic->k - start, MEASURE_CHUNK);
        dynamic->side->widen(dynamic->source->type, source_of(dynamic, row, start), count, values);
        for (; j < dynamic->num_columns && dynamic->columns[j] < start + count; j++) {
            float *value = &values[dynamic->columns[j] - start];
            outliers[j] = *value;
            range->is_finite &= isfinite(*value) != 0;
            *value = 0;
        }
        widen_range(dynamic, KRN_TYPE_F32, values, count, range);
    }
}

void krn_dynamic_measure(const krn_dynamic *dynamic, int64_t row, float *outliers) {
    row_range range = {0, 0, 1};
    if (dynamic->num_columns > 0)
        measure_rest(dynamic, row, outliers, &range);
    else if (dynamic->k > 0)
        widen_range(dynamic, dynamic->source->type, source_of(dynamic, row, 0), dynamic->k, &range);
    float scale;
    int32_t zero_point;
    krn_quantize_derive(&dynamic->scheme, 1, &range.lowest, &range.highest, &scale, &zero_point);
    dynamic->encoders[row] = krn_quantize_encoder(&dynamic->scheme, scale, zero_point);
    dynamic->zero_points[row] = zero_point;
    dynamic->scales[row] = range.is_finite ? scale : NAN;
}

/* The first outlier whose place is not below `first`. */
static int64_t find_place(const krn_dynamic *dynamic, int64_t first) {
    int64_t low = 0, high = dynamic->num_columns;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (dynamic->places[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same as encoding them where they lie, in pieces that are gathered first. */
static void encode_gathered(const krn_dynamic *dynamic, int64_t row, int64_t first, int64_t count, uint8_t *codes) {
    const krn_activations *a = dynamic->source;
    const uint8_t *source = source_of(dynamic, row, 0);
    for (int64_t start = 0; start < count; start += GATHER_CHUNK) {
        const int64_t inputs = krn_min(count - start, GATHER_CHUNK);
        const int32_t *from = dynamic->permutation + first + start;
        uint32_t words[GATHER_CHUNK];
        uint16_t halves[GATHER_CHUNK];
        for (int64_t i = 0; i < inputs; i++) {
            if (a->type == KRN_TYPE_F32)
                words[i] = ((const uint32_t *)(const void *)source)[from[i]];
            else
                halves[i] = ((const uint16_t *)(const void *)source)[from[i]];
        }
        const void *gathered = a->type == KRN_TYPE_F32 ? (const void *)words : (const void *)halves;
        dynamic->quantize->encode(a->type, gathered, (krn_memory_hints){0}, inputs, inputs, &dynamic->encoders[row],
                                  codes + start);
    }
}

void krn_dynamic_encode(const krn_dynamic *dynamic, int64_t row, int64_t first, int64_t count, uint8_t *codes) {
    const krn_block_encoder *encoder = &dynamic->encoders[row];
    if (dynamic->permutation != NULL)
        encode_gathered(dynamic, row, first, count, codes);
    else
        dynamic->quantize->encode(dynamic->source->type, source_of(dynamic, row, first), (krn_memory_hints){0}, count,
                                  count, encoder, codes);
    for (int64_t j = find_place(dynamic, first); j < dynamic->num_columns && dynamic->places[j] < first + count; j++)
        codes[dynamic->places[j] - first] = (uint8_t)encoder->zero;
}

krn_status krn_dynamic_fail(const krn_dynamic *dynamic, int64_t row) {
    int64_t col = 0;
    float value;
    while (dynamic->side->widen(dynamic->source->type, source_of(dynamic, row, col), 1, &value), isfinite(value))
        col++;
    return krn_fail(KRN_ERROR_NON_FINITE, "activations->data[%lld, %lld] is NaN or infinite", (long long)row,
                    (long long)col);
}
