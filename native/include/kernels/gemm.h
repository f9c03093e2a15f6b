/* One GEMM for all schemes: Y[M,N] = X[M,K] . W[N,K]^T (+ bias[N]) (+ residual[M,N]).
 *
 * The weights carry their format (weights.h); the activations carry theirs; the pair names the cell:
 *
 *   activations                        arithmetic
 *   KRN_TYPE_S8 with scales            exact integer dot products per group, s8 per token, symmetric
 *   KRN_TYPE_U8 with scales and zeros  the same, u8 per token, asymmetric
 *   KRN_TYPE_F32, F16, BF16            fused dequantization: float dot products on codes, scaled per group
 *
 * Numeric contract. For row m, channel n and the groups g of a channel in ascending order, in binary32:
 *
 *   t     = fma(x_sum_g, offset[n,g], t)                          weights with float offsets only: for all groups, before the next line;
 *                                                                 t starts at +0
 *   acc_g = sum over k in g of (x[m,k] - x_zero[m]) * (w[n,k] - w_zero[n,g])
 *   t     = fma(acc_g, scale[n,g], t)
 *   t     = t * x_scale[m]                                        integer activations only
 *   t     = t + bias[n]                                           if there is a bias
 *   y     = t + residual[m,n]                                     if there is a residual
 *   Y     = y rounded to nearest even to the output type
 *
 *   x_sum_g = sum over k in g of (x[m,k] - x_zero[m]); w is a code, or the codebook's entry for it; a scale is widened to binary32 from
 *   the type it is stored in (weights.h). Groups of ordered weights are the inputs that name them, in ascending order: the permutation
 *   that packing brings in is stable. Flattened groups that cross rows count as the pieces that they are stored in.
 *   Integer activations: acc_g and x_sum_g are exact for any K, and each is rounded once to binary32. Every variant, thread count and
 *   blocking gives the same bits.
 *   Float activations: acc_g is itself a sum of partial sums over consecutive blocks of 128 elements of the group, each entering t by
 *   one fma; the order inside a block belongs to the variant. A variant gives a row the same bits at any thread count and at any
 *   place in a batch, and stays within (K + 8) * eps * sum |x| |w| of the exact result (eps = 2^-24; for a variant with bf16
 *   products see docs/numerics.md), where with float offsets |w| is |code * scale| + |offset|. x_sum_g is summed in binary64, in an order
 *   that belongs to the variant, and rounded once.
 *   bf16 products (the variant "avx512bf16"): the entries of a codebook are rounded to bf16, to nearest even, and the result is that of
 *   the rounded codebook. Every other variant takes bf16 activations as f32, and the codebook as it is.
 *
 * NaN and infinity in float activations, bias and residual propagate as in IEEE 754.
 */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include "kernels/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The left-hand side X[M,K], row-major. */
typedef struct krn_activations {
    /** sizeof(krn_activations). */
    uint32_t struct_size;
    /** KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** M rows of K elements, `ld` elements apart. */
    const void *data;
    /** Leading dimension in elements, at least K. */
    int64_t ld;
    /** One scale per row (token) [M]; required for integer types, must be NULL for float types. */
    const float *scales;
    /** One zero point per row [M] in 0..255; required for KRN_TYPE_U8, must be NULL for the others. */
    const int32_t *zero_points;
} krn_activations;

/** The result Y[M,N], row-major, and what is added to it. */
typedef struct krn_gemm_output {
    /** sizeof(krn_gemm_output). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16: of `data` and `residual`. */
    int32_t type;
    /** M rows of N elements, `ld` elements apart. */
    void *data;
    /** Leading dimension in elements, at least N. */
    int64_t ld;
    /** f32 [N], or NULL. */
    const float *bias;
    /** M rows of N elements of `type`, `residual_ld` apart, or NULL. May be `data` itself when the leading dimensions agree. */
    const void *residual;
    /** Leading dimension of `residual` in elements, at least N; read only when there is a residual. */
    int64_t residual_ld;
} krn_gemm_output;

/** 1 if a context has a kernel for weights of `weight_format` and activations of `activation_type`, else 0. */
KRN_API int32_t krn_gemm_supported(const krn_context *context, int32_t weight_format, int32_t activation_type);

/** Name of the variant that runs a cell in this context, such as "avx512vnni"; NULL if the cell is not supported. */
KRN_API const char *krn_gemm_variant(const krn_context *context, int32_t weight_format, int32_t activation_type);

/** Bytes of workspace that krn_gemm needs for up to `m` rows of `activation_type`.
 *  Errors: KRN_ERROR_UNSUPPORTED, KRN_ERROR_SHAPE. */
KRN_API krn_status krn_gemm_workspace_bytes(const krn_context *context, const krn_weights *weights,
                                            int32_t activation_type, int64_t m, int64_t *bytes);

/** Y = X . W^T. Allocates nothing. `workspace` is aligned to 64 bytes and holds `workspace_bytes` >=
 *  krn_gemm_workspace_bytes() bytes; its content before and after means nothing. Y must not overlap X.
 *  Errors: KRN_ERROR_UNSUPPORTED and those of the arguments. */
KRN_API krn_status krn_gemm(krn_context *context, const krn_weights *weights, int64_t m,
                            const krn_activations *activations, const krn_gemm_output *output, void *workspace,
                            int64_t workspace_bytes);

#ifdef __cplusplus
}
#endif

#endif
