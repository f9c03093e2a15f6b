/* The kernels of krn_kv_cache_append and the table of their variants. */
#ifndef KRN_KV_CACHE_VARIANTS_H
#define KRN_KV_CACHE_VARIANTS_H

#include "kv_cache/kv_layout.h"
#include "quantize/quantize_rows.h"

/* The variants, best first. To add one, write one file that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_KV_CACHE_VARIANTS(X)                                                                                       \
    X(krn_kv_cache_avx512)                                                                                             \
    X(krn_kv_cache_avx2)                                                                                               \
    X(krn_kv_cache_ref)
#elif defined(KRN_ARM64)
#define KRN_KV_CACHE_VARIANTS(X)                                                                                       \
    X(krn_kv_cache_neon)                                                                                               \
    X(krn_kv_cache_ref)
#else
#define KRN_KV_CACHE_VARIANTS(X) X(krn_kv_cache_ref)
#endif

/* How keys or values of one head are stored. */
typedef struct krn_kv_encoding {
    int32_t type;
    int32_t head_dim;
    int32_t value_dim;
    /* Above 0: of all tokens; with the zero point of a u4. 0: every token has its own. */
    float static_scale;
    int32_t static_zero_point;
    /* Not read for float types. */
    const krn_quantize_scheme *scheme;
    /* What quantizes single rows. */
    const krn_quantize_kernels *quantize;
} krn_kv_encoding;

/* A head of consecutive tokens, all finite. */
typedef struct krn_kv_rows {
    /* KRN_TYPE_F32, _F16 or _BF16. */
    int32_t type;
    const void *first;
    int64_t ld_bytes;
    /* max|x| of each, finite. */
    const float *magnitudes;
    /* [16]: the lowest and the highest element of each, or NULL: not known. */
    const float *lowest, *highest;
} krn_kv_rows;

/* 16 tokens of a head of a page, where they are stored. */
typedef struct krn_kv_block {
    unsigned char *codes;
    /* Of the 16 tokens; not read where tokens have no scales of their own. */
    float *scales;
    uint8_t *zero_points;
    /* Whether the codes of a whole block are better written past the caches. It changes no result, and a variant may
     * ignore it. Such stores are ordered by KRN_STREAM_FENCE alone. */
    int32_t stream;
} krn_kv_block;

/* What a variant does; every one gives the bits of krn_kv_cache_ref. */
typedef struct krn_kv_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* Stores `count` tokens as tokens first..first+count-1 of a block, first + count <= 16. With first = 0 the rest of
     * the block becomes zeros with scale 0; otherwise other tokens keep their bits. */
    void (*store_keys)(const krn_kv_encoding *encoding, krn_kv_rows rows, int32_t first, int32_t count,
                       krn_kv_block block);
    void (*store_values)(const krn_kv_encoding *encoding, krn_kv_rows rows, int32_t first, int32_t count,
                         krn_kv_block block);
    /* Quantizes a full group of `blocks` f32 key blocks per channel. `codes` are the blocks of a page; scales and
     * zero_points have one entry for each channel; zero_points are not written but for u4. */
    void (*store_group)(const krn_kv_encoding *encoding, const float *tail, int32_t blocks, unsigned char *codes,
                        float *scales, uint8_t *zero_points);
    /* The same for a group that comes whole, in two steps straight from its rows; both NULL where it goes through the
     * tail. head_dim is a multiple of 16. First the extents of `channels` channels, a multiple of 16, of any number of
     * heads: max|x| in `highest` if symmetric, else both. Returns 0 when an element is not finite. */
    int32_t (*channel_extents)(const krn_kv_rows *rows, int32_t count, int64_t channels, int symmetric, float *lowest,
                               float *highest);
    /* Then every head, of blocks * 16 tokens. `group` has the place of its first block and of its scales. */
    void (*store_group_rows)(const krn_kv_encoding *encoding, const krn_kv_rows *rows, int32_t blocks,
                             const float *lowest, const float *highest, krn_kv_block group);
} krn_kv_kernels;

#define KRN_KV_CACHE_DECLARE(variant) extern const krn_kv_kernels variant;
KRN_KV_CACHE_VARIANTS(KRN_KV_CACHE_DECLARE)
#undef KRN_KV_CACHE_DECLARE

#if defined(KRN_X86_64)
/* The groups of the variant, in a file of their own. */
void krn_kv_store_group_avx512(const krn_kv_encoding *encoding, const float *tail, int32_t blocks, unsigned char *codes,
                               float *scales, uint8_t *zero_points);
int32_t krn_kv_channel_extents_avx512(const krn_kv_rows *rows, int32_t count, int64_t channels, int symmetric,
                                      float *lowest, float *highest);
void krn_kv_store_group_rows_avx512(const krn_kv_encoding *encoding, const krn_kv_rows *rows, int32_t blocks,
                                    const float *lowest, const float *highest, krn_kv_block group);
#endif

/* The variant that runs in a context. */
const krn_kv_kernels *krn_kv_kernels_of(const krn_context *context);

#endif
