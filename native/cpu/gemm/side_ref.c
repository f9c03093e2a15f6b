/* The scalar reference of the side term in gemm.h: it defines the bits. */
#include "common/fma.h"
#include "gemm/side_common.h"

#include <math.h>

static void widen(int32_t type, const void *from, int64_t count, float *to) { krn_widen(to, type, from, 0, count); }

static uint16_t above(const float *x, float threshold) {
    unsigned bits = 0;
    for (int i = 0; i < KRN_FIND_STEP; i++)
        bits |= (unsigned)(fabsf(x[i]) > threshold) << i;
    return (uint16_t)bits;
}

static void find_outliers(int32_t type, const void *x, int64_t count, float threshold, uint16_t *found) {
    krn_find_outliers(type, x, count, threshold, found, above);
}

static void dequantize(const krn_packed_column *column, float *q) {
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
        uint32_t dword;
        memcpy(&dword, column->codes + 4 * c, sizeof dword);
        const int32_t code = (int32_t)(dword >> column->shift) & column->mask;
        q[c] = krn_fmaf((float)(code - column->zeros[c]), column->scales[c], column->offsets[c]);
    }
}

static void transpose(int32_t type, const void *from, int64_t ld, int32_t channels, int64_t count, float *q) {
    for (int32_t c = 0; c < channels; c++)
        krn_transpose_row(type, from, c * ld, count, c, q);
    krn_clear_channels(channels, count, q);
}

static void project(const krn_project_job *job) {
    for (int32_t r = 0; r < job->rows; r++) {
        for (int32_t j = 0; j < job->ranks; j++) {
            float *lanes = job->sums + (r * job->sums_ranks + j) * KRN_PROJECT_LANES;
            for (int64_t k = 0; k < job->count; k++)
                lanes[k % KRN_PROJECT_LANES] = krn_fmaf(job->x[r * job->x_stride + k], job->a[j * job->a_stride + k],
                                                        lanes[k % KRN_PROJECT_LANES]);
        }
    }
}

static void add_products(const float *p, int64_t p_ld, const float *q, int64_t count, int64_t rows, float *side) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
            float sum = side[r * KRN_PANEL_CHANNELS + c];
            for (int64_t j = 0; j < count; j++)
                sum = krn_fmaf(p[r * p_ld + j], q[j * KRN_PANEL_CHANNELS + c], sum);
            side[r * KRN_PANEL_CHANNELS + c] = sum;
        }
    }
}

const krn_side_kernels krn_side_ref = {
    .name = "ref",
    .features = 0,
    .widen = widen,
    .find_outliers = find_outliers,
    .dequantize = dequantize,
    .transpose = transpose,
    .project = project,
    .add_products = add_products,
};
