/* The side term with NEON. */
#include "common/simd_neon.h"
#include "gemm/side_common.h"
#include "gemm/side_products.h"
#include "gemm/transpose_side.h"

enum {
    /* 2 x 2 sums of four registers, and 8 of operands. */
    PROJECT_ROWS = 2,
    PROJECT_RANKS = 2,
    LANE_VECS = KRN_PROJECT_LANES / KRN_VEC_LANES,
};

static void widen(int32_t type, const void *from, int64_t count, float *to) { krn_widen(to, type, from, 0, count); }

/* Lane i of the low half of a comparison's bits, one per byte, to bit i. */
static uint16_t above(const float *x, float threshold) {
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint16x4_t found[LANE_VECS];
    KRN_UNROLL
    for (int v = 0; v < LANE_VECS; v++)
        found[v] = vmovn_u32(vcagtq_f32(load_f(x + v * KRN_VEC_LANES), broadcast_f32(threshold)));
    const uint8x8_t low = vmovn_u16(vcombine_u16(found[0], found[1]));
    const uint8x8_t high = vmovn_u16(vcombine_u16(found[2], found[3]));
    const uint8x16_t bits = vandq_u8(vcombine_u8(low, high), vld1q_u8(weights));
    return (uint16_t)(vaddv_u8(vget_low_u8(bits)) | vaddv_u8(vget_high_u8(bits)) << 8);
}

static void find_outliers(int32_t type, const void *x, int64_t count, float threshold, uint16_t *found) {
    krn_find_outliers(type, x, count, threshold, found, above);
}

static void dequantize(const krn_packed_column *column, float *q) {
    const neon_i mask = broadcast_i32(column->mask), down = broadcast_i32(-(int32_t)column->shift);
    KRN_UNROLL
    for (int c = 0; c < KRN_PANEL_CHANNELS; c += KRN_VEC_LANES) {
        const uint32x4_t raw = vreinterpretq_u32_s32(load_i(column->codes + 4 * c));
        const neon_i code = and_i(vreinterpretq_s32_u32(vshlq_u32(raw, down)), mask);
        const neon_f weight = to_f32(sub_i32(code, load_i(column->zeros + c)));
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
    neon_f sums[PROJECT_ROWS][PROJECT_RANKS][LANE_VECS];
    KRN_UNROLL
    for (int32_t i = 0; i < rows * ranks * LANE_VECS; i++) {
        const int32_t r = i / (ranks * LANE_VECS), j = i / LANE_VECS % ranks, v = i % LANE_VECS;
        sums[r][j][v] = load_f(lanes + r * row_lanes + j * KRN_PROJECT_LANES + v * KRN_VEC_LANES);
    }
    for (int64_t k = 0; k < job->count; k += KRN_PROJECT_LANES) {
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            KRN_UNROLL
            for (int32_t v = 0; v < LANE_VECS; v++) {
                const neon_f xv = load_f(x + r * job->x_stride + k + v * KRN_VEC_LANES);
                KRN_UNROLL
                for (int32_t j = 0; j < ranks; j++)
                    sums[r][j][v] = fma_f(xv, load_f(a + j * job->a_stride + k + v * KRN_VEC_LANES), sums[r][j][v]);
            }
        }
    }
    KRN_UNROLL
    for (int32_t i = 0; i < rows * ranks * LANE_VECS; i++) {
        const int32_t r = i / (ranks * LANE_VECS), j = i / LANE_VECS % ranks, v = i % LANE_VECS;
        store_f(lanes + r * row_lanes + j * KRN_PROJECT_LANES + v * KRN_VEC_LANES, sums[r][j][v]);
    }
}

KRN_ALWAYS_INLINE void project_rows(const krn_project_job *job, int32_t r0, int32_t rows) {
    int32_t j = 0;
    for (; j + PROJECT_RANKS <= job->ranks; j += PROJECT_RANKS)
        project_block(job, r0, j, rows, PROJECT_RANKS);
    if (j < job->ranks)
        project_block(job, r0, j, rows, 1);
}

static void project(const krn_project_job *job) {
    int32_t r = 0;
    for (; r + PROJECT_ROWS <= job->rows; r += PROJECT_ROWS)
        project_rows(job, r, PROJECT_ROWS);
    if (r < job->rows)
        project_rows(job, r, 1);
}

static void add_products(const float *p, int64_t p_ld, const float *q, int64_t count, int64_t rows, float *side) {
    for (int32_t c = 0; c < KRN_PANEL_CHANNELS; c += 2 * KRN_VEC_LANES)
        add_two_vectors(p, p_ld, q + c, count, rows, side + c);
}

const krn_side_kernels krn_side_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .widen = widen,
    .find_outliers = find_outliers,
    .dequantize = dequantize,
    .transpose = transpose,
    .project = project,
    .add_products = add_products,
};
