/* The checks of options, which doors of devices make, too. */
#include "common/status.h"
#include "rope/rope_rows.h"

#include <math.h>
#include <stddef.h>

enum { MAX_HEAD_DIM = 65536 };
static const double MAX_FACTOR = 1 << 30;

static krn_status fail_factor(const char *name, double value) {
    return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->%s is %g, outside its range", name, value);
}

/* Comparisons are written so that NaN fails. */
static krn_status check_scaling(const krn_rope_options *options) {
    if (options->scaling < KRN_ROPE_SCALING_NONE || options->scaling > KRN_ROPE_SCALING_LLAMA3)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->scaling is %d, which is not a krn_rope_scaling",
                        options->scaling);
    if (options->scaling == KRN_ROPE_SCALING_NONE)
        return KRN_OK;
    if (!(options->factor >= 1 && options->factor <= MAX_FACTOR))
        return fail_factor("factor", options->factor);
    if (options->scaling == KRN_ROPE_SCALING_LINEAR)
        return KRN_OK;
    if (!(options->low_freq_factor > 0 && options->low_freq_factor <= MAX_FACTOR))
        return fail_factor("low_freq_factor", options->low_freq_factor);
    if (!(options->high_freq_factor > options->low_freq_factor && options->high_freq_factor <= MAX_FACTOR))
        return fail_factor("high_freq_factor", options->high_freq_factor);
    if (options->original_context < 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->original_context is %lld, must be at least 1",
                        (long long)options->original_context);
    return KRN_OK;
}

krn_status krn_rope_check_options(const krn_rope_options *options) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof(krn_rope_options))
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof(krn_rope_options));
    if (options->layout != KRN_ROPE_HALF && options->layout != KRN_ROPE_INTERLEAVED)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->layout is %d, which is not a krn_rope_layout",
                        options->layout);
    if (options->head_dim < 1 || options->head_dim > MAX_HEAD_DIM)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->head_dim is %lld, not in 1..%d",
                        (long long)options->head_dim, MAX_HEAD_DIM);
    const int64_t rotary_dim = krn_rope_rotary_dim(options);
    if (rotary_dim < 2 || rotary_dim > options->head_dim || rotary_dim % 2 != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->rotary_dim is %lld, must be even and at most options->head_dim, %lld",
                        (long long)rotary_dim, (long long)options->head_dim);
    if (options->theta_base != 0 && !(options->theta_base >= 1 && isfinite(options->theta_base)))
        return fail_factor("theta_base", options->theta_base);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
    return check_scaling(options);
}

int64_t krn_rope_rotary_dim(const krn_rope_options *options) {
    return options->rotary_dim == 0 ? options->head_dim : options->rotary_dim;
}
