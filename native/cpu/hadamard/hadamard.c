/* The door of the Hadamard transform: checks, the choice of a variant, and blocks spread over threads. */
#include "kernels/hadamard.h"

#include "common/context.h"
#include "common/status.h"
#include "hadamard/hadamard_checks.h"
#include "hadamard/hadamard_variants.h"
#include "quantize/quantize_rows.h"

#include <stddef.h>

#define ADDRESS(variant) &variant,
static const krn_hadamard_kernels *const variants[] = {KRN_HADAMARD_VARIANTS(ADDRESS)};
#undef ADDRESS

const krn_hadamard_kernels *krn_hadamard_kernels_of(const krn_context *context) {
    const krn_hadamard_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

const char *krn_hadamard_variant(const krn_context *context) {
    return context == NULL ? NULL : krn_hadamard_kernels_of(context)->name;
}

enum {
    /* So much of source and target together, half of a third-level cache of 32 MiB, mostly comes from memory and goes
     * there: a target written past the caches then saves reading the lines that it fills. */
    STREAM_BYTES = 16 << 20,
    /* Blocks of less than that together are in the second-level cache, from which a prefetch gains nothing. */
    AHEAD_BYTES = 1 << 20,
    /* What the lines of a workspace are aligned to. */
    LINE_BYTES = 64,
};

/* What the tasks of a call share. */
typedef struct {
    const krn_hadamard_kernels *kernels;
    krn_hadamard_plan plan;
    krn_hadamard_hints hints;
    int32_t type;
    int64_t rows, blocks_per_row;
    const unsigned char *source;
    unsigned char *target;
    int64_t source_ld_bytes, target_ld_bytes;
    unsigned char *scratch;
    int64_t scratch_bytes;
    int64_t pieces;
} hadamard_job;

/* A row of floats on the way for every piece. */
static int64_t bytes_of_scratch(int64_t n) { return (n * 4 + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES; }

/* As many as any number of rows is cut into. */
static int64_t most_pieces(const krn_context *context, int64_t n) {
    return krn_count_pieces(context, INT64_MAX / n, n);
}

static void run_piece(void *task_context, int64_t index) {
    const hadamard_job *job = task_context;
    const int64_t blocks = job->rows * job->blocks_per_row;
    const int64_t block_bytes = job->plan.n * krn_element_bytes(job->type);
    const int64_t end = krn_first_row(blocks, job->pieces, index + 1);
    int64_t block = krn_first_row(blocks, job->pieces, index);
    while (block < end) {
        const int64_t row = block / job->blocks_per_row, first = block % job->blocks_per_row;
        const int64_t count = krn_min(job->blocks_per_row - first, end - block);
        block += count;
        krn_hadamard_hints hints = job->hints;
        if (block == end && count == 1)
            hints.ahead_bytes = 0;
        job->kernels->run(&job->plan, job->type, count, job->source + row * job->source_ld_bytes + first * block_bytes,
                          job->target + row * job->target_ld_bytes + first * block_bytes,
                          (float *)(void *)(job->scratch + index * job->scratch_bytes), hints);
    }
    if (job->hints.stream)
        KRN_STREAM_FENCE();
}

krn_status krn_hadamard_workspace_size(const krn_context *context, const krn_hadamard_options *options,
                                       int64_t *bytes) {
    krn_hadamard_plan plan;
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    const krn_status status = krn_hadamard_make_plan(options, &plan);
    if (status != KRN_OK)
        return status;
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    *bytes = most_pieces(context, plan.n) * bytes_of_scratch(plan.n);
    return KRN_OK;
}

krn_status krn_hadamard_check_size(const char *name, int64_t size, const char *multiple_of, int64_t n) {
    if (size < 0 || size % n != 0)
        return krn_fail(KRN_ERROR_SHAPE, "%s is %lld, not a multiple of %s, %lld", name, (long long)size, multiple_of,
                        (long long)n);
    return KRN_OK;
}

krn_status krn_hadamard_check_shape(int64_t rows, int64_t cols) {
    const int64_t most_elems = INT64_MAX / 8;
    if (rows > most_elems || cols > most_elems || (cols > 0 && rows > most_elems / cols))
        return krn_fail(KRN_ERROR_SHAPE, "%lld rows of %lld do not fit the address space", (long long)rows,
                        (long long)cols);
    return KRN_OK;
}

krn_status krn_hadamard_check_tensor(const char *name, const void *tensor, int32_t type, int64_t rows, int64_t cols,
                                     int64_t ld) {
    if (type != KRN_TYPE_F32 && type != KRN_TYPE_F16 && type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "type is %d, not one of KRN_TYPE_F32, _F16 and _BF16", type);
    const int64_t bytes = krn_element_bytes(type);
    if (rows * cols > 0 && tensor == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    if (rows * cols > 0 && (uintptr_t)tensor % (uintptr_t)bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to its elements of %lld bytes", name, (long long)bytes);
    if (ld < cols)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s_ld is %lld, but a row takes %lld", name, (long long)ld,
                        (long long)cols);
    if (rows > 0 && ld > INT64_MAX / bytes / rows)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s_ld is %lld, too large for %lld rows", name, (long long)ld,
                        (long long)rows);
    return KRN_OK;
}

static krn_status check_workspace(const void *workspace, int64_t workspace_bytes, int64_t needed) {
    if (workspace == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "workspace is NULL");
    if ((uintptr_t)workspace % LINE_BYTES != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "workspace is not aligned to %d bytes", LINE_BYTES);
    if (workspace_bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes is %lld, the call needs %lld",
                        (long long)workspace_bytes, (long long)needed);
    return KRN_OK;
}

krn_status krn_hadamard(krn_context *context, const krn_hadamard_options *options, int64_t rows, int64_t cols,
                        int32_t type, const void *source, int64_t source_ld, void *target, int64_t target_ld,
                        void *workspace, int64_t workspace_bytes) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    hadamard_job job = {.type = type, .rows = rows, .source = source, .target = target, .scratch = workspace};
    krn_status status = krn_hadamard_make_plan(options, &job.plan);
    if (status == KRN_OK && rows < 0)
        status = krn_fail(KRN_ERROR_SHAPE, "rows is %lld, must not be negative", (long long)rows);
    if (status == KRN_OK)
        status = krn_hadamard_check_size("cols", cols, "options->n", job.plan.n);
    if (status == KRN_OK)
        status = krn_hadamard_check_shape(rows, cols);
    if (status == KRN_OK)
        status = krn_hadamard_check_tensor("source", source, type, rows, cols, source_ld);
    if (status == KRN_OK)
        status = krn_hadamard_check_tensor("target", target, type, rows, cols, target_ld);
    if (status == KRN_OK && source == target && source_ld != target_ld && rows * cols > 0)
        status = krn_fail(KRN_ERROR_LEADING_DIMENSION, "target_ld is %lld, but target is source, whose is %lld",
                          (long long)target_ld, (long long)source_ld);
    job.scratch_bytes = bytes_of_scratch(job.plan.n);
    if (status == KRN_OK)
        status = check_workspace(workspace, workspace_bytes, most_pieces(context, job.plan.n) * job.scratch_bytes);
    if (status != KRN_OK || rows * cols == 0)
        return status;
    const int64_t element_bytes = krn_element_bytes(type), bytes = rows * cols * element_bytes;
    job.kernels = krn_hadamard_kernels_of(context);
    job.blocks_per_row = cols / job.plan.n;
    /* Rows behind each other are one row. */
    if (source_ld == cols && target_ld == cols) {
        job.blocks_per_row *= rows;
        job.rows = 1;
    }
    job.source_ld_bytes = source_ld * element_bytes;
    job.target_ld_bytes = target_ld * element_bytes;
    job.hints.stream = source != target && 2 * bytes >= STREAM_BYTES;
    job.hints.is_outer = context->has_small_l1;
    if (bytes > AHEAD_BYTES)
        job.hints.ahead_bytes = job.blocks_per_row == 1 ? job.source_ld_bytes : job.plan.n * element_bytes;
    job.pieces = krn_count_pieces(context, job.rows * job.blocks_per_row, job.plan.n);
    krn_context_run(context, job.pieces, run_piece, &job);
    return KRN_OK;
}
