/* Packed weights: the right-hand side of krn_gemm, laid out once for the kernels.
 *
 * W[N,K] has N output channels and K inputs; a channel's K inputs are cut into groups of group_size elements with a scale each,
 * the last one possibly shorter; group_size 0 means one group per channel ("per channel").
 *
 *   format         element value              zero point
 *   KRN_TYPE_S8    q * scale, q in -128..127  none
 *   KRN_TYPE_S4    q * scale, q in -8..7      none
 *   KRN_TYPE_U4    (q - zero) * scale         0..15, per group
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

/** Shape and format of weights. */
typedef struct krn_weights_desc {
    /** sizeof(krn_weights_desc). */
    uint32_t struct_size;
    /** KRN_TYPE_S8, KRN_TYPE_S4 or KRN_TYPE_U4. */
    int32_t format;
    /** Output channels, N >= 0. */
    int64_t n;
    /** Inputs, K >= 0. */
    int64_t k;
    /** Elements per group, at least 16, or 0 for one scale per channel. */
    int64_t group_size;
} krn_weights_desc;

/** Bytes that the packed form of `desc` takes: codes, scales, zero points and padding.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT, KRN_ERROR_SHAPE (also when the size does not fit). */
KRN_API krn_status krn_weights_packed_bytes(const krn_context *context, const krn_weights_desc *desc, int64_t *bytes);

/** Packs quantized weights into the layout of the context's instruction set.
 *  codes             N rows of K codes of the format, `codes_ld_bytes` bytes apart
 *  scales            [N][groups] f32, finite
 *  zero_points       [N][groups] int32 in 0..15 for KRN_TYPE_U4; NULL for the others
 *  The result is freed by krn_weights_destroy. */
KRN_API krn_status krn_weights_pack(krn_context *context, const krn_weights_desc *desc, const void *codes,
                                    int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points,
                                    krn_weights **weights);

/** Quantizes W[N,K] by rounding to nearest (krn_quantize: symmetric for s8 and s4, asymmetric for u4) and packs it.
 *  `clip_ratio` as in krn_quantize_options; `error` may be NULL. */
KRN_API krn_status krn_weights_pack_float(krn_context *context, const krn_weights_desc *desc, int32_t source_type,
                                          const void *source, int64_t source_ld, float clip_ratio,
                                          krn_weights **weights, krn_quantize_error *error);

/** Gives back exactly what was packed: the inverse of krn_weights_pack. `zero_points` may be NULL. */
KRN_API krn_status krn_weights_unpack(krn_context *context, const krn_weights *weights, void *codes,
                                      int64_t codes_ld_bytes, float *scales, int32_t *zero_points);

/** Shape and format of packed weights. `desc->struct_size` must be set. */
KRN_API krn_status krn_weights_describe(const krn_weights *weights, krn_weights_desc *desc);

/** Bytes of the packed form in memory; 0 for NULL. */
KRN_API int64_t krn_weights_bytes(const krn_weights *weights);

/** Bytes of the serialized form; 0 for NULL. */
KRN_API int64_t krn_weights_blob_bytes(const krn_weights *weights);

/** Serializes packed weights: a header (magic, version, layout, format, shape, checksum) and the packed bytes, little-endian.
 *  `blob` holds `blob_bytes` >= krn_weights_blob_bytes() bytes. Equal weights give equal blobs. */
KRN_API krn_status krn_weights_save(const krn_weights *weights, void *blob, int64_t blob_bytes);

/** Makes packed weights from a blob, which is checked first and copied: a foreign blob, one of another layout or version, a
 *  truncated or oversized one is KRN_ERROR_BLOB_FORMAT, a damaged one KRN_ERROR_BLOB_CHECKSUM. */
KRN_API krn_status krn_weights_load(krn_context *context, const void *blob, int64_t blob_bytes, krn_weights **weights);

/** Frees packed weights. NULL is fine. No call may be using them. */
KRN_API void krn_weights_destroy(krn_weights *weights);

#ifdef __cplusplus
}
#endif

#endif
