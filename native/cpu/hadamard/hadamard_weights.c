/* Rotation of weights, tile by tile: what one block of rows and one block of columns have in common. */
#include "common/context.h"
#include "common/convert.h"
#include "common/status.h"
#include "hadamard/hadamard_checks.h"
#include "hadamard/hadamard_f64.h"
#include "hadamard/hadamard_variants.h"
#include "quantize/quantize_rows.h"

#include <math.h>
#include <stddef.h>

enum {
    /* Rows or columns of a tile where nothing transforms across them. */
    LOOSE = 64,
    /* Columns that are brought behind each other at a time: a line of floats. */
    COLUMNS = 16,
};

/* One side of the weights; `used` is 0 for NULL options. */
typedef struct {
    int used;
    krn_hadamard_plan plan;
    double scale;
} side;

typedef struct {
    const krn_hadamard_kernels *kernels;
    side input, output;
    int is_f64;
    int32_t type;
    const void *source;
    void *target;
    int64_t source_ld, target_ld;
    /* The tile: where it begins and its size. Its numbers, row after row, and those of COLUMNS columns, one behind the
     * other, for every group of them, are floats or doubles. */
    int64_t first_row, first_col, rows, cols;
    void *tile;
    void *columns;
} weights_job;

static krn_status make_side(const krn_hadamard_options *options, side *made) {
    *made = (side){.used = options != NULL};
    if (options == NULL)
        return KRN_OK;
    const krn_status status = krn_hadamard_make_plan(options, &made->plan);
    made->scale = status == KRN_OK && options->normalized ? 1 / sqrt((double)options->n) : 1;
    return status;
}

/* The numbers from `first` on. */
static void transform(const weights_job *job, const side *s, void *numbers, int64_t first) {
    if (job->is_f64)
        krn_hadamard_row_f64(&s->plan, s->scale, (double *)numbers + first);
    else
        job->kernels->row(&s->plan, KRN_TYPE_F32, 1, (float *)numbers + first, (krn_ahead){0},
                          (float *)numbers + first);
}

static void read_row(void *task_context, int64_t row) {
    const weights_job *job = task_context;
    const int64_t from = (job->first_row + row) * job->source_ld + job->first_col, to = row * job->cols;
    for (int64_t i = 0; i < job->cols; i++) {
        const float value = krn_float_at(job->type, job->source, from + i);
        if (job->is_f64)
            ((double *)job->tile)[to + i] = (double)value;
        else
            ((float *)job->tile)[to + i] = value;
    }
    if (job->input.used)
        transform(job, &job->input, job->tile, to);
}

/* To binary32 with a last bit of 1 where anything was lost: rounding that to 8 or 11 bits then rounds as if from
 * `value`. */
static float round_to_odd(double value) {
    const float nearest = (float)value;
    if ((double)nearest == value || isnan(value))
        return nearest;
    const uint32_t bits = krn_f32_bits(nearest) - (fabs((double)nearest) > fabs(value) ? 1 : 0);
    return krn_f32_from_bits(bits | 1);
}

static void write_number(const weights_job *job, int64_t row, int64_t col, const void *numbers, int64_t index) {
    const int64_t to = (job->first_row + row) * job->target_ld + job->first_col + col;
    if (!job->is_f64)
        krn_put_float(job->type, job->target, to, ((const float *)numbers)[index]);
    else if (job->type == KRN_TYPE_F32)
        ((float *)job->target)[to] = (float)((const double *)numbers)[index];
    else
        krn_put_float(job->type, job->target, to, round_to_odd(((const double *)numbers)[index]));
}

static void write_row(void *task_context, int64_t row) {
    const weights_job *job = task_context;
    for (int64_t i = 0; i < job->cols; i++)
        write_number(job, row, i, job->tile, row * job->cols + i);
}

static void turn_columns(void *task_context, int64_t group) {
    const weights_job *job = task_context;
    const int64_t first_col = group * COLUMNS, first = first_col * job->rows;
    const int64_t count = krn_min(COLUMNS, job->cols - first_col);
    for (int64_t row = 0; row < job->rows; row++) {
        for (int64_t c = 0; c < count; c++) {
            const int64_t from = row * job->cols + first_col + c, to = first + c * job->rows + row;
            if (job->is_f64)
                ((double *)job->columns)[to] = ((const double *)job->tile)[from];
            else
                ((float *)job->columns)[to] = ((const float *)job->tile)[from];
        }
    }
    for (int64_t c = 0; c < count; c++)
        transform(job, &job->output, job->columns, first + c * job->rows);
    for (int64_t row = 0; row < job->rows; row++)
        for (int64_t c = 0; c < count; c++)
            write_number(job, row, first_col + c, job->columns, first + c * job->rows + row);
}

static krn_status run(krn_context *context, weights_job *job, int64_t n, int64_t k) {
    const int64_t tile_rows = job->output.used ? job->output.plan.n : LOOSE;
    const int64_t tile_cols = job->input.used ? job->input.plan.n : LOOSE;
    const int64_t bytes = tile_rows * tile_cols * (job->is_f64 ? 8 : 4);
    krn_status status = krn_memory_allocate(bytes, &job->tile);
    if (status == KRN_OK && job->output.used)
        status = krn_memory_allocate(bytes, &job->columns);
    for (job->first_row = 0; status == KRN_OK && job->first_row < n; job->first_row += tile_rows) {
        job->rows = krn_min(tile_rows, n - job->first_row);
        for (job->first_col = 0; job->first_col < k; job->first_col += tile_cols) {
            job->cols = krn_min(tile_cols, k - job->first_col);
            krn_context_run(context, job->rows, read_row, job);
            if (job->output.used)
                krn_context_run(context, (job->cols + COLUMNS - 1) / COLUMNS, turn_columns, job);
            else
                krn_context_run(context, job->rows, write_row, job);
        }
    }
    krn_memory_free(job->tile);
    krn_memory_free(job->columns);
    return status;
}

krn_status krn_hadamard_weights(krn_context *context, const krn_hadamard_options *input,
                                const krn_hadamard_options *output, int32_t use_float64, int64_t n, int64_t k,
                                int32_t type, const void *weights, int64_t weights_ld, void *target,
                                int64_t target_ld) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (input == NULL && output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "input and output are both NULL");
    if (use_float64 != 0 && use_float64 != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "use_float64 is %d, neither 0 nor 1", use_float64);
    weights_job job = {
        .kernels = krn_hadamard_kernels_of(context),
        .is_f64 = use_float64,
        .type = type,
        .source = weights,
        .target = target,
        .source_ld = weights_ld,
        .target_ld = target_ld,
    };
    krn_status status = make_side(input, &job.input);
    if (status == KRN_OK)
        status = make_side(output, &job.output);
    if (status == KRN_OK)
        status = krn_hadamard_check_size("n", n, "output->n", output == NULL ? 1 : output->n);
    if (status == KRN_OK)
        status = krn_hadamard_check_size("k", k, "input->n", input == NULL ? 1 : input->n);
    if (status == KRN_OK)
        status = krn_hadamard_check_shape(n, k);
    if (status == KRN_OK)
        status = krn_hadamard_check_tensor("weights", weights, type, n, k, weights_ld);
    if (status == KRN_OK)
        status = krn_hadamard_check_tensor("target", target, type, n, k, target_ld);
    if (status == KRN_OK && weights == target && weights_ld != target_ld && n * k > 0)
        status = krn_fail(KRN_ERROR_LEADING_DIMENSION, "target_ld is %lld, but target is weights, whose is %lld",
                          (long long)target_ld, (long long)weights_ld);
    return status != KRN_OK || n * k == 0 ? status : run(context, &job, n, k);
}
