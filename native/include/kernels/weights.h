/* Packed weights: the right-hand side of krn_gemm, laid out once for the kernels.
 *
 * W[N,K] has N output channels and K inputs; a channel's K inputs are cut into groups of group_size elements with a
 * scale each, the last one possibly shorter; group_size 0 means one group per channel ("per channel").
 *
 *   format         zero_type       element value
 *   KRN_TYPE_S8    0               q * scale             q in -128..127
 *   KRN_TYPE_S4    0               q * scale             q in -8..7
 *   KRN_TYPE_U4    0               (q - zero) * scale    q and zero in 0..15
 *   any of these   F32, F16, BF16  q * scale + offset    offset = -zero * scale, a float per group (AWQ, HQQ)
 *   KRN_TYPE_C4    0               codebook[q] * scale   q in 0..15; NF4 and other codebooks of 16 floats
 *
 * Scales are stored as they come, and widened exactly where they are used:
 *
 *   scale_type            scale
 *   KRN_TYPE_F32 (or 0)   the float itself
 *   KRN_TYPE_F16, _BF16   widened to binary32
 *   KRN_TYPE_U8           "double quantized" (QLoRA, Dettmers et al. 2023):
 *                         scale[i] = scale_map[u8[i]] * nested_scales[i / 256] + scale_offset,
 *                         two roundings in binary32, i the scale's place in the unpacked order
 *
 * Unpacked scales, zero points and offsets lie [N][groups]. With `flattened` they belong to runs of group_size
 * elements of the tensor read as one line of N * K elements, as bitsandbytes stores them: [ceil(N * K / group_size)].
 * When K is no multiple of group_size such a run crosses rows; it is then stored once for every gcd(K, group_size)
 * elements, which must be at least 16.
 *
 * Weights for LLM.int8() may fix their outlier columns ("num_outliers"): the inputs whose activations are known to hold
 * large values. Their weights are kept once more, as floats, for calls of krn_gemm that quantize activations (gemm.h);
 * the codes stay what they are, and other calls use those.
 *
 * Packed weights are immutable, know nothing of the context that made them but its layout, and may be used by many
 * contexts and threads at once.
 */
#ifndef KERNELS_WEIGHTS_H
#define KERNELS_WEIGHTS_H

#include "kernels/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Packed weights. Opaque, immutable. */
typedef struct krn_weights krn_weights;

/** Shape and format of weights. Fields that are 0 have their usual meaning: f32 scales, the format's own zero
 *  points, groups along K in order. */
typedef struct krn_weights_desc {
    /** sizeof(krn_weights_desc). */
    uint32_t struct_size;
    /** KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4 or KRN_TYPE_C4. */
    int32_t format;
    /** Output channels, N >= 0. */
    int64_t n;
    /** Inputs, K >= 0. */
    int64_t k;
    /** Elements per group, at least 16, or 0 for one scale per channel. */
    int64_t group_size;
    /** Type of the scales as stored: KRN_TYPE_F32 (0 means the same), KRN_TYPE_F16, KRN_TYPE_BF16, or KRN_TYPE_U8 for
     *  double-quantized scales. */
    int32_t scale_type;
    /** 0: integer zero points for KRN_TYPE_U4 and none for the others. KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16:
     *  a float offset per group of that type; not for KRN_TYPE_C4. */
    int32_t zero_type;
    /** 1: groups are cut from the flattened tensor (see above); needs a group_size. Else 0. */
    int32_t flattened;
    /** 1: every input names its group ("activation order", GPTQ's g_idx). Packing brings the inputs of a group
     *  together, and krn_gemm takes its activations through the same permutation. Not with `flattened`. Else 0. */
    int32_t ordered;
    /** Outlier columns, 0..K; 0 for KRN_TYPE_C4, which has no integer arithmetic. */
    int64_t num_outliers;
    /** Type that the weights of outlier columns are kept in: KRN_TYPE_F32 (0 means the same), KRN_TYPE_F16 or
     *  KRN_TYPE_BF16; 0 when there are none. */
    int32_t outlier_type;
    /** Must be 0. */
    int32_t reserved;
} krn_weights_desc;

/** Quantized weights as they come from a checkpoint or from krn_quantize. */
typedef struct krn_weights_source {
    /** sizeof(krn_weights_source). */
    uint32_t struct_size;
    /** Order of two 4-bit codes in a byte. 0: element 2i is the low nibble; 1: it is the high nibble (bitsandbytes). */
    int32_t high_nibble_first;
    /** N rows of K codes of the format, `codes_ld_bytes` bytes apart. */
    const void *codes;
    /** At least krn_type_row_bytes(format, K). */
    int64_t codes_ld_bytes;
    /** Scales of scale_type, krn_weights_scale_count() of them, finite; u8 when they are double quantized. */
    const void *scales;
    /** Zero points in 0..15, as many; for KRN_TYPE_U4 with zero_type 0, else NULL. */
    const int32_t *zero_points;
    /** Offsets of zero_type, as many, finite; with a zero_type, else NULL. */
    const void *zero_offsets;
    /** 16 finite floats for KRN_TYPE_C4, else NULL. */
    const float *codebook;
    /** The group of each input [K], with `ordered`, else NULL. Every group has group_size inputs, the last one what
     * is left. */
    const int32_t *group_index;
    /** 256 finite floats, with scale_type KRN_TYPE_U8, else NULL. */
    const float *scale_map;
    /** f32 [ceil(scale count / 256)], finite, with scale_type KRN_TYPE_U8, else NULL. */
    const float *nested_scales;
    /** Added to a double-quantized scale; else 0. */
    float scale_offset;
    /** Must be 0. */
    int32_t reserved;
    /** The inputs [num_outliers] that are outlier columns, ascending; NULL when there are none. */
    const int32_t *outlier_columns;
    /** Their weights [N][num_outliers] of outlier_type, finite, as they were before they were quantized; or NULL: the
     *  codes of these columns, dequantized and rounded to outlier_type. */
    const void *outlier_weights;
} krn_weights_source;

/** Where krn_weights_unpack puts what krn_weights_source held, in the same types and sizes. What is NULL, or not
 *  there, is left out. */
typedef struct krn_weights_parts {
    /** sizeof(krn_weights_parts). */
    uint32_t struct_size;
    /** Order of two 4-bit codes in a byte, as in krn_weights_source. */
    int32_t high_nibble_first;
    /** N rows of K codes; the unused nibble at the end of a row of odd width is 0. */
    void *codes;
    /** At least krn_type_row_bytes(format, K); read only with `codes`. */
    int64_t codes_ld_bytes;
    /** Scales of scale_type. */
    void *scales;
    /** Zero points. */
    int32_t *zero_points;
    /** Offsets of zero_type. */
    void *zero_offsets;
    /** 16 floats. */
    float *codebook;
    /** The group of each input [K]. */
    int32_t *group_index;
    /** 256 floats. */
    float *scale_map;
    /** f32 [ceil(scale count / 256)]. */
    float *nested_scales;
    /** 1 float: the offset of double-quantized scales. */
    float *scale_offset;
    /** The outlier columns [num_outliers]. */
    int32_t *outlier_columns;
    /** Their weights [N][num_outliers] of outlier_type, also where they were made from codes. */
    void *outlier_weights;
} krn_weights_parts;

/** The number of scales, and of zero points or offsets, in unpacked form; 0 when K is 0: channels have no groups then.
 *  Errors: those of krn_weights_packed_bytes. */
KRN_API krn_status krn_weights_scale_count(const krn_weights_desc *desc, int64_t *count);

/** Bytes that the packed form of `desc` takes: codes, scales, zero points, tables and padding.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT, KRN_ERROR_SHAPE (also when flattened groups would be split below 16
 *  elements). */
KRN_API krn_status krn_weights_packed_bytes(const krn_context *context, const krn_weights_desc *desc, int64_t *bytes);

/** Packs quantized weights into the layout of the context's instruction set. The result is freed by
 *  krn_weights_destroy. Errors: KRN_ERROR_NON_FINITE for scales, offsets and tables, KRN_ERROR_SHAPE for a
 *  group_index whose groups have other sizes than group_size, and those of the arguments. */
KRN_API krn_status krn_weights_pack(krn_context *context, const krn_weights_desc *desc,
                                    const krn_weights_source *source, krn_weights **weights);

/** Quantizes W[N,K] by rounding to nearest (krn_quantize: symmetric for s8 and s4, asymmetric for u4) and packs it.
 *  `clip_ratio` as in krn_quantize_options. `codebook`: 16 ascending floats for KRN_TYPE_C4, NULL for NF4; NULL for
 *  the other formats. `error` may be NULL. Float offsets (zero_type) are made for KRN_TYPE_U4, as -zero * scale
 *  rounded to zero_type; `error` does not know of that rounding. Double-quantized scales are made from the f32 scales
 *  that the codes belong to, as QLoRA does: scale_offset is their mean; nested_scales are the largest magnitudes of the
 *  differences to it; scale_map is the map of dynamic exponents (Dettmers et al., "8-bit Optimizers via Block-wise
 *  Quantization", 2022), which is 0, 1, and +-10^(i-6) * (0.1 + 0.9 * (j + 0.5) / 2^i) for i in 0..6 and j in 0..2^i-1,
 *  ascending; a code is the nearest entry, the lower one of two. `error` does not know of them either.
 *  KRN_ERROR_UNSUPPORTED: `ordered`, outlier columns, float offsets for another format. Flattened groups that cross
 *  rows take a source without gaps (source_ld = K). */
KRN_API krn_status krn_weights_pack_float(krn_context *context, const krn_weights_desc *desc, int32_t source_type,
                                          const void *source, int64_t source_ld, float clip_ratio,
                                          const float *codebook, krn_weights **weights, krn_quantize_error *error);

/** Gives back exactly what was packed: the inverse of krn_weights_pack. */
KRN_API krn_status krn_weights_unpack(krn_context *context, const krn_weights *weights, const krn_weights_parts *parts);

/** Shape and format of packed weights. `desc->struct_size` must be set. */
KRN_API krn_status krn_weights_describe(const krn_weights *weights, krn_weights_desc *desc);

/** Bytes of the packed form in memory; 0 for NULL. */
KRN_API int64_t krn_weights_bytes(const krn_weights *weights);

/** Bytes of the serialized form; 0 for NULL. */
KRN_API int64_t krn_weights_blob_bytes(const krn_weights *weights);

/** Serializes packed weights: a header (magic, version, layout, format, shape, checksum) and the packed bytes,
 *  little-endian. `blob` holds `blob_bytes` >= krn_weights_blob_bytes() bytes. Equal weights give equal blobs. */
KRN_API krn_status krn_weights_save(const krn_weights *weights, void *blob, int64_t blob_bytes);

/** Makes packed weights from a blob, which is checked first and copied: a foreign blob, one of another layout or
 *  version, a truncated or oversized one is KRN_ERROR_BLOB_FORMAT, a damaged one KRN_ERROR_BLOB_CHECKSUM. */
KRN_API krn_status krn_weights_load(krn_context *context, const void *blob, int64_t blob_bytes, krn_weights **weights);

/** Frees packed weights. NULL is fine. No call may be using them. */
KRN_API void krn_weights_destroy(krn_weights *weights);

#ifdef __cplusplus
}
#endif

#endif
