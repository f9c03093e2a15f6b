/* The pass over rows behind the door of the fused steps. Everything here was checked. */
#ifndef KRN_FUSED_ROWS_H
#define KRN_FUSED_ROWS_H

#include "fused/fused_variants.h"
#include "hadamard/hadamard_variants.h"
#include "kernels/fused.h"
#include "quantize/quantize_rows.h"

/* What makes a row of f32 from the input. */
typedef enum krn_fused_op { KRN_FUSED_MULTIPLY, KRN_FUSED_RMSNORM, KRN_FUSED_LAYERNORM, KRN_FUSED_GATE } krn_fused_op;

/* A matrix by its first byte and the distance between rows; NULL where there is none. */
typedef struct krn_row_matrix {
    unsigned char *data;
    int64_t ld_bytes;
} krn_row_matrix;

/* One call. */
typedef struct krn_fused_job {
    krn_context *context;
    const krn_fused_kernels *kernels;
    krn_fused_op op;
    krn_gate_kind gate;
    int64_t rows, cols;
    /* Of source, up, residual and sum. */
    int32_t type;
    /* `up` is without data where gates and ups take turns in the source. */
    krn_row_matrix source, up, residual, sum;
    /* eps and padded vectors. */
    float eps;
    const float *weight, *bias;
    /* Whether the weight is not 1 throughout because there is none. */
    int32_t is_weighted;
    /* unpacked_lanes of the kernels where norms are of such elements, else 0. */
    int32_t unpacked_lanes;
    /* Whether sums are written past the caches; see KRN_FUSED_STREAM_BYTES. */
    int32_t stream_sums;
    /* NULL where nothing is rotated. */
    const krn_hadamard_kernels *rotate;
    krn_hadamard_plan plan;
    /* One row of `padded_cols` floats for each piece. */
    float *scratch;
    int64_t padded_cols;
    /* Rows that are worked on together, and the elements of each that are; see krn_fused_run. */
    int64_t tile_rows, chunk;
    /* Whether codes are made chunk by chunk, without a row of scratch. */
    int32_t is_direct;

    /* The quantized result: of the job are read the arithmetic and the blocks. Without codes the result is the
     * target. */
    krn_quantize_job quantize;
    krn_row_matrix codes;
    float *scales;
    int32_t *zero_points;
    int32_t is_static;

    int32_t target_type;
    krn_row_matrix target;
} krn_fused_job;

enum {
    KRN_FUSED_TILE_ROWS = 4,
    /* Weights of a chunk and its results, 8 KiB each, fit the first-level cache with what they come from. */
    KRN_FUSED_CHUNK = KRN_QUANTIZE_CHUNK,
    /* Up to here a row and the weights fit the first-level cache as a whole. */
    KRN_FUSED_WIDE_COLS = 4096,
    /* Of each wide row are worked on together. Of f32, half as many rows as well: beside 8 KiB of weights, and before
     * the second look at four rows of 56 KiB, little was left where it had been (measured on Zen 5: 5 to 15% slower). Not
     * so where rows on their way stop at the second level: there four are better (Zen 4: 10 to 19% less time). */
    KRN_FUSED_WIDE_BYTES = 8192,
    KRN_FUSED_TILE_BYTES = 16383,
    /* A second-level cache of 1 MiB and as much of the third: codes of a matrix that takes more are written past the
     * caches, which saves reading the lines that they fill. The GEMM that reads them takes a hundred times as long. */
    KRN_FUSED_STREAM_BYTES = 4 << 20,
};

/* Elements of a row in the workspace. */
KRN_ALWAYS_INLINE int64_t krn_padded_cols(int64_t cols) {
    return (cols + KRN_FUSED_LANES - 1) / KRN_FUSED_LANES * KRN_FUSED_LANES;
}

/* The first `half` lanes and as many further on. */
KRN_ALWAYS_INLINE void krn_add_halves(float *lanes, int half) {
    KRN_UNROLL
    for (int l = 0; l < half; l++)
        lanes[l] += lanes[l + half];
}

/* The same of each half of 4 `quarter` lanes. */
KRN_ALWAYS_INLINE void krn_add_quarters(float *lanes, int quarter) {
    KRN_UNROLL
    for (int l = 0; l < quarter; l++)
        lanes[l] += lanes[l + quarter];
    KRN_UNROLL
    for (int l = 0; l < quarter; l++)
        lanes[quarter + l] = lanes[2 * quarter + l] + lanes[3 * quarter + l];
}

/* rows > 0 and cols > 0; chooses tiles and chunks. KRN_ERROR_NON_FINITE as kernels/fused.h tells it. */
krn_status krn_fused_run(krn_fused_job *job);

#endif
