/* From codes to floats, and the error of codes against what they were made from. */
#include "quantize/quantize_rows.h"

#include "common/context.h"
#include "common/convert.h"

#include <math.h>
#include <stddef.h>

typedef struct {
    const krn_quantize_job *job;
    const uint8_t *codes;
    const float *scales;
    const int32_t *zero_points;
    unsigned char *target;
    int64_t pieces;
} dequantize_pass;

static void decode_run(const krn_quantize_job *job, const uint8_t *codes, int64_t count, int64_t block,
                       const krn_block_decoder *decoders, int32_t type, void *target) {
    if (job->scheme.codebook != NULL)
        job->kernels->decode_entries(codes, count, block, decoders, job->scheme.codebook, type, target);
    else
        job->kernels->decode(codes, job->scheme.flip, count, block, decoders, type, target);
}

/* Elements start..start+count-1 of row `row`, at most KRN_QUANTIZE_CHUNK, to target[0..count-1] of `type`. */
static void decode_chunk(const dequantize_pass *pass, int64_t row, int64_t start, int64_t count, int32_t type,
                         void *target) {
    const krn_quantize_job *job = pass->job;
    const krn_quantize_scheme *scheme = &job->scheme;
    const krn_block_run run = krn_blocks_of(job, start, count);
    const int64_t scale_at = row * job->scales_per_row + run.first;
    krn_block_decoder decoders[KRN_QUANTIZE_MAX_BLOCKS];
    for (int64_t b = 0; b < run.blocks; b++) {
        const int32_t zero = pass->zero_points == NULL ? scheme->zero : pass->zero_points[scale_at + b];
        decoders[b].scale = pass->scales[scale_at + b];
        decoders[b].zero = zero + scheme->flip;
    }
    const uint8_t *codes = pass->codes + row * job->codes_ld_bytes;
    _Alignas(64) uint8_t nibbles[KRN_QUANTIZE_CHUNK];
    if (scheme->bits == 8) {
        codes += start;
    } else {
        job->kernels->unpack_nibbles(codes + start / 2, count, nibbles);
        codes = nibbles;
    }
    if (run.head > 0)
        decode_run(job, codes, run.head, run.head, decoders, type, target);
    if (run.head < count)
        decode_run(job, codes + run.head, count - run.head, job->block, decoders + (run.head > 0), type,
                   (unsigned char *)target + run.head * krn_element_bytes(type));
}

static void decode_piece(void *task_context, int64_t index) {
    const dequantize_pass *pass = task_context;
    const krn_quantize_job *job = pass->job;
    const int64_t end = krn_first_row(job->rows, pass->pieces, index + 1);
    for (int64_t row = krn_first_row(job->rows, pass->pieces, index); row < end; row++) {
        unsigned char *target = pass->target + row * job->float_ld_bytes;
        for (int64_t start = 0; start < job->cols; start += KRN_QUANTIZE_CHUNK)
            decode_chunk(pass, row, start, krn_min(KRN_QUANTIZE_CHUNK, job->cols - start), job->float_type,
                         target + start * krn_element_bytes(job->float_type));
    }
}

void krn_dequantize_run(const krn_quantize_job *job, const uint8_t *codes, const float *scales,
                        const int32_t *zero_points, void *target) {
    dequantize_pass pass = {
        .job = job,
        .codes = codes,
        .scales = scales,
        .zero_points = zero_points,
        .target = target,
        .pieces = krn_count_pieces(job->context, job->rows, job->cols),
    };
    krn_context_run(job->context, pass.pieces, decode_piece, &pass);
}

/* Rows whose errors are kept before they are summed in order. */
enum { MEASURED_ROWS = 256 };

typedef struct {
    double squares, largest;
} row_error;

typedef struct {
    dequantize_pass decode;
    const unsigned char *source;
    int64_t first, count, pieces;
    row_error errors[MEASURED_ROWS];
} measure_pass;

static row_error measure_row(const measure_pass *pass, int64_t row) {
    const krn_quantize_job *job = pass->decode.job;
    row_error error = {0, 0};
    float exact[KRN_QUANTIZE_CHUNK], decoded[KRN_QUANTIZE_CHUNK];
    for (int64_t start = 0; start < job->cols; start += KRN_QUANTIZE_CHUNK) {
        const int64_t count = krn_min(KRN_QUANTIZE_CHUNK, job->cols - start);
        krn_widen(exact, job->float_type, pass->source + row * job->float_ld_bytes, start, count);
        decode_chunk(&pass->decode, row, start, count, KRN_TYPE_F32, decoded);
        for (int64_t i = 0; i < count; i++) {
            const double difference = (double)exact[i] - (double)decoded[i];
            error.squares += difference * difference;
            error.largest = fabs(difference) > error.largest ? fabs(difference) : error.largest;
        }
    }
    return error;
}

static void measure_piece(void *task_context, int64_t index) {
    measure_pass *pass = task_context;
    const int64_t end = krn_first_row(pass->count, pass->pieces, index + 1);
    for (int64_t i = krn_first_row(pass->count, pass->pieces, index); i < end; i++)
        pass->errors[i] = measure_row(pass, pass->first + i);
}

void krn_quantize_measure(const krn_quantize_job *job, const void *source, const uint8_t *codes, const float *scales,
                          const int32_t *zero_points, krn_quantize_error *error) {
    measure_pass pass = {
        .decode = {.job = job, .codes = codes, .scales = scales, .zero_points = zero_points},
        .source = source,
    };
    row_error total = {0, 0};
    for (; pass.first < job->rows; pass.first += pass.count) {
        pass.count = krn_min(MEASURED_ROWS, job->rows - pass.first);
        pass.pieces = krn_count_pieces(job->context, pass.count, job->cols);
        krn_context_run(job->context, pass.pieces, measure_piece, &pass);
        for (int64_t i = 0; i < pass.count; i++) {
            total.squares += pass.errors[i].squares;
            total.largest = pass.errors[i].largest > total.largest ? pass.errors[i].largest : total.largest;
        }
    }
    error->mean_squared_error = total.squares / (double)(job->rows * job->cols);
    error->max_abs_error = total.largest;
}
