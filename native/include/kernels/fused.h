/* Fused steps: what runs between two quantized GEMMs - norms, gated activations, rotation, smoothing - in one pass that
 * ends in codes and scales.
 *
 *   krn_rmsnorm_quantize, krn_layernorm_quantize         norm of x, or of x + residual, which is also written
 *   krn_silu_mul_quantize, krn_gelu_mul_quantize         silu(gate) * up (SwiGLU, Shazeer 2020) and gelu(gate) * up
 *   krn_smooth_quantize                                  x * weight (SmoothQuant, Xiao et al. 2023: weight = 1 / s)
 *   krn_hadamard_quantize                                the rotation of hadamard.h (QuaRot, Ashkboos et al. 2024)
 *   krn_rmsnorm_hadamard_quantize, krn_silu_mul_hadamard_quantize    both, one after the other
 *   krn_rmsnorm, krn_layernorm, krn_silu_mul, krn_gelu_mul, krn_multiply    the same steps with a float result
 *
 * All of the first kind have one signature, and so do those of the second:
 *
 *   options     what belongs to the layer: weight, bias, eps, the layout of gate and up, the rotation
 *   input       float matrices of `rows` x `cols`, and the sum that a norm writes
 *   codes       what to quantize to and where to; or target, a float matrix
 *
 * Fields that a step has no use for must be 0 or NULL, so that nothing is ignored in silence. Each row is read once
 * from memory, however wide; it waits in the workspace, in a cache, until its scale is known.
 *
 * The arithmetic. Elements are widened to binary32, every operation rounds once, and only what is called fma does not
 * round its product. Every variant and thread count gives these bits, and quantizing a step gives the bits of
 * krn_quantize on its f32 result:
 *
 *   sum         s = x + residual, rounded to the type of the input; the norm is that of s as it was written
 *   lanes       64 partial sums from +0: lane l takes elements i = l, l + 64, l + 128 ... in this order. Then lane l becomes
 *               lane l + lane l + 32 for l < 32, then l + 16 for l < 16, and so on to lane 0, the sum.
 *   rmsnorm     q = the sum in lanes of x^2, each lane = fma(x, x, lane)
 *               y = (x * weight) * (1 / sqrt(q / n + eps))                 n is cols, rounded to f32
 *   layernorm   m = (the sum in lanes of x) / n;  d = x - m;  q = the sum in lanes of d^2, each lane = fma(d, d, lane)
 *               y = (d * weight) * (1 / sqrt(q / n + eps))
 *   bias        y = y + bias, where there is one
 *   gates       y = (g / (1 + exp(-h))) * up
 *               silu: h = g.  gelu: h = g * P(min(g^2, 31.36)).  gelu_tanh: h = g * fma(c3, g^2, c1)
 *   rotation    that of hadamard.h on f32, block by block of y
 *
 * exp is a polynomial, the same in every variant (native/cpu/fused/activation.h): within 1.1 ulp for arguments in
 * -86..88.7; it is infinite above 88.73, which makes silu(g) = -0 below g = -88.73, and exp(-86) below. Then
 *
 *   silu        is within 2.5 ulp of g / (1 + e^-g) for g >= -88.7
 *   gelu        is within 2.5 * 2^-24 * |g| of g / 2 * (1 + erf(g / sqrt 2)), and gelu_tanh within as much of
 *               g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 * g^3)))
 *
 * Not finite. Steps that quantize check every row on its way. When one holds NaN or infinity, or runs into them (a sum
 * of squares or a product above FLT_MAX does), the call gives KRN_ERROR_NON_FINITE, and - other than everywhere else in
 * this library - what it wrote stays written: to write nothing, the input would have to be read twice. What is there is
 * defined: a bad row has codes equal to its zero point (0 with KRN_TYPE_C4) and scales of NaN unless they are static,
 * with the zero point of all-zero input; every other row is as if it were alone; krn_last_error() tells the first bad
 * row. Sums are written for all rows. The steps with a float result check nothing: NaN and infinity go through as IEEE
 * 754 has it, but that silu and gelu of -infinity are NaN. The payload of a NaN is not defined.
 */
#ifndef KERNELS_FUSED_H
#define KERNELS_FUSED_H

#include "kernels/hadamard.h"
#include "kernels/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How gate and up elements lie. The numbers are pinned. */
enum krn_gate_layout {
    /** In two matrices: `source` and `up`, both [rows, cols] with leading dimensions of their own. */
    KRN_GATE_SEPARATE = 0,
    /** In one: every row of `source` is cols gates and then cols ups, as a GEMM with the concatenated weights [gate;
     *  up] of a checkpoint makes them (gate_up_proj). For [up; gate] pass two matrices that begin cols elements
     *  apart. */
    KRN_GATE_HALVES = 1,
    /** In one: every row of `source` is g0 u0 g1 u1 .., elements that take turns. */
    KRN_GATE_INTERLEAVED = 2,
};

/** What belongs to the layer. All zero but struct_size is a step without any of it. */
typedef struct krn_fused_options {
    /** sizeof(krn_fused_options). */
    uint32_t struct_size;
    /** KRN_TYPE_F32 (0 means the same), KRN_TYPE_F16 or KRN_TYPE_BF16: of weight and bias. */
    int32_t vector_type;
    /** [cols]: weight of a norm, NULL for ones; what krn_smooth_quantize and krn_multiply multiply with, required
     *  there. */
    const void *weight;
    /** [cols]: bias of a norm, or NULL. */
    const void *bias;
    /** Norms: added to the mean square or variance; positive and finite. */
    float eps;
    /** Gates: a krn_gate_layout. */
    int32_t gate_layout;
    /** krn_gelu_mul and krn_gelu_mul_quantize: 0 for gelu by erf, 1 for the form with tanh. */
    int32_t gelu_tanh;
    /** Must be 0. */
    int32_t reserved;
    /** Steps with hadamard in their name: the rotation, required there. `cols` is a multiple of its n. */
    const krn_hadamard_options *rotation;
} krn_fused_options;

/** The float matrices of a call, all of one type. */
typedef struct krn_fused_input {
    /** sizeof(krn_fused_input). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** [rows, cols]: x, or the gates; [rows, 2 cols] with KRN_GATE_HALVES and KRN_GATE_INTERLEAVED. */
    const void *source;
    /** Leading dimension in elements, at least the width. */
    int64_t source_ld;
    /** Gates with KRN_GATE_SEPARATE: [rows, cols]. */
    const void *up;
    int64_t up_ld;
    /** Norms: [rows, cols], added to x; or NULL. */
    const void *residual;
    int64_t residual_ld;
    /** With a residual: receives the sum [rows, cols]. May be source or residual itself, with the same leading
     *  dimension. */
    void *sum;
    int64_t sum_ld;
} krn_fused_input;

/** The quantized result. */
typedef struct krn_fused_codes {
    /** sizeof(krn_fused_codes). */
    uint32_t struct_size;
    /** 0: every block of a row gets the scale of its values; a per-tensor scale would take a pass of its own. Above 0,
     *  at least 2^-126 and finite: the scale of everything, as calibration found it; then options->clip_ratio and
     *  options->scale_type are not read. */
    float static_scale;
    /** With a static scale and options->asymmetric: the zero point of everything, within the range of the type; else
     *  0. */
    int32_t static_zero_point;
    /** Must be 0. */
    int32_t reserved;
    /** Type, granularity and the rest as in krn_quantize. Per tensor only with a static scale. */
    const krn_quantize_options *options;
    /** Rows of `codes_ld_bytes` bytes, as in krn_quantize. */
    void *codes;
    int64_t codes_ld_bytes;
    /** krn_quantize_scale_count() floats. A static scale is written to each of them. */
    float *scales;
    /** As in krn_quantize. */
    int32_t *zero_points;
} krn_fused_codes;

/** Bytes of workspace that any step takes in this context, for rows of `cols` elements and any number of them.
 *  Errors: those of the arguments. */
KRN_API krn_status krn_fused_workspace_size(const krn_context *context, int64_t cols, int64_t *bytes);

/** Name of the variant that runs in this context, such as "avx512"; NULL for a NULL context. */
KRN_API const char *krn_fused_variant(const krn_context *context);

/** codes of rmsnorm(x) or rmsnorm(x + residual) (Zhang and Sennrich 2019).
 *  workspace         krn_fused_workspace_size() bytes, aligned to 64; its content before and after means nothing
 *  Errors: KRN_ERROR_NON_FINITE, as told above, and those of the arguments, upon which nothing was written. Outputs
 *  must not overlap each other or the input, but where `sum` may. */
KRN_API krn_status krn_rmsnorm_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                        int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                        void *workspace, int64_t workspace_bytes);

/** codes of layernorm(x) or layernorm(x + residual) (Ba et al. 2016). See krn_rmsnorm_quantize. */
KRN_API krn_status krn_layernorm_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                          int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                          void *workspace, int64_t workspace_bytes);

/** codes of silu(gate) * up. See krn_rmsnorm_quantize. */
KRN_API krn_status krn_silu_mul_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                         int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                         void *workspace, int64_t workspace_bytes);

/** codes of gelu(gate) * up. See krn_rmsnorm_quantize. */
KRN_API krn_status krn_gelu_mul_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                         int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                         void *workspace, int64_t workspace_bytes);

/** codes of x * weight. See krn_rmsnorm_quantize. */
KRN_API krn_status krn_smooth_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                       int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                       void *workspace, int64_t workspace_bytes);

/** codes of the rotated x. See krn_rmsnorm_quantize. */
KRN_API krn_status krn_hadamard_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                         int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                         void *workspace, int64_t workspace_bytes);

/** codes of the rotated rmsnorm(x) or rmsnorm(x + residual). See krn_rmsnorm_quantize. */
KRN_API krn_status krn_rmsnorm_hadamard_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                                 int64_t cols, const krn_fused_input *input,
                                                 const krn_fused_codes *codes, void *workspace,
                                                 int64_t workspace_bytes);

/** codes of the rotated silu(gate) * up. See krn_rmsnorm_quantize. */
KRN_API krn_status krn_silu_mul_hadamard_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                                  int64_t cols, const krn_fused_input *input,
                                                  const krn_fused_codes *codes, void *workspace,
                                                  int64_t workspace_bytes);

/** target = rmsnorm(x) or rmsnorm(x + residual), rounded to f32, f16 or bf16 (`target_type`) to nearest even.
 *  target            leading dimension `target_ld` >= cols; elements beyond a row's width are not touched. May be a matrix
 *                    of the input itself, of the same type and leading dimension, else without overlap
 *  workspace         as in krn_rmsnorm_quantize
 *  Errors: those of the arguments. */
KRN_API krn_status krn_rmsnorm(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                               const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                               void *workspace, int64_t workspace_bytes);

/** target = layernorm(x) or layernorm(x + residual). See krn_rmsnorm. */
KRN_API krn_status krn_layernorm(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                 const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                                 void *workspace, int64_t workspace_bytes);

/** target = silu(gate) * up. See krn_rmsnorm. */
KRN_API krn_status krn_silu_mul(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                                void *workspace, int64_t workspace_bytes);

/** target = gelu(gate) * up. See krn_rmsnorm. */
KRN_API krn_status krn_gelu_mul(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                                void *workspace, int64_t workspace_bytes);

/** target = x * weight, a vector along the rows. See krn_rmsnorm. */
KRN_API krn_status krn_multiply(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                                void *workspace, int64_t workspace_bytes);

#ifdef __cplusplus
}
#endif

#endif
