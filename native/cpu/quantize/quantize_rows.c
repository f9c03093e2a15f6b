/* From floats to codes. The first pass finds out whether the source is finite, because otherwise nothing may be
 * written; the second reads the source again and writes scales and codes. */
#include "quantize/quantize_rows.h"

#include "common/context.h"
#include "common/half.h"
#include "common/status.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

typedef struct {
    float lowest, highest;
    int finite;
} piece_range;

/* What the tasks of one pass share. */
typedef struct {
    const krn_quantize_job *job;
    const unsigned char *source;
    uint8_t *codes;
    float *scales;
    int32_t *zero_points;
    int64_t pieces;
    piece_range *ranges;
    /* max|x| of the blocks of the first kept_rows rows, which pass 1 finds on its way and pass 2 would look for
     * again. */
    float *kept;
    int64_t kept_rows;
} quantize_pass;

/* Pass 1: is everything finite, and the range of the tensor where one range serves all. */

static void scan_span(const krn_quantize_job *job, const unsigned char *span, int64_t count, piece_range *range) {
    const krn_quantize_kernels *kernels = job->kernels;
    for (int64_t at = 0; at < count && range->finite; at += KRN_QUANTIZE_CHUNK) {
        const unsigned char *elements = span + at * krn_element_bytes(job->float_type);
        const int64_t n = krn_min(KRN_QUANTIZE_CHUNK, count - at);
        float lowest = 0, highest;
        kernels->magnitudes(job->float_type, elements, n, n, &highest);
        range->finite = highest <= FLT_MAX;
        if (range->finite && job->scheme.asymmetric && job->scales_per_row == 0)
            kernels->extents(job->float_type, elements, n, n, &lowest, &highest);
        range->lowest = lowest < range->lowest ? lowest : range->lowest;
        range->highest = highest > range->highest ? highest : range->highest;
    }
}

static void scan_rows(const krn_quantize_job *job, const unsigned char *source, int64_t rows, piece_range *range) {
    *range = (piece_range){.finite = 1};
    if (job->float_ld_bytes == job->cols * krn_element_bytes(job->float_type)) {
        scan_span(job, source, rows * job->cols, range);
        return;
    }
    for (int64_t row = 0; row < rows && range->finite; row++)
        scan_span(job, source + row * job->float_ld_bytes, job->cols, range);
}

static int scan_kept_row(const quantize_pass *pass, int64_t row) {
    const krn_quantize_job *job = pass->job;
    float *kept = pass->kept + row * job->blocks_per_row;
    job->kernels->magnitudes(job->float_type, pass->source + row * job->float_ld_bytes, job->cols, job->block, kept);
    int finite = 1;
    for (int64_t b = 0; b < job->blocks_per_row; b++)
        finite &= kept[b] <= FLT_MAX;
    return finite;
}

static void scan_piece(void *task_context, int64_t index) {
    const quantize_pass *pass = task_context;
    const krn_quantize_job *job = pass->job;
    piece_range *range = &pass->ranges[index];
    const int64_t end = krn_first_row(job->rows, pass->pieces, index + 1);
    int64_t row = krn_first_row(job->rows, pass->pieces, index);
    *range = (piece_range){.finite = 1};
    for (; row < krn_min(end, pass->kept_rows) && range->finite; row++)
        range->finite = scan_kept_row(pass, row);
    if (row < end && range->finite)
        scan_rows(job, pass->source + row * job->float_ld_bytes, end - row, range);
}

static krn_status fail_non_finite(const krn_quantize_job *job, const unsigned char *source) {
    int64_t row = 0, col = 0;
    piece_range range;
    while (scan_rows(job, source + row * job->float_ld_bytes, 1, &range), range.finite)
        row++;
    const unsigned char *elements = source + row * job->float_ld_bytes;
    float magnitude;
    while (job->kernels->magnitudes(job->float_type, elements + col * krn_element_bytes(job->float_type), 1, 1,
                                    &magnitude),
           magnitude <= FLT_MAX)
        col++;
    return krn_fail(KRN_ERROR_NON_FINITE, "source[%lld, %lld] is NaN or infinite", (long long)row, (long long)col);
}

/* Pass 2: scales and codes. */

/* A scale as it is stored, widened again: at most the largest finite value of its type. Those below FLT_MIN count as
 * 0. */
static float round_scale(const krn_quantize_scheme *scheme, float scale) {
    if (scale < FLT_MIN)
        return 0;
    if (scheme->scale_type == KRN_TYPE_F16)
        return krn_f16_to_f32(scale > 65504.0f ? 0x7BFF : krn_f32_to_f16(scale));
    if (scheme->scale_type == KRN_TYPE_BF16) {
        const uint16_t rounded = krn_f32_to_bf16(scale);
        return krn_bf16_to_f32(rounded > 0x7F7F ? 0x7F7F : rounded);
    }
    return scale > FLT_MAX ? FLT_MAX : scale;
}

void krn_quantize_derive(const krn_quantize_scheme *scheme, int64_t count, const float *lowest, const float *highest,
                         float *scales, int32_t *zero_points) {
    const float clip = scheme->clip_ratio;
    if (!scheme->asymmetric) {
        for (int64_t b = 0; b < count; b++)
            scales[b] = round_scale(scheme, highest[b] * clip / scheme->steps);
        for (int64_t b = 0; zero_points != NULL && b < count; b++)
            zero_points[b] = scheme->zero;
        return;
    }
    const int32_t range = scheme->q_max - scheme->q_min;
    for (int64_t b = 0; b < count; b++) {
        const float low = (lowest[b] < 0 ? lowest[b] : 0) * clip;
        const float high = (highest[b] > 0 ? highest[b] : 0) * clip;
        scales[b] = round_scale(scheme, (float)(((double)high - (double)low) / (double)range));
        if (scales[b] == 0) {
            zero_points[b] = scheme->zero;
            continue;
        }
        /* A scale that was rounded down may leave more steps below zero than there are codes. */
        const float below = low * (1.0f / scales[b]);
        zero_points[b] = below < (float)-range ? scheme->q_max : scheme->q_min - (int32_t)lrintf(below);
    }
}

static float *scales_of(const quantize_pass *pass, int64_t row) {
    return pass->scales + row * pass->job->scales_per_row;
}

static int32_t *zero_points_of(const quantize_pass *pass, int64_t row) {
    return pass->zero_points == NULL ? NULL : pass->zero_points + row * pass->job->scales_per_row;
}

/* The scales of a row that pass 1 kept the magnitudes of. */
static void derive_kept_row(const quantize_pass *pass, int64_t row) {
    const int64_t blocks = pass->job->blocks_per_row;
    const float *kept = pass->kept + row * blocks;
    krn_quantize_derive(&pass->job->scheme, blocks, kept, kept, scales_of(pass, row), zero_points_of(pass, row));
}

void krn_quantize_derive_row(const krn_quantize_job *job, const void *row, float *scales, int32_t *zero_points) {
    const unsigned char *source = row;
    float lowest[KRN_QUANTIZE_MAX_BLOCKS], highest[KRN_QUANTIZE_MAX_BLOCKS];
    for (int64_t b = 0; b < job->blocks_per_row; b += KRN_QUANTIZE_MAX_BLOCKS) {
        const int64_t blocks = krn_min(KRN_QUANTIZE_MAX_BLOCKS, job->blocks_per_row - b);
        const int64_t start = b * job->block;
        const int64_t count = b + blocks == job->blocks_per_row ? job->cols - start : blocks * job->block;
        const unsigned char *elements = source + start * krn_element_bytes(job->float_type);
        if (job->scheme.asymmetric)
            job->kernels->extents(job->float_type, elements, count, job->block, lowest, highest);
        else
            job->kernels->magnitudes(job->float_type, elements, count, job->block, highest);
        krn_quantize_derive(&job->scheme, blocks, lowest, highest, scales + b,
                            zero_points == NULL ? NULL : zero_points + b);
    }
}

static void encode_run(const krn_quantize_job *job, const unsigned char *elements, krn_memory_hints hints,
                       int64_t count, int64_t block, const krn_block_encoder *encoders, uint8_t *codes) {
    if (job->scheme.codebook != NULL)
        job->kernels->encode_nearest(job->float_type, elements, count, block, encoders, job->scheme.midpoints, codes);
    else
        job->kernels->encode(job->float_type, elements, hints, count, block, encoders, codes);
}

krn_block_encoder krn_quantize_encoder(const krn_quantize_scheme *scheme, float scale, int32_t zero_point) {
    const int32_t zero = scheme->asymmetric ? zero_point : scheme->zero;
    /* Relative to the zero point; a symmetric range is so already. */
    const int32_t offset = scheme->asymmetric ? zero : 0;
    return (krn_block_encoder){.inverse = scale == 0 ? 0 : 1.0f / scale,
                               .low = (float)(scheme->q_min - offset),
                               .high = (float)(scheme->q_max - offset),
                               .zero = zero,
                               .is_unclipped = scheme->is_unclipped};
}

/* One code per byte. */
static void encode_bytes(const krn_quantize_job *job, const unsigned char *elements, krn_memory_hints hints,
                         int64_t start, int64_t count, const float *scales, const int32_t *zero_points,
                         uint8_t *codes) {
    const krn_quantize_scheme *scheme = &job->scheme;
    const krn_block_run run = krn_blocks_of(job, start, count);
    krn_block_encoder encoders[KRN_QUANTIZE_MAX_BLOCKS];
    for (int64_t b = 0; b < run.blocks; b++) {
        const int64_t i = run.first + b;
        encoders[b] = krn_quantize_encoder(scheme, scales[i], scheme->asymmetric ? zero_points[i] : 0);
    }
    if (run.head > 0)
        encode_run(job, elements, hints, run.head, run.head, encoders, codes);
    hints.ahead = krn_ahead_from(hints.ahead, run.head);
    if (run.head < count)
        encode_run(job, elements + run.head * krn_element_bytes(job->float_type), hints, count - run.head, job->block,
                   encoders + (run.head > 0), codes + run.head);
}

void krn_quantize_encode_chunk(const krn_quantize_job *job, const void *elements, krn_memory_hints hints, int64_t start,
                               int64_t count, const float *scales, const int32_t *zero_points, uint8_t *codes) {
    if (job->scheme.bits == 8) {
        encode_bytes(job, elements, hints, start, count, scales, zero_points, codes + start);
        return;
    }
    _Alignas(64) uint8_t nibbles[KRN_QUANTIZE_CHUNK];
    hints.stream = 0;
    encode_bytes(job, elements, hints, start, count, scales, zero_points, nibbles);
    job->kernels->pack_nibbles(nibbles, count, codes + start / 2);
}

void krn_quantize_encode_row(const krn_quantize_job *job, const void *row, krn_memory_hints hints, const float *scales,
                             const int32_t *zero_points, uint8_t *codes) {
    const unsigned char *source = row;
    for (int64_t start = 0; start < job->cols; start += KRN_QUANTIZE_CHUNK) {
        const int64_t count = krn_min(KRN_QUANTIZE_CHUNK, job->cols - start);
        krn_memory_hints chunk = hints;
        chunk.ahead = krn_ahead_from(hints.ahead, start);
        krn_quantize_encode_chunk(job, source + start * krn_element_bytes(job->float_type), chunk, start, count, scales,
                                  zero_points, codes);
    }
}

static void encode_piece(void *task_context, int64_t index) {
    const quantize_pass *pass = task_context;
    const krn_quantize_job *job = pass->job;
    const int64_t end = krn_first_row(job->rows, pass->pieces, index + 1);
    for (int64_t row = krn_first_row(job->rows, pass->pieces, index); row < end; row++) {
        const unsigned char *source = pass->source + row * job->float_ld_bytes;
        krn_memory_hints hints = {.stream = job->stream};
        if (row < pass->kept_rows) {
            derive_kept_row(pass, row);
        } else if (job->scales_per_row > 0) {
            krn_quantize_derive_row(job, source, scales_of(pass, row), zero_points_of(pass, row));
            /* While this row is encoded from the first-level cache, the next one is on its way there (measured: a
             * seventh of the time with 8 MiB in the third level). Where a row is read once, the processor's own
             * prefetcher is better. */
            if (row + 1 < end)
                hints.ahead = (krn_ahead){.streams = 1,
                                          .is_outer = job->context->has_small_l1,
                                          .stream = {(const char *)source + job->float_ld_bytes},
                                          .bytes_per_64 = 64 * krn_element_bytes(job->float_type)};
        }
        krn_quantize_encode_row(job, source, hints, scales_of(pass, row), zero_points_of(pass, row),
                                pass->codes + row * job->codes_ld_bytes);
    }
    if (job->stream)
        KRN_STREAM_FENCE();
}

krn_status krn_quantize_run(const krn_quantize_job *job, const void *source, uint8_t *codes, float *scales,
                            int32_t *zero_points) {
    piece_range ranges[KRN_QUANTIZE_MAX_PIECES];
    float kept[KRN_QUANTIZE_KEPT_BLOCKS];
    /* An asymmetric block has a range, and one range for all needs no keeping. */
    const int keeps = !job->scheme.asymmetric && job->scales_per_row > 0;
    quantize_pass pass = {
        .job = job,
        .source = source,
        .codes = codes,
        .scales = scales,
        .zero_points = zero_points,
        .pieces = krn_count_pieces(job->context, job->rows, job->cols),
        .ranges = ranges,
        .kept = kept,
        .kept_rows = keeps ? krn_min(job->rows, KRN_QUANTIZE_KEPT_BLOCKS / job->blocks_per_row) : 0,
    };
    krn_context_run(job->context, pass.pieces, scan_piece, &pass);
    piece_range tensor = ranges[0];
    for (int64_t i = 0; i < pass.pieces; i++) {
        if (!ranges[i].finite)
            return fail_non_finite(job, source);
        tensor.lowest = ranges[i].lowest < tensor.lowest ? ranges[i].lowest : tensor.lowest;
        tensor.highest = ranges[i].highest > tensor.highest ? ranges[i].highest : tensor.highest;
    }
    if (job->scales_per_row == 0)
        krn_quantize_derive(&job->scheme, 1, &tensor.lowest, &tensor.highest, scales, zero_points);
    krn_context_run(job->context, pass.pieces, encode_piece, &pass);
    return KRN_OK;
}
