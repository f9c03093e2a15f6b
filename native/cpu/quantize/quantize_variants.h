/* The kernels of quantization and the table of their variants. */
#ifndef KRN_QUANTIZE_VARIANTS_H
#define KRN_QUANTIZE_VARIANTS_H

#include "common/ahead.h"
#include "common/portability.h"
#include "kernels/context.h"

/* The variants, best first. To add one, write one file that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_QUANTIZE_VARIANTS(X)                                                                                       \
    X(krn_quantize_avx512)                                                                                             \
    X(krn_quantize_avx2)                                                                                               \
    X(krn_quantize_ref)
#elif defined(KRN_ARM64)
#define KRN_QUANTIZE_VARIANTS(X)                                                                                       \
    X(krn_quantize_neon)                                                                                               \
    X(krn_quantize_ref)
#else
#define KRN_QUANTIZE_VARIANTS(X) X(krn_quantize_ref)
#endif

/* How one block becomes codes: q = rint(clamp(x * inverse, low, high)) + zero. `inverse` is 0 in a block whose scale is
 * 0. */
typedef struct krn_block_encoder {
    float inverse;
    float low;
    float high;
    int32_t zero;
    /* Whether rint(x * inverse) lies between low and high for every element anyway, and these are within -127..127. */
    int32_t is_unclipped;
} krn_block_encoder;

/* How the codes of one block become values: x^ = (code - zero) * scale, with codes and zero point biased to be
 * unsigned (see `decode`). */
typedef struct krn_block_decoder {
    float scale;
    int32_t zero;
} krn_block_decoder;

/* What the caller knows about memory. It changes no result, and a variant may ignore it. */
typedef struct krn_memory_hints {
    krn_ahead ahead;
    /* Whether codes are better written past the caches. Such stores are ordered by KRN_STREAM_FENCE alone. */
    int32_t stream;
} krn_memory_hints;

/* What a variant does. Every function works on `count` >= 1 consecutive elements of a row, cut into blocks of
 * `block` >= 1 elements, the last of which may be shorter; per-block arguments have one entry for each. `type` is
 * KRN_TYPE_F32, _F16 or _BF16. Nothing outside the `count` elements is read or written. Every variant gives the bits of
 * krn_quantize_ref. */
typedef struct krn_quantize_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* max |x| of every block; infinity or NaN, but no finite number, for a block that holds infinity or NaN. */
    void (*magnitudes)(int32_t type, const void *source, int64_t count, int64_t block, float *magnitude);
    /* The smallest and the largest element of every block, all finite. The sign of a zero is not defined. */
    void (*extents)(int32_t type, const void *source, int64_t count, int64_t block, float *lowest, float *highest);
    /* Codes of finite elements, one per byte. */
    void (*encode)(int32_t type, const void *source, krn_memory_hints hints, int64_t count, int64_t block,
                   const krn_block_encoder *encoders, uint8_t *codes);
    /* Values of codes, one per byte. `code ^ flip` is the unsigned form of a code: 0x80 turns s8 into u8 (q + 128), 8
     * turns s4 into u4 (q + 8), 0 leaves unsigned codes. The decoders' zero points are biased likewise. */
    void (*decode)(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block, const krn_block_decoder *decoders,
                   int32_t type, void *target);
    /* Codes 0..15 of finite elements, one per byte: how many of the 15 ascending `midpoints` lie below x * inverse.
     * `midpoints` has 16 entries, the last one infinity. Of the encoders only `inverse` is read. */
    void (*encode_nearest)(int32_t type, const void *source, int64_t count, int64_t block,
                           const krn_block_encoder *encoders, const float *midpoints, uint8_t *codes);
    /* codebook[code] * scale for codes 0..15, one per byte. Of the decoders only `scale` is read. */
    void (*decode_entries)(const uint8_t *codes, int64_t count, int64_t block, const krn_block_decoder *decoders,
                           const float *codebook, int32_t type, void *target);
    /* Low nibbles of `count` bytes, two per byte of `packed`; the last high nibble of an odd count is 0. */
    void (*pack_nibbles)(const uint8_t *codes, int64_t count, uint8_t *packed);
    /* The inverse: `count` bytes of 0..15. */
    void (*unpack_nibbles)(const uint8_t *packed, int64_t count, uint8_t *codes);
} krn_quantize_kernels;

#define KRN_QUANTIZE_DECLARE(variant) extern const krn_quantize_kernels variant;
KRN_QUANTIZE_VARIANTS(KRN_QUANTIZE_DECLARE)
#undef KRN_QUANTIZE_DECLARE

#endif
