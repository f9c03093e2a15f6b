/* The door of RoPE: checks, the choice of a variant, tokens shared out over threads. */
#include "kernels/rope.h"

#include "common/context.h"
#include "common/status.h"
#include "quantize/quantize_rows.h"
#include "rope/rope_rows.h"
#include "rope/rope_table.h"

#include <stddef.h>

#define ADDRESS(variant) &variant,
static const krn_rope_kernels *const variants[] = {KRN_ROPE_VARIANTS(ADDRESS)};
#undef ADDRESS

const krn_rope_kernels *krn_rope_kernels_of(const krn_context *context) {
    const krn_rope_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

const char *krn_rope_variant(const krn_context *context) {
    return context == NULL ? NULL : krn_rope_kernels_of(context)->name;
}

static krn_status check_range(const char *count_name, int64_t first_position, int64_t count) {
    if (count < 0)
        return krn_fail(KRN_ERROR_SHAPE, "%s is %lld, must not be negative", count_name, (long long)count);
    if (first_position < 0 || first_position > KRN_ROPE_MAX_POSITIONS)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "first_position is %lld, not in 0..%d", (long long)first_position,
                        KRN_ROPE_MAX_POSITIONS);
    if (count > KRN_ROPE_MAX_POSITIONS - first_position)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s is %lld, which from position %lld goes beyond %d", count_name,
                        (long long)count, (long long)first_position, KRN_ROPE_MAX_POSITIONS - 1);
    return KRN_OK;
}

/* A buffer that a call needs, of elements of `bytes` bytes. */
static krn_status check_buffer(const char *name, const void *buffer, int64_t bytes) {
    if (buffer == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    if ((uintptr_t)buffer % (uintptr_t)bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to its elements of %lld bytes", name, (long long)bytes);
    return KRN_OK;
}

krn_status krn_rope_table(const krn_rope_options *options, int64_t first_position, int64_t count, float *cos_sin) {
    krn_status status = krn_rope_check_options(options);
    if (status == KRN_OK)
        status = check_range("count", first_position, count);
    if (status == KRN_OK && count > 0)
        status = check_buffer("cos_sin", cos_sin, sizeof(float));
    if (status == KRN_OK)
        krn_rope_fill_table(options, krn_rope_rotary_dim(options), first_position, count, cos_sin);
    return status;
}

krn_status krn_rope_check_positions(int64_t tokens, const int32_t *positions, int64_t first_position,
                                    int64_t position_count) {
    for (int64_t t = 0; t < tokens; t++)
        if (positions[t] < first_position || positions[t] >= first_position + position_count)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                            "positions[%lld] is %d, and cos_sin has %lld positions from %lld", (long long)t,
                            positions[t], (long long)position_count, (long long)first_position);
    return KRN_OK;
}

/* One side of a call. */
typedef struct {
    const char *type_name, *name, *ld_name;
    int32_t type;
    const void *data;
    int64_t ld;
} matrix;

static krn_status check_matrix(const matrix *m, int64_t tokens, int64_t width) {
    if (m->type != KRN_TYPE_F32 && m->type != KRN_TYPE_F16 && m->type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s is %d, not one of KRN_TYPE_F32, _F16 and _BF16", m->type_name,
                        m->type);
    const int64_t bytes = krn_element_bytes(m->type);
    if (m->ld < width)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s is %lld, but a row takes %lld", m->ld_name, (long long)m->ld,
                        (long long)width);
    if (tokens > 0 && m->ld > INT64_MAX / bytes / tokens)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s is %lld, too large for %lld rows", m->ld_name,
                        (long long)m->ld, (long long)tokens);
    return tokens == 0 || width == 0 ? KRN_OK : check_buffer(m->name, m->data, bytes);
}

static krn_status check_shape(const krn_rope_options *options, int64_t tokens, int64_t heads) {
    if (tokens < 0)
        return krn_fail(KRN_ERROR_SHAPE, "tokens is %lld, must not be negative", (long long)tokens);
    if (heads < 0)
        return krn_fail(KRN_ERROR_SHAPE, "heads is %lld, must not be negative", (long long)heads);
    const int64_t most_elems = INT64_MAX / 8;
    if (heads > most_elems / options->head_dim || tokens > most_elems / (heads * options->head_dim + 1))
        return krn_fail(KRN_ERROR_SHAPE, "tokens x heads is %lld x %lld, which does not fit the address space",
                        (long long)tokens, (long long)heads);
    return KRN_OK;
}

static krn_status check_matrices(const matrix *source, const matrix *target, int64_t tokens, int64_t width) {
    krn_status status = check_matrix(source, tokens, width);
    if (status == KRN_OK)
        status = check_matrix(target, tokens, width);
    if (status != KRN_OK)
        return status;
    /* Of nothing the address says nothing. */
    if (tokens > 0 && width > 0 && source->data == target->data &&
        (source->type != target->type || source->ld != target->ld))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "target is source, but target_type and target_ld are not source_type and source_ld");
    return KRN_OK;
}

typedef struct {
    const krn_rope_kernels *kernels;
    krn_rope_heads shape;
    int64_t tokens, pieces;
    const int32_t *positions;
    const float *cos_sin;
    int64_t first_position;
    int32_t source_type, target_type;
    const unsigned char *source;
    unsigned char *target;
    int64_t source_ld_bytes, target_ld_bytes;
} rope_pass;

static void rotate_piece(void *task_context, int64_t index) {
    const rope_pass *pass = task_context;
    const int64_t end = krn_first_row(pass->tokens, pass->pieces, index + 1);
    for (int64_t t = krn_first_row(pass->tokens, pass->pieces, index); t < end; t++) {
        const int64_t row = pass->positions[t] - pass->first_position;
        pass->kernels->rotate(&pass->shape, pass->cos_sin + row * pass->shape.rotary_dim, pass->source_type,
                              pass->source + t * pass->source_ld_bytes, pass->target_type,
                              pass->target + t * pass->target_ld_bytes);
    }
}

krn_status krn_rope(krn_context *context, const krn_rope_options *options, int64_t tokens, int64_t heads,
                    int32_t source_type, const void *source, int64_t source_ld, const int32_t *positions,
                    const float *cos_sin, int64_t first_position, int64_t position_count, int32_t target_type,
                    void *target, int64_t target_ld) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_status status = krn_rope_check_options(options);
    if (status == KRN_OK)
        status = check_shape(options, tokens, heads);
    if (status != KRN_OK)
        return status;
    const int64_t width = heads * options->head_dim;
    const matrix from = {"source_type", "source", "source_ld", source_type, source, source_ld};
    const matrix to = {"target_type", "target", "target_ld", target_type, target, target_ld};
    status = check_matrices(&from, &to, tokens, width);
    if (status == KRN_OK)
        status = check_range("position_count", first_position, position_count);
    if (status == KRN_OK && tokens > 0)
        status = check_buffer("positions", positions, sizeof(int32_t));
    if (status == KRN_OK && tokens > 0)
        status = check_buffer("cos_sin", cos_sin, sizeof(float));
    if (status == KRN_OK)
        status = krn_rope_check_positions(tokens, positions, first_position, position_count);
    if (status != KRN_OK || tokens == 0 || heads == 0)
        return status;
    rope_pass pass = {
        .kernels = krn_rope_kernels_of(context),
        .shape = {options->layout, heads, options->head_dim, krn_rope_rotary_dim(options)},
        .tokens = tokens,
        .pieces = krn_count_pieces(context, tokens, width),
        .positions = positions,
        .cos_sin = cos_sin,
        .first_position = first_position,
        .source_type = source_type,
        .target_type = target_type,
        .source = source,
        .target = target,
        .source_ld_bytes = source_ld * krn_element_bytes(source_type),
        .target_ld_bytes = target_ld * krn_element_bytes(target_type),
    };
    krn_context_run(context, pass.pieces, rotate_piece, &pass);
    return KRN_OK;
}
