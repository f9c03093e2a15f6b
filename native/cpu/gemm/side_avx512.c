/* The side term with AVX-512 F, BW, DQ and VL. */
#include "common/simd_avx512.h"
#include "gemm/side_common.h"
#include "gemm/side_products.h"
#include "gemm/transpose_side.h"

enum {
    /* 16 sums, and 4 + 1 registers of operands. */
    PROJECT_ROWS = 4,
    PROJECT_RANKS = 4,
};

static void widen(int32_t type, const void *from, int64_t count, float *to) { krn_widen(to, type, from, 0, count); }

static uint16_t above(const float *x, float threshold) {
    const zmm_f magnitude = as_f32(and_i(load_i(x), broadcast_i32(0x7FFFFFFF)));
    return greater_f(magnitude, broadcast_f32(threshold));
}

static void find_outliers(int32_t type, const void *x, int64_t count, float threshold, uint16_t *found) {
    krn_find_outliers(type, x, count, threshold, found, above);
}

static void dequantize(const krn_packed_column *column, float *q) {
    const zmm_i mask = broadcast_i32(column->mask);
    KRN_UNROLL
    for (int c = 0; c < KRN_PANEL_CHANNELS; c += KRN_VEC_LANES) {
        const zmm_i code = and_i(shift_right_by_i32(load_i(column->codes + 4 * c), column->shift), mask);
        const zmm_f weight = to_f32(sub_i32(code, load_i(column->zeros + c)));
        store_f(q + c, fma_f(weight, load_f(column->scales + c), load_f(column->offsets + c)));
    }
}

static void transpose(int32_t type, const void *from, int64_t ld, int32_t channels, int64_t count, float *q) {
    krn_transpose_side(type, from, ld, channels, count, q);
}

KRN_ALWAYS_INLINE void project_block(const krn_project_job *job, int32_t r0, int32_t j0, int32_t rows, int32_t ranks) {
    const float *x = job->x + r0 * job->x_stride, *a = job->a + j0 * job->a_stride;
    float *lanes = job->sums + (r0 * job->sums_ranks + j0) * KRN_PROJECT_LANES;
    const int64_t row_lanes = job->sums_ranks * KRN_PROJECT_LANES;
    zmm_f sums[PROJECT_ROWS][PROJECT_RANKS], aj[PROJECT_RANKS];
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t j = 0; j < ranks; j++)
            sums[r][j] = load_f(lanes + r * row_lanes + j * KRN_PROJECT_LANES);
    }
    for (int64_t k = 0; k < job->count; k += KRN_PROJECT_LANES) {
        KRN_UNROLL
        for (int32_t j = 0; j < ranks; j++)
            aj[j] = load_f(a + j * job->a_stride + k);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const zmm_f xr = load_f(x + r * job->x_stride + k);
            KRN_UNROLL
            for (int32_t j = 0; j < ranks; j++)
                sums[r][j] = fma_f(xr, aj[j], sums[r][j]);
        }
    }
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t j = 0; j < ranks; j++)
            store_f(lanes + r * row_lanes + j * KRN_PROJECT_LANES, sums[r][j]);
    }
}

KRN_ALWAYS_INLINE void project_rows(const krn_project_job *job, int32_t r0, int32_t rows) {
    int32_t j = 0;
    for (; j + PROJECT_RANKS <= job->ranks; j += PROJECT_RANKS)
        project_block(job, r0, j, rows, PROJECT_RANKS);
    for (; j < job->ranks; j++)
        project_block(job, r0, j, rows, 1);
}

static void project(const krn_project_job *job) {
    int32_t r = 0;
    for (; r + PROJECT_ROWS <= job->rows; r += PROJECT_ROWS)
        project_rows(job, r, PROJECT_ROWS);
    switch (job->rows - r) {
    case 0: break;
    case 1: project_rows(job, r, 1); break;
    case 2: project_rows(job, r, 2); break;
    default: project_rows(job, r, 3); break;
    }
}

static void add_products(const float *p, int64_t p_ld, const float *q, int64_t count, int64_t rows, float *side) {
    add_two_vectors(p, p_ld, q, count, rows, side);
}

const krn_side_kernels krn_side_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .widen = widen,
    .find_outliers = find_outliers,
    .dequantize = dequantize,
    .transpose = transpose,
    .project = project,
    .add_products = add_products,
};
