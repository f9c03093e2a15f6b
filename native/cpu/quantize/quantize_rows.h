/* The passes over rows behind the door of quantization. Everything here was checked. */
#ifndef KRN_QUANTIZE_ROWS_H
#define KRN_QUANTIZE_ROWS_H

#include "common/context.h"
#include "common/portability.h"
#include "kernels/quantize.h"
#include "quantize/quantize_variants.h"

#include <stddef.h>

enum {
    /* Elements handled at a time: their per-block parameters and nibbles fit a few KiB of stack and the first-level
     * cache. Even, so that a chunk of 4-bit codes starts on a byte. */
    KRN_QUANTIZE_CHUNK = 2048,
    KRN_QUANTIZE_MIN_GROUP = 16,
    /* A chunk may begin and end inside a group. */
    KRN_QUANTIZE_MAX_BLOCKS = KRN_QUANTIZE_CHUNK / KRN_QUANTIZE_MIN_GROUP + 2,
    /* More pieces than threads even out threads that are interrupted. */
    KRN_QUANTIZE_PIECES_PER_THREAD = 4,
    KRN_QUANTIZE_MAX_PIECES = 512,
    /* About 2 us of work: less is not worth another thread. */
    KRN_QUANTIZE_MIN_PIECE_ELEMS = 16384,
    /* 32 KiB of the caller's stack: per token they do for the 512 rows of a prompt and far beyond, and with groups of
     * 128 for 256 rows of 4096. */
    KRN_QUANTIZE_KEPT_BLOCKS = 8192,
    /* A third-level cache of 32 MiB: what has more than that in source and codes finds neither there when it is needed
     * again. Codes written past the caches then save reading the lines that they fill (measured on Zen 5: 5-10% of the
     * time at 160 MiB, 25% at 35 MiB); in a smaller tensor they stay in the cache for the GEMM that reads them. */
    KRN_QUANTIZE_STREAM_BYTES = 32 << 20,
};

/* What options mean for the arithmetic of kernels/quantize.h. */
typedef struct krn_quantize_scheme {
    int32_t asymmetric;
    /* Of all blocks when symmetric; of all-zero blocks in any case. */
    int32_t zero;
    /* Bounds of q; relative to the zero point when symmetric. */
    int32_t q_min;
    int32_t q_max;
    int32_t bits;
    /* See `decode` in quantize_variants.h. */
    uint8_t flip;
    float clip_ratio;
    /* See krn_block_encoder. With the whole range |x| <= max|x| = Q scale, and x * inv differs from Q by roundings
     * alone, of a scale that is no subnormal. */
    int32_t is_unclipped;
    /* What max|x| is divided by; symmetric and codebook. */
    float steps;
    /* Type that scales are rounded to. */
    int32_t scale_type;
    /* 16 entries, or NULL for integer codes; and what lies between them (`encode_nearest`). */
    const float *codebook;
    float midpoints[16];
} krn_quantize_scheme;

/* One call: a float tensor and its quantized form. Row r, block b has scale scales[r * scales_per_row + b]. */
typedef struct krn_quantize_job {
    krn_context *context;
    const krn_quantize_kernels *kernels;
    krn_quantize_scheme scheme;
    int64_t rows;
    int64_t cols;
    /* Elements that share a scale within a row: cols unless per group. */
    int64_t block;
    int64_t blocks_per_row;
    /* 0 per tensor, else blocks_per_row. */
    int64_t scales_per_row;
    int32_t float_type;
    int64_t float_ld_bytes;
    int64_t codes_ld_bytes;
    /* Whether codes are written past the caches; see KRN_QUANTIZE_STREAM_BYTES. */
    int32_t stream;
} krn_quantize_job;

/* rows > 0 and cols > 0. Writes nothing and gives KRN_ERROR_NON_FINITE when the source holds NaN or infinity. */
krn_status krn_quantize_run(const krn_quantize_job *job, const void *source, uint8_t *codes, float *scales,
                            int32_t *zero_points);

/* rows > 0 and cols > 0. */
void krn_dequantize_run(const krn_quantize_job *job, const uint8_t *codes, const float *scales,
                        const int32_t *zero_points, void *target);

/* rows > 0 and cols > 0. The error of codes made from `source`. */
void krn_quantize_measure(const krn_quantize_job *job, const void *source, const uint8_t *codes, const float *scales,
                          const int32_t *zero_points, krn_quantize_error *error);

/* What other ops take to quantize on the way, with the same bits. */

/* Bits of a code of `type`; 0 for a type that is not one of codes. */
int32_t krn_quantize_code_bits(int32_t type);

/* Of checked options: how many blocks a row is cut into, and the scales of a tensor. */
int64_t krn_quantize_blocks_per_row(const krn_quantize_options *options, int64_t cols);
int64_t krn_quantize_count_scales(const krn_quantize_options *options, int64_t rows, int64_t cols);

/* All of the errors of options, and of where codes go. */
krn_status krn_quantize_check_options(const krn_quantize_options *options);
krn_status krn_quantize_check_codes(const krn_quantize_options *options, int64_t rows, int64_t cols, const void *codes,
                                    int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points);

/* The job of checked options on rows of `float_type`; leading dimensions are left to the caller. */
krn_quantize_job krn_quantize_job_of(krn_context *context, const krn_quantize_options *options, int64_t rows,
                                     int64_t cols, int32_t float_type);

/* Of checked options. */
krn_quantize_scheme krn_quantize_scheme_of(const krn_quantize_options *options);

/* The variant that runs in a context. */
const krn_quantize_kernels *krn_quantize_kernels_of(const krn_context *context);

/* Scales and zero points of `count` blocks. Symmetric: `highest` is max|x|, `lowest` is not read, and `zero_points` may
 * be NULL. */
void krn_quantize_derive(const krn_quantize_scheme *scheme, int64_t count, const float *lowest, const float *highest,
                         float *scales, int32_t *zero_points);

/* How a block with this scale is encoded. The zero point is read only when asymmetric. */
krn_block_encoder krn_quantize_encoder(const krn_quantize_scheme *scheme, float scale, int32_t zero_point);

/* Of one row: its scales and zero points, and its codes. Of the job are read kernels, scheme, cols, block,
 * blocks_per_row and float_type. `zero_points` may be NULL in a symmetric scheme. */
void krn_quantize_derive_row(const krn_quantize_job *job, const void *row, float *scales, int32_t *zero_points);
void krn_quantize_encode_row(const krn_quantize_job *job, const void *row, krn_memory_hints hints, const float *scales,
                             const int32_t *zero_points, uint8_t *codes);

/* Codes start..start+count-1 of a row whose elements are these; start is even, count at most KRN_QUANTIZE_CHUNK. */
void krn_quantize_encode_chunk(const krn_quantize_job *job, const void *elements, krn_memory_hints hints, int64_t start,
                               int64_t count, const float *scales, const int32_t *zero_points, uint8_t *codes);

/* What the passes share. */

KRN_ALWAYS_INLINE int64_t krn_min(int64_t a, int64_t b) { return a < b ? a : b; }

KRN_ALWAYS_INLINE int64_t krn_element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* Into how many pieces to cut a pass over rows. */
KRN_ALWAYS_INLINE int64_t krn_count_pieces(const krn_context *context, int64_t rows, int64_t cols) {
    if (context->num_threads == 1)
        return 1;
    /* A host that brings its own loop was promised its number of threads. */
    const int64_t per_thread = context->parallel_for != NULL ? 1 : KRN_QUANTIZE_PIECES_PER_THREAD;
    const int64_t wanted = krn_min(context->num_threads * per_thread, KRN_QUANTIZE_MAX_PIECES);
    const int64_t worthwhile = rows * cols / KRN_QUANTIZE_MIN_PIECE_ELEMS + 1;
    return krn_min(wanted, krn_min(rows, worthwhile));
}

/* The first row of a piece; of piece number `pieces`, the row behind the last. */
KRN_ALWAYS_INLINE int64_t krn_first_row(int64_t rows, int64_t pieces, int64_t index) {
    return rows / pieces * index + krn_min(index, rows % pieces);
}

/* The blocks that elements start..start+count-1 of a row touch, and how many of these elements finish a block that
 * began before them. */
typedef struct krn_block_run {
    int64_t first, blocks, head;
} krn_block_run;

KRN_ALWAYS_INLINE krn_block_run krn_blocks_of(const krn_quantize_job *job, int64_t start, int64_t count) {
    const int64_t first = start / job->block;
    const int64_t done = start % job->block;
    return (krn_block_run){
        .first = first,
        .blocks = (start + count - 1) / job->block - first + 1,
        .head = done == 0 ? 0 : krn_min(count, job->block - done),
    };
}

#endif
