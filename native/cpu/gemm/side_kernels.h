/* The kernels of the side term (gemm.h) and the table of their variants. Every variant gives the bits of
 * krn_side_ref. */
#ifndef KRN_GEMM_SIDE_KERNELS_H
#define KRN_GEMM_SIDE_KERNELS_H

#include "common/portability.h"
#include "gemm/layout.h"

/* The variants, best first. To add one, write one file that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_SIDE_VARIANTS(X)                                                                                           \
    X(krn_side_avx512)                                                                                                 \
    X(krn_side_avx2)                                                                                                   \
    X(krn_side_ref)
#elif defined(KRN_ARM64)
#define KRN_SIDE_VARIANTS(X)                                                                                           \
    X(krn_side_neon)                                                                                                   \
    X(krn_side_ref)
#else
#define KRN_SIDE_VARIANTS(X) X(krn_side_ref)
#endif

enum {
    /* Partial sums of a projection (part of the contract in gemm.h): a zmm, two ymm or four NEON registers. */
    KRN_PROJECT_LANES = 16,
};

/* Rows of floats against rows of floats: sums[r][j][l] gains fma(x[r][k], a[j][k], .) for the k of lane l, in order. */
typedef struct krn_project_job {
    /* `rows` rows of X and `ranks` rows of A, of `count` f32 each, a multiple of KRN_PROJECT_LANES. */
    const float *x, *a;
    int64_t x_stride, a_stride, count;
    int32_t rows, ranks;
    /* [rows][sums_ranks][KRN_PROJECT_LANES] */
    float *sums;
    int32_t sums_ranks;
} krn_project_job;

/* Input k of a panel's 32 channels: dword c of `codes` holds the code of channel c, from bit `shift` on. */
typedef struct krn_packed_column {
    const uint8_t *codes;
    unsigned shift;
    int32_t mask;
    /* [32] of its group. */
    const int32_t *zeros;
    const float *scales, *offsets;
} krn_packed_column;

typedef struct krn_side_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* f32, f16 or bf16 to f32. */
    void (*widen)(int32_t type, const void *from, int64_t count, float *to);
    /* Sets bit i % 16 of found[i / 16] where |x[i]| > threshold, and leaves the others. */
    void (*find_outliers)(int32_t type, const void *x, int64_t count, float threshold, uint16_t *found);
    /* q[c] = fma(code - zero, scale, offset). */
    void (*dequantize)(const krn_packed_column *column, float *q);
    /* q[j][c] = from[c][j] for rows of `count` elements `ld` apart; channels that are absent become 0. */
    void (*transpose)(int32_t type, const void *from, int64_t ld, int32_t channels, int64_t count, float *q);
    void (*project)(const krn_project_job *job);
    /* side[r][c] = fma(p[r][j], q[j][c], side[r][c]) for j ascending; rows of p are p_ld apart. */
    void (*add_products)(const float *p, int64_t p_ld, const float *q, int64_t count, int64_t rows, float *side);
} krn_side_kernels;

#define KRN_SIDE_DECLARE(variant) extern const krn_side_kernels variant;
KRN_SIDE_VARIANTS(KRN_SIDE_DECLARE)
#undef KRN_SIDE_DECLARE

#endif
