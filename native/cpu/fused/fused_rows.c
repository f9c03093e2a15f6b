/* From the input to codes or to the target, rows at a time that the caches hold. */
#include "fused/fused_rows.h"

#include "common/status.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* What the tasks of a call share. */
typedef struct {
    const krn_fused_job *job;
    int64_t pieces;
    /* The first row of each piece that is not finite; -1 for none. */
    int64_t *bad_rows;
} fused_pass;

/* Passes that bring something near. */
enum { MOST_PASSES = 4 };

/* Rows first..first+rows-1, on their way. */
typedef struct {
    const krn_fused_job *job;
    int64_t first, rows;
    /* The first row behind those of this piece. */
    int64_t end;
    /* The number of this pass over the rows, see lines_of_passes, and where the next tile is not yet near. */
    int64_t pass;
    const uint8_t *lines;
    int64_t row_ahead, bytes_ahead;
    /* A row in f32. */
    float *y;
    krn_row_sums sums[KRN_FUSED_TILE_ROWS];
    float means[KRN_FUSED_TILE_ROWS], inverses[KRN_FUSED_TILE_ROWS];
} tile;

static unsigned char *at(krn_row_matrix matrix, int64_t row, int64_t col, int64_t element_bytes) {
    return matrix.data == NULL ? NULL : matrix.data + row * matrix.ld_bytes + col * element_bytes;
}

static int is_norm(const krn_fused_job *job) { return job->op == KRN_FUSED_RMSNORM || job->op == KRN_FUSED_LAYERNORM; }

/* Without a weight a row that is only rotated goes from the source to f32 on its way. */
static int is_rotated_at_once(const krn_fused_job *job) {
    return job->op == KRN_FUSED_MULTIPLY && job->rotate != NULL && !job->is_weighted;
}

/* Whether a pass over the values that become codes finds out their range: the largest product tells it only without a
 * bias, and only of magnitudes. */
static int is_measured_last(const krn_fused_job *job) {
    return job->bias != NULL || (job->quantize.scheme.asymmetric && !job->is_static);
}

/* How many lines, 0, 1, 2 or 4, each pass brings near for 64 elements of a stream, where they have four in f32 and two
 * in half precision: memory should be as busy in all passes, and is so in these ways (measured on Zen 5). */
static const uint8_t *lines_of_passes(const krn_fused_job *job) {
    static const uint8_t EVEN[2][MOST_PASSES] = {{2, 2}, {1, 1}}, FIRST[2][MOST_PASSES] = {{4}, {2}};
    static const uint8_t SUM[2][MOST_PASSES] = {{2, 1, 1}, {2}}, CENTRED[2][MOST_PASSES] = {{1, 1, 2}, {1, 1}};
    static const uint8_t ROTATED_NORM[2][MOST_PASSES] = {{1, 0, 2, 1}, {1, 0, 1}},
                         ROTATED[2][MOST_PASSES] = {{0, 4}, {0, 2}};
    static const uint8_t MEASURED[2][MOST_PASSES] = {{2, 1, 1}, {1, 1}},
                         CENTRED_MEASURED[2][MOST_PASSES] = {{1, 1, 1, 1}, {1, 0, 0, 1}};
    const int is_half = job->type != KRN_TYPE_F32;
    if (job->op == KRN_FUSED_GATE)
        return job->rotate == NULL ? FIRST[is_half] : EVEN[is_half];
    if (job->residual.data != NULL)
        return SUM[is_half];
    if (job->is_direct && is_measured_last(job))
        return job->op == KRN_FUSED_LAYERNORM ? CENTRED_MEASURED[is_half] : MEASURED[is_half];
    if (job->op == KRN_FUSED_LAYERNORM)
        return CENTRED[is_half];
    if (is_rotated_at_once(job))
        return ROTATED[is_half];
    return is_norm(job) && job->rotate != NULL ? ROTATED_NORM[is_half] : EVEN[is_half];
}

/* What the pass brings near on its way over the next `count` elements of a tile: its share of the next tile, row after
 * row, which is how memory is read fastest. */
static krn_ahead take_ahead(tile *t, int64_t count) {
    const krn_fused_job *job = t->job;
    const int64_t lines = t->pass < MOST_PASSES ? t->lines[t->pass] : 0;
    const int64_t row = t->first + t->rows + t->row_ahead;
    if (lines == 0 || row >= t->end)
        return (krn_ahead){0};
    const int is_paired = job->op == KRN_FUSED_GATE && job->up.data == NULL;
    const int64_t row_bytes = job->cols * krn_element_bytes(job->type);
    krn_ahead ahead = {.streams = 1,
                       .is_outer = job->context->has_small_l1,
                       .stream = {(const char *)at(job->source, row, 0, 1) + t->bytes_ahead},
                       .bytes_per_64 = 64 * lines};
    const krn_row_matrix second = job->op == KRN_FUSED_GATE ? job->up : job->residual;
    if (second.data != NULL)
        ahead.stream[ahead.streams++] = (const char *)at(second, row, 0, 1) + t->bytes_ahead;
    else if (is_paired)
        ahead.stream[ahead.streams++] = ahead.stream[0] + row_bytes;
    for (t->bytes_ahead += count * lines; t->bytes_ahead >= row_bytes; t->row_ahead++)
        t->bytes_ahead -= row_bytes;
    return ahead;
}

static void end_pass(tile *t) { t->pass++; }

/* The passes that end in means and inverses, and in the magnitude of ((x - mean) * weight) * inverse. */

/* What the norm is of, and its type: the input, or the sum with a residual, which waits in f32. */
static const void *normed(const tile *t, int64_t r, int64_t col) {
    const krn_fused_job *job = t->job;
    return job->residual.data != NULL ? (const void *)(t->y + col)
                                      : at(job->source, t->first + r, col, krn_element_bytes(job->type));
}

static int32_t normed_type(const krn_fused_job *job) { return job->residual.data != NULL ? KRN_TYPE_F32 : job->type; }

/* Of a tile of one row. */
static void add_pass(tile *t) {
    const krn_fused_job *job = t->job;
    job->kernels->add(job->type, at(job->source, t->first, 0, 1), at(job->residual, t->first, 0, 1), job->cols,
                      job->stream_sums, take_ahead(t, job->cols), at(job->sum, t->first, 0, 1), t->y);
    end_pass(t);
}

/* Lane l and the lane half as many further on, until one is left: in constant steps, because codes wait for it. Lanes 16
 * and 8 further on are a quarter further on where they are unpacked, and those of two fours are in order. */
static float sum_of(const krn_fused_job *job, krn_row_sums *sums) {
    enum { UNPACKED_16 = 32, UNPACKED_8 = 16 };
    krn_add_halves(sums->lanes, 32);
    if (job->unpacked_lanes == UNPACKED_16)
        krn_add_quarters(sums->lanes, 8);
    else
        krn_add_halves(sums->lanes, 16);
    if (job->unpacked_lanes >= UNPACKED_8)
        krn_add_quarters(sums->lanes, 4);
    else
        krn_add_halves(sums->lanes, 8);
    krn_add_halves(sums->lanes, 4);
    krn_add_halves(sums->lanes, 2);
    return sums->lanes[0] + sums->lanes[1];
}

static void total_pass(tile *t) {
    const krn_fused_job *job = t->job;
    for (int64_t r = 0; r < t->rows; r++) {
        t->sums[r] = (krn_row_sums){0};
        job->kernels->total(normed_type(job), normed(t, r, 0), job->cols, take_ahead(t, job->cols), &t->sums[r]);
        t->means[r] = sum_of(job, &t->sums[r]) / (float)job->cols;
    }
    end_pass(t);
}

static void squares_pass(tile *t) {
    const krn_fused_job *job = t->job;
    /* A norm whose squares are finite is one of finite elements, and what a weight makes infinite shows in the pass that
     * measures last, or behind a rotation. */
    const int is_measured = !(is_norm(job) && (job->is_direct ? is_measured_last(job) : job->rotate != NULL));
    for (int64_t r = 0; r < t->rows; r++)
        t->sums[r] = (krn_row_sums){0};
    for (int64_t col = 0; col < job->cols; col += job->chunk) {
        const int64_t count = krn_min(job->chunk, job->cols - col);
        for (int64_t r = 0; r < t->rows; r++)
            job->kernels->squares(normed_type(job), normed(t, r, col), is_measured ? job->weight + col : NULL, count,
                                  t->means[r], take_ahead(t, count), &t->sums[r]);
    }
    for (int64_t r = 0; is_norm(job) && r < t->rows; r++) {
        const float sum = sum_of(job, &t->sums[r]);
        t->inverses[r] = 1.0f / sqrtf(sum / (float)job->cols + job->eps);
        /* A row that lost itself in an infinite sum is not finite either. Rounding keeps the order of magnitudes, so
         * that the largest product is also the largest when it is scaled. */
        t->sums[r].magnitude = sum <= FLT_MAX ? t->sums[r].magnitude * t->inverses[r] : INFINITY;
    }
    end_pass(t);
}

static void measure_pass(tile *t) {
    const krn_fused_job *job = t->job;
    for (int64_t col = 0; col < job->cols; col += job->chunk) {
        const int64_t count = krn_min(job->chunk, job->cols - col);
        for (int64_t r = 0; r < t->rows; r++)
            job->kernels->measure(normed_type(job), normed(t, r, col), job->weight + col,
                                  job->bias == NULL ? NULL : job->bias + col, count, t->means[r], t->inverses[r],
                                  job->quantize.scheme.asymmetric, take_ahead(t, count), &t->sums[r]);
    }
    end_pass(t);
}

/* Whether only the magnitude behind a rotation counts: no norm is taken, and a row that was not finite before a
 * rotation is not finite behind it. */
static int is_measured_later(const krn_fused_job *job) { return job->op == KRN_FUSED_MULTIPLY && job->rotate != NULL; }

static void measure_tile(tile *t) {
    for (int64_t r = 0; r < t->rows; r++) {
        t->means[r] = 0;
        t->inverses[r] = 1;
    }
    if (t->job->residual.data != NULL)
        add_pass(t);
    if (t->job->op == KRN_FUSED_LAYERNORM)
        total_pass(t);
    if (is_measured_later(t->job)) {
        for (int64_t r = 0; r < t->rows; r++)
            t->sums[r].magnitude = 0;
        return;
    }
    squares_pass(t);
    if (t->job->is_direct && is_measured_last(t->job))
        measure_pass(t);
}

/* Codes. */

static float *scales_of(const krn_fused_job *job, int64_t row) {
    return job->scales + row * job->quantize.scales_per_row;
}

static int32_t *zero_points_of(const krn_fused_job *job, int64_t row) {
    return job->zero_points == NULL ? NULL : job->zero_points + row * job->quantize.scales_per_row;
}

/* Codes of the zero point, and scales that no GEMM takes for a result. */
static void write_bad_row(const krn_fused_job *job, int64_t row) {
    const krn_quantize_job *quantize = &job->quantize;
    int32_t *zero_points = zero_points_of(job, row);
    uint8_t *codes = at(job->codes, row, 0, 1);
    for (int64_t b = 0; !job->is_static && b < quantize->blocks_per_row; b++) {
        scales_of(job, row)[b] = NAN;
        if (zero_points != NULL)
            zero_points[b] = quantize->scheme.zero;
    }
    const int32_t zero = job->is_static && quantize->scheme.asymmetric ? zero_points[0] : quantize->scheme.zero;
    if (quantize->scheme.bits == 8) {
        memset(codes, zero & 0xFF, (size_t)quantize->cols);
        return;
    }
    memset(codes, (zero & 15) * 0x11, (size_t)(quantize->cols / 2));
    if (quantize->cols % 2 == 1)
        codes[quantize->cols / 2] = (uint8_t)(zero & 15);
}

/* The scales of a row of which this was measured. */
static void derive_measured(const krn_fused_job *job, int64_t row, const krn_row_sums *sums) {
    const krn_quantize_scheme *scheme = &job->quantize.scheme;
    if (!job->is_static)
        krn_quantize_derive(scheme, 1, &sums->lowest, scheme->asymmetric ? &sums->highest : &sums->magnitude,
                            scales_of(job, row), zero_points_of(job, row));
}

/* The scales of a row of this magnitude; `y` is read unless the magnitude is the scale. */
static void derive(const krn_fused_job *job, int64_t row, float magnitude, const float *y) {
    const krn_row_sums sums = {.magnitude = magnitude};
    if (job->is_static || (job->quantize.blocks_per_row == 1 && !job->quantize.scheme.asymmetric))
        derive_measured(job, row, &sums);
    else
        krn_quantize_derive_row(&job->quantize, y, scales_of(job, row), zero_points_of(job, row));
}

/* One per byte. */
static void encode_bytes(const tile *t, int64_t r, int64_t col, int64_t count, const krn_block_encoder *e,
                         int32_t stream, krn_ahead ahead, uint8_t *codes) {
    const krn_fused_job *job = t->job;
    job->kernels->encode(normed_type(job), normed(t, r, col), job->weight + col,
                         job->bias == NULL ? NULL : job->bias + col, count, t->means[r], t->inverses[r], e, stream,
                         ahead, codes);
}

static void encode_nibbles(const tile *t, int64_t r, int64_t col, int64_t count, const krn_block_encoder *e,
                           krn_ahead ahead, uint8_t *codes) {
    _Alignas(64) uint8_t bytes[KRN_FUSED_CHUNK];
    for (int64_t done = 0; done < count; done += KRN_FUSED_CHUNK) {
        const int64_t n = krn_min(KRN_FUSED_CHUNK, count - done);
        encode_bytes(t, r, col + done, n, e, 0, krn_ahead_from(ahead, done), bytes);
        t->job->quantize.kernels->pack_nibbles(bytes, n, codes + (col + done) / 2);
    }
}

/* Values are made a second time when the scale is known: that is faster than to store and load them. */
static void encode_chunk(tile *t, int64_t r, int64_t col, int64_t count) {
    const krn_fused_job *job = t->job;
    const krn_quantize_job *quantize = &job->quantize;
    const int64_t row = t->first + r;
    const int32_t *zero_points = zero_points_of(job, row);
    const krn_block_encoder e =
        krn_quantize_encoder(&quantize->scheme, *scales_of(job, row), zero_points == NULL ? 0 : *zero_points);
    uint8_t *codes = at(job->codes, row, 0, 1);
    const krn_ahead ahead = take_ahead(t, count);
    if (quantize->scheme.bits == 8)
        encode_bytes(t, r, col, count, &e, quantize->stream, ahead, codes + col);
    else
        encode_nibbles(t, r, col, count, &e, ahead, codes);
}

/* The first row that is not finite, or -1. */
static int64_t quantize_tile(tile *t) {
    const krn_fused_job *job = t->job;
    int64_t bad_row = -1;
    for (int64_t r = t->rows - 1; r >= 0; r--) {
        if (t->sums[r].magnitude <= FLT_MAX) {
            derive_measured(job, t->first + r, &t->sums[r]);
        } else {
            write_bad_row(job, t->first + r);
            bad_row = t->first + r;
        }
    }
    for (int64_t col = 0; col < job->cols; col += job->chunk) {
        const int64_t count = krn_min(job->chunk, job->cols - col);
        for (int64_t r = 0; r < t->rows; r++)
            if (t->sums[r].magnitude <= FLT_MAX)
                encode_chunk(t, r, col, count);
    }
    return bad_row;
}

/* Everything else: a whole row in f32. */

static void rotate(tile *t) {
    const krn_fused_job *job = t->job;
    const int at_once = is_rotated_at_once(job);
    const void *source = at_once ? (const void *)at(job->source, t->first, 0, 1) : t->y;
    job->rotate->row(&job->plan, at_once ? job->type : KRN_TYPE_F32, job->cols / job->plan.n, source,
                     take_ahead(t, job->cols), t->y);
    end_pass(t);
}

/* The row of a tile that was measured, unless it is a gate; its magnitude. */
static float make_row(tile *t) {
    const krn_fused_job *job = t->job;
    if (job->op == KRN_FUSED_GATE) {
        t->sums[0].magnitude = 0;
        job->kernels->gate(job->gate, job->type, at(job->source, t->first, 0, 1), at(job->up, t->first, 0, 1),
                           job->cols, take_ahead(t, job->cols), t->y, &t->sums[0]);
    } else if (!is_rotated_at_once(job)) {
        job->kernels->normalize(normed_type(job), normed(t, 0, 0), job->weight, job->bias, job->cols, t->means[0],
                                t->inverses[0], take_ahead(t, job->cols), t->y);
    }
    end_pass(t);
    float magnitude = t->sums[0].magnitude;
    if (job->rotate != NULL)
        rotate(t);
    /* A row that was not finite before a rotation is not finite behind it. */
    if (job->codes.data != NULL && magnitude <= FLT_MAX && (job->rotate != NULL || job->bias != NULL))
        job->quantize.kernels->magnitudes(KRN_TYPE_F32, t->y, job->cols, job->cols, &magnitude);
    return magnitude;
}

/* Whether the row is finite. */
static int quantize_row(tile *t) {
    const krn_fused_job *job = t->job;
    const float magnitude = make_row(t);
    if (!(magnitude <= FLT_MAX)) {
        write_bad_row(job, t->first);
        return 0;
    }
    derive(job, t->first, magnitude, t->y);
    const krn_memory_hints hints = {.ahead = take_ahead(t, job->cols), .stream = job->quantize.stream};
    krn_quantize_encode_row(&job->quantize, t->y, hints, scales_of(job, t->first), zero_points_of(job, t->first),
                            at(job->codes, t->first, 0, 1));
    return 1;
}

/* The first row that is not finite, or -1. */
static int64_t run_tile(tile *t) {
    const krn_fused_job *job = t->job;
    if (job->op != KRN_FUSED_GATE)
        measure_tile(t);
    if (job->is_direct)
        return quantize_tile(t);
    if (job->codes.data != NULL)
        return quantize_row(t) ? -1 : t->first;
    (void)make_row(t);
    job->kernels->narrow(job->target_type, t->y, job->cols, at(job->target, t->first, 0, 1));
    return -1;
}

static void run_piece(void *task_context, int64_t index) {
    const fused_pass *pass = task_context;
    const krn_fused_job *job = pass->job;
    tile t = {.job = job,
              .end = krn_first_row(job->rows, pass->pieces, index + 1),
              .lines = lines_of_passes(job),
              .y = job->scratch + index * job->padded_cols};
    int64_t bad_row = -1;
    for (t.first = krn_first_row(job->rows, pass->pieces, index); t.first < t.end; t.first += t.rows) {
        t.rows = krn_min(job->tile_rows, t.end - t.first);
        t.pass = t.row_ahead = t.bytes_ahead = 0;
        const int64_t bad = run_tile(&t);
        bad_row = bad_row < 0 ? bad : bad_row;
    }
    if ((job->codes.data != NULL && job->quantize.stream) || job->stream_sums)
        KRN_STREAM_FENCE();
    pass->bad_rows[index] = bad_row;
}

krn_status krn_fused_run(krn_fused_job *job) {
    int64_t bad_rows[KRN_QUANTIZE_MAX_PIECES];
    /* A weight vector that is wider than the first-level cache is loaded once for several rows, in chunks. Weights that
     * come from the second level while rows come from memory halve the speed of those (measured on Zen 5). */
    job->is_direct = job->codes.data != NULL && job->op != KRN_FUSED_GATE && job->rotate == NULL &&
                     job->quantize.blocks_per_row == 1 && job->quantize.scheme.codebook == NULL;
    const int is_wide = job->cols > KRN_FUSED_WIDE_COLS;
    const int64_t element_bytes = krn_element_bytes(job->type), row_bytes = job->cols * element_bytes;
    job->stream_sums = job->residual.data != NULL && 3 * job->rows * row_bytes > KRN_FUSED_STREAM_BYTES;
    const int64_t wide_rows =
        job->context->has_small_l1 ? KRN_FUSED_TILE_ROWS : KRN_FUSED_TILE_ROWS * 2 / element_bytes;
    job->tile_rows = !job->is_direct || job->residual.data != NULL ? 1
                     : is_wide                                     ? wide_rows
                               : krn_min(KRN_FUSED_TILE_BYTES / row_bytes + 1, KRN_FUSED_TILE_ROWS);
    job->chunk = is_wide && job->is_direct ? KRN_FUSED_WIDE_BYTES / element_bytes : job->cols;
    fused_pass pass = {
        .job = job,
        .pieces = krn_count_pieces(job->context, job->rows, job->cols),
        .bad_rows = bad_rows,
    };
    krn_context_run(job->context, pass.pieces, run_piece, &pass);
    for (int64_t i = 0; i < pass.pieces; i++)
        if (bad_rows[i] >= 0)
            return krn_fail(KRN_ERROR_NON_FINITE, "row %lld of the input holds NaN or infinity, or runs into them",
                            (long long)bad_rows[i]);
    return KRN_OK;
}
