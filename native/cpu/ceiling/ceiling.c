#include "ceiling/ceiling_variants.h"

#include "common/context.h"
#include "common/cpu_features.h"
#include "common/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { BUFFER_GRANULE = 4096, BUFFER_ALIGNMENT = 64 };

#define VARIANT_ENTRY(variant) &variant,
static const krn_ceiling_variant_loops *const variants[] = {KRN_CEILING_VARIANTS(VARIANT_ENTRY)};
#undef VARIANT_ENTRY

/* One of `turns` and `passes` is set, or neither when there is no loop. */
typedef struct {
    const char *name;
    krn_ceiling_turns *turns;
    krn_ceiling_passes *passes;
} ceiling_loop;

static ceiling_loop loop_of(const krn_ceiling_variant_loops *variant, int32_t ceiling) {
    ceiling_loop loop = {.name = variant->name};
    switch ((enum krn_ceiling)ceiling) {
    case KRN_CEILING_INT8_DOT: loop.turns = variant->int8_dot; break;
    case KRN_CEILING_INT16_MADD: loop.turns = variant->int16_madd; break;
    case KRN_CEILING_BF16_DOT: loop.turns = variant->bf16_dot; break;
    case KRN_CEILING_F32_FMA: loop.turns = variant->f32_fma; break;
    case KRN_CEILING_READ: loop.passes = variant->read; break;
    case KRN_CEILING_COPY: loop.passes = variant->copy; break;
    case KRN_CEILING_NARROW: loop.passes = variant->narrow; break;
    }
    return loop;
}

static ceiling_loop find_loop(const krn_context *context, int32_t ceiling) {
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        if ((krn_isa_features(variants[i]->isa) & ~context->features) != 0)
            continue;
        const ceiling_loop loop = loop_of(variants[i], ceiling);
        if (loop.turns != NULL || loop.passes != NULL)
            return loop;
    }
    return (ceiling_loop){.name = NULL};
}

static bool is_ceiling(int32_t ceiling) {
    return (ceiling >= KRN_CEILING_INT8_DOT && ceiling <= KRN_CEILING_F32_FMA) ||
           (ceiling >= KRN_CEILING_READ && ceiling <= KRN_CEILING_NARROW);
}

static krn_status check_buffer(const void *buffer, int64_t buffer_bytes) {
    if (buffer == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "buffer is NULL");
    if (buffer_bytes <= 0 || buffer_bytes % BUFFER_GRANULE != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "buffer_bytes is %lld, not a positive multiple of %d",
                        (long long)buffer_bytes, BUFFER_GRANULE);
    if ((uintptr_t)buffer % BUFFER_ALIGNMENT != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "buffer is not aligned to %d bytes", BUFFER_ALIGNMENT);
    return KRN_OK;
}

const char *krn_ceiling_variant(const krn_context *context, int32_t ceiling) {
    return context == NULL ? NULL : find_loop(context, ceiling).name;
}

krn_status krn_ceiling_run(const krn_context *context, int32_t ceiling, void *buffer, int64_t buffer_bytes,
                           int64_t iterations, double *work) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (work == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "work is NULL");
    if (!is_ceiling(ceiling))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "ceiling is %d, which is not a krn_ceiling", ceiling);
    if (iterations < 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "iterations is %lld, must be at least 1", (long long)iterations);
    const ceiling_loop loop = find_loop(context, ceiling);
    if (loop.name == NULL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "ceiling %d has no instruction in a context of %s", ceiling,
                        krn_isa_name(context->isa));
    if (loop.turns != NULL) {
        *work = (double)loop.turns(iterations) * (double)iterations;
        return KRN_OK;
    }
    const krn_status status = check_buffer(buffer, buffer_bytes);
    if (status != KRN_OK)
        return status;
    loop.passes(buffer, buffer_bytes, iterations);
    const int64_t moved = ceiling == KRN_CEILING_NARROW
                              ? krn_ceiling_lines_written(buffer_bytes) * KRN_CEILING_LINES_MOVED * KRN_CEILING_LINE
                              : buffer_bytes;
    *work = (double)moved * (double)iterations;
    return KRN_OK;
}
