/* Quantization to 8 and 4 bits by rounding to nearest, to NF4 and other codebooks of 16 floats, and back.
 *
 * A tensor is a row-major matrix of `rows` x `cols` with a leading dimension. For weights W[N,K] a row is an output
 * channel; for activations X[M,K] it is a token. A block of elements shares one scale (and one zero point):
 *
 *   granularity   a block is              scales and zero points are indexed by
 *   per tensor    the whole matrix        [1]
 *   per channel   a row (of weights)      [rows]
 *   per token     a row (of activations)  [rows]            same arithmetic as per channel
 *   per group     group_size elements     [rows][ceil(cols / group_size)]; the last group of a row may be shorter
 *                 of a row
 *
 * A tensor, a channel and a token have their scale also when they hold no elements, such as a channel of no inputs: it
 * is 0, with the zero point of all-zero input. A row of no elements has no groups, so per group there are none.
 *
 * The arithmetic, in binary32 unless said, with one rounding per operation; every variant gives these bits:
 *
 *   symmetric     r = max|x| * clip_ratio
 *                 scale = r / Q                 Q = 127 for 8 bits, 7 for 4 bits
 *                 zero  = 0 for s8 and s4, 128 for u8, 8 for u4
 *                 q in [zero - Q, zero + Q]
 *   asymmetric    lo = min(0, min x) * clip_ratio, hi = max(0, max x) * clip_ratio
 *                 scale = (hi - lo) / (qmax - qmin), computed in binary64 and rounded once
 *                 zero  = clamp(qmin - rint(lo * inv), qmin, qmax)
 *                 q in [qmin, qmax]             the range of the type
 *   both          inv = 1 / scale
 *                 q   = rint(clamp(x * inv, q_low - zero, q_high - zero)) + zero, rint to nearest even
 *                 x^  = (q - zero) * scale
 *   codebook      scale = max|x| * clip_ratio / max|entry|
 *                 q   = the number of i in 0..14 with x * inv > (codebook[i] + codebook[i + 1]) / 2, where a midpoint
 *                       is computed in binary64 and rounded once: the nearest entry, a tie goes to the lower one
 *                 x^  = codebook[q] * scale
 *
 * With a scale_type of f16 or bf16 the scale is rounded to it (to nearest even, and no further than the largest finite
 * value) before inv and zero are computed from it; scales are reported as f32.
 *
 * A scale below FLT_MIN (2^-126) counts as 0: the block gets scale 0, zero point as for all-zero input, codes equal
 * to the zero point (or of the entry nearest to 0), and dequantizes to 0. f16 and bf16 input is widened to f32 exactly;
 * output is rounded to nearest even. NaN or infinity in the input is KRN_ERROR_NON_FINITE, and nothing is written.
 */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

#include "kernels/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Which elements share a scale. The numbers are pinned. */
enum krn_granularity {
    KRN_GRANULARITY_TENSOR = 0,
    KRN_GRANULARITY_CHANNEL = 1,
    KRN_GRANULARITY_TOKEN = 2,
    KRN_GRANULARITY_GROUP = 3,
};

/** What to quantize to. */
typedef struct krn_quantize_options {
    /** sizeof(krn_quantize_options). */
    uint32_t struct_size;
    /** KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4, KRN_TYPE_U4 or KRN_TYPE_C4. */
    int32_t type;
    /** A krn_granularity. */
    int32_t granularity;
    /** 0: symmetric, the zero point is fixed. 1: asymmetric, every block has a zero point of its own; not for
     *  KRN_TYPE_C4. */
    int32_t asymmetric;
    /** Elements per group, at least 16; read only with KRN_GRANULARITY_GROUP. */
    int64_t group_size;
    /** Share of a block's range that is kept, in (0, 1]; values beyond it saturate. 0 means 1. */
    float clip_ratio;
    /** What scales are rounded to: KRN_TYPE_F32 (0 means the same), KRN_TYPE_F16 or KRN_TYPE_BF16. krn_dequantize takes
     *  scales as they are. */
    int32_t scale_type;
    /** KRN_TYPE_C4 only: 16 finite floats, ascending and not all 0; NULL is NF4. NULL for the other types. */
    const float *codebook;
} krn_quantize_options;

/** The error that quantization made, over the whole tensor, in binary64: sums run over the elements of a row in order,
 *  then over the rows in order, so that every variant and thread count reports the same bits. */
typedef struct krn_quantize_error {
    /** Mean of (x - x^)^2; 0 for an empty tensor. */
    double mean_squared_error;
    /** Largest |x - x^|. */
    double max_abs_error;
} krn_quantize_error;

/** The number of scales (and zero points) of a rows x cols tensor.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT, KRN_ERROR_STRUCT_SIZE, KRN_ERROR_SHAPE. */
KRN_API krn_status krn_quantize_scale_count(const krn_quantize_options *options, int64_t rows, int64_t cols,
                                            int64_t *count);

/** Bytes of one row of `cols` elements of `type` without padding; -1 for an unknown type or negative cols. */
KRN_API int64_t krn_type_row_bytes(int32_t type, int64_t cols);

/** The 16 entries of NF4 (QLoRA, Dettmers et al. 2023): quantiles of the normal distribution, scaled to -1..1, one of
 *  them 0. Never NULL. */
KRN_API const float *krn_nf4_codebook(void);

/** Quantizes source[rows, cols].
 *  source            f32, f16 or bf16 (`source_type`), leading dimension `source_ld` >= cols
 *  codes             rows of `codes_ld_bytes` bytes, at least krn_type_row_bytes(type, cols) each; bytes beyond a row's
 *                    width are not touched
 *  scales            krn_quantize_scale_count() floats
 *  zero_points       as many int32; required with `asymmetric`, else may be NULL; written whenever it is not NULL; must
 *                    be NULL for KRN_TYPE_C4
 *  error             NULL, or where to report the error made (costs a second, scalar pass)
 *  Errors: KRN_ERROR_NON_FINITE and those of the arguments. Outputs must not overlap the source. */
KRN_API krn_status krn_quantize(krn_context *context, const krn_quantize_options *options, int64_t rows, int64_t cols,
                                int32_t source_type, const void *source, int64_t source_ld, void *codes,
                                int64_t codes_ld_bytes, float *scales, int32_t *zero_points, krn_quantize_error *error);

/** Dequantizes codes[rows, cols] to f32, f16 or bf16 (`target_type`), the inverse layout of krn_quantize.
 *  `zero_points` may be NULL when `asymmetric` is 0: then the fixed zero point of the type applies. A zero point may be
 *  any int32 in -32768..32767; codes may be any value of the type. */
KRN_API krn_status krn_dequantize(krn_context *context, const krn_quantize_options *options, int64_t rows, int64_t cols,
                                  const void *codes, int64_t codes_ld_bytes, const float *scales,
                                  const int32_t *zero_points, int32_t target_type, void *target, int64_t target_ld);

/** Name of the variant that runs in this context, such as "avx512"; NULL for a NULL context. */
KRN_API const char *krn_quantize_variant(const krn_context *context);

#ifdef __cplusplus
}
#endif

#endif
