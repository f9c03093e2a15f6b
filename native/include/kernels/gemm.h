/* One GEMM for all schemes: Y[M,N] = X[M,K] . W[N,K]^T (+ bias[N]) (+ residual[M,N]).
 *
 * The weights carry their format (weights.h); the activations carry theirs; the pair names the cell:
 *
 *   activations                        arithmetic
 *   KRN_TYPE_S8 with scales            exact integer dot products per group, s8 per token, symmetric
 *   KRN_TYPE_S4 with scales            the same, s4 per token, two per byte
 *   KRN_TYPE_U8 with scales and zeros  the same, u8 per token, asymmetric
 *   KRN_TYPE_F32, F16, BF16            fused dequantization: float dot products on codes, scaled per group
 *   the same with `compute`            X is quantized per token inside the call, then as KRN_TYPE_S8, S4 or U8
 *
 * Float activations may add a side term (krn_gemm_options), a product of few columns in binary32:
 *
 *   outliers  columns of X that hold a value above a threshold are left out of the quantized product and go through
 *             binary32 (Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", 2022).
 *             Weights that were packed with outlier columns name these themselves, and nothing is searched for
 *   LoRA      a low-rank term scale * (X . A^T) . B^T (Hu et al., "LoRA", 2021; over 4-bit weights Dettmers et al.,
 *             "QLoRA", 2023)
 *
 * Numeric contract. For row m, channel n and the groups g of a channel in ascending order, in binary32:
 *
 *   t     = fma(x_sum_g, offset[n,g], t)                          weights with float offsets only: for all groups,
 *                                                                 before the next line;
 *                                                                 t starts at +0
 *   acc_g = sum over k in g of (x[m,k] - x_zero[m]) * (w[n,k] - w_zero[n,g])
 *   t     = fma(acc_g, scale[n,g], t)
 *   t     = t * x_scale[m]                                        integer activations and `compute` only
 *   t     = t + side[m,n]                                         if there is an outlier column or an adapter
 *   t     = t + bias[n]                                           if there is a bias
 *   y     = t + residual[m,n]                                     if there is a residual
 *   Y     = y rounded to nearest even to the output type
 *
 *   x_sum_g = sum over k in g of (x[m,k] - x_zero[m]); w is a code, or the codebook's entry for it; a scale is
 *   widened to binary32 from the type it is stored in (weights.h). Groups of ordered weights are the inputs that name
 *   them, in ascending order: the permutation that packing brings in is stable. Flattened groups that cross rows
 *   count as the pieces that they are stored in.
 *   Integer activations: acc_g and x_sum_g are exact for any K, and each is rounded once to binary32. Every variant,
 *   thread count and blocking gives the same bits.
 *   Float activations: acc_g is itself a sum of partial sums over consecutive blocks of 128 elements of the group,
 *   each entering t by one fma; the order inside a block belongs to the variant. A variant gives a row the same bits
 *   at any thread count and at any place in a batch, and stays within (K + 8) * eps * sum |x| |w| of the exact result
 *   (eps = 2^-24; for a variant with bf16 products see docs/numerics.md), where with float offsets |w| is
 *   |code * scale| + |offset|. x_sum_g is summed in binary64, in an order that belongs to the variant, and rounded
 *   once. bf16 products (the variants "avx512bf16" and "neon_bf16"): the entries of a codebook are rounded to bf16, to
 *   nearest even, and the result is that of the rounded codebook. Every other variant takes bf16 activations as f32,
 *   the codebook as it is.
 *
 *   `compute`: codes, scales and zero points are those of krn_quantize (per token, clip ratio 1; asymmetric for
 *   KRN_TYPE_U8), so the result has the bits of krn_quantize followed by krn_gemm.
 *   Outlier columns are those of the weights, if they have any; else the k for which any row of X has
 *   |x[m,k]| > outlier_threshold. In every row they count as 0 when the row's scale is found and when it is quantized.
 *
 *   side  = fma(x[m,k], w^[n,k], side)        the outlier columns k in ascending order; side starts at +0
 *           with w^[n,k] = fma(w[n,k] - w_zero[n,g], scale[n,g], offset[n,g]), the offset +0 where weights have none;
 *           w^ of outlier columns that the weights have is what they keep for them, widened to binary32
 *   side  = fma(p[m,j], b[n,j], side)         then the ranks j of LoRA in ascending order
 *           with p[m,j] = (sum of 16 lanes) * lora scale; lane l = fma(x[m,k], a[j,k], lane l) over k = l, l + 16, ...
 *           ascending from +0, K padded with zeros to a multiple of 16; then lane l += lane l + h for h = 8, 4, 2, 1
 *
 *   Outliers and projections come from X as it was passed, also with `compute`. Every variant and thread count gives
 *   the same bits of the side term, and so of Y with integer arithmetic. LoRA is within (K / 16 + rank + 12) * eps *
 *   |lora scale| * sum |x| |a| |b| of the exact term, the addition to t included.
 *
 * NaN and infinity in float activations, bias, residual and LoRA propagate as in IEEE 754; with `compute` they are
 * KRN_ERROR_NON_FINITE when they are in X.
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
    /** KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U8, KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** M rows of K elements, `ld` elements apart. Rows of KRN_TYPE_S4 begin on a byte: they are
     *  krn_type_row_bytes(KRN_TYPE_S4, ld) bytes apart. */
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
    /** M rows of N elements of `type`, `residual_ld` apart, or NULL. May be `data` itself when the leading dimensions
     *  agree. */
    const void *residual;
    /** Leading dimension of `residual` in elements, at least N; read only when there is a residual. */
    int64_t residual_ld;
} krn_gemm_output;

/** A low-rank adapter: scale * (X . A^T) . B^T is added to Y. */
typedef struct krn_lora {
    /** sizeof(krn_lora). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16: of `a` and `b`. */
    int32_t type;
    /** Rows of A and columns of B, at least 1. */
    int64_t rank;
    /** A[rank, K]: `rank` rows of K elements, `a_ld` elements apart. */
    const void *a;
    /** Leading dimension of `a` in elements, at least K. */
    int64_t a_ld;
    /** B[N, rank]: N rows of `rank` elements, `b_ld` elements apart. */
    const void *b;
    /** Leading dimension of `b` in elements, at least `rank`. */
    int64_t b_ld;
    /** Factor of the product, often alpha / rank; finite. */
    float scale;
    /** Must be 0. */
    int32_t reserved;
} krn_lora;

/** How krn_gemm computes beyond the plain product. All zero but struct_size means nothing beyond it. */
typedef struct krn_gemm_options {
    /** sizeof(krn_gemm_options). */
    uint32_t struct_size;
    /** 0: activations are taken as they are. KRN_TYPE_S8, KRN_TYPE_U8 or KRN_TYPE_S4: float activations are quantized
     *  to it, per token. */
    int32_t compute;
    /** 0: no outlier columns, or those of the weights. Above 0 (LLM.int8() uses 6), with `compute`: columns of X that
     *  hold |x| above it are kept in binary32; not for weights that have outlier columns. */
    float outlier_threshold;
    /** Must be 0. */
    int32_t reserved;
    /** An adapter for float activations, or NULL. */
    const krn_lora *lora;
} krn_gemm_options;

/** 1 if a context has a kernel for weights of `weight_format` and activations of `activation_type`, quantized inside
 *  the call to `compute` unless that is 0; else 0. */
KRN_API int32_t krn_gemm_supported(const krn_context *context, int32_t weight_format, int32_t activation_type,
                                   int32_t compute);

/** Name of the variant that runs a cell in this context, such as "avx512vnni"; NULL if the cell is not supported. */
KRN_API const char *krn_gemm_variant(const krn_context *context, int32_t weight_format, int32_t activation_type,
                                     int32_t compute);

/** Bytes of workspace that krn_gemm needs for up to `m` rows of `activation_type` with the same options; of the adapter
 *  only the rank counts. With an outlier threshold there is room for the case that every column is one, 4 bytes per
 *  element of X; what is not needed is not touched. Errors: KRN_ERROR_UNSUPPORTED, KRN_ERROR_SHAPE and those of the
 *  options. */
KRN_API krn_status krn_gemm_workspace_bytes(const krn_context *context, const krn_weights *weights,
                                            int32_t activation_type, const krn_gemm_options *options, int64_t m,
                                            int64_t *bytes);

/** Y = X . W^T. Allocates nothing.
 *  options           NULL: nothing beyond the plain product
 *  workspace         aligned to 64 bytes, `workspace_bytes` >= krn_gemm_workspace_bytes() bytes; its content before and
 *                    after means nothing
 *  Y must not overlap X, A or B.
 *  Errors: KRN_ERROR_UNSUPPORTED, KRN_ERROR_NON_FINITE (X, with `compute`) and those of the arguments. */
KRN_API krn_status krn_gemm(krn_context *context, const krn_weights *weights, int64_t m,
                            const krn_activations *activations, const krn_gemm_output *output,
                            const krn_gemm_options *options, void *workspace, int64_t workspace_bytes);

#ifdef __cplusplus
}
#endif

#endif
