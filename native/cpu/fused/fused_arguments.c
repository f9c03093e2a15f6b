/* The checks of fused steps. Each sentence names the argument as kernels/fused.h does. */
#include "fused/fused_arguments.h"

#include "common/checks.h"

#include <float.h>
#include <string.h>

static int is_norm(const krn_fused_step *s) { return s->op == KRN_FUSED_RMSNORM || s->op == KRN_FUSED_LAYERNORM; }

int64_t krn_fused_workspace_bytes_of(const krn_context *context, int64_t cols) {
    const int64_t pieces =
        context->num_threads == 1
            ? 1
            : krn_min((int64_t)context->num_threads * KRN_QUANTIZE_PIECES_PER_THREAD, KRN_QUANTIZE_MAX_PIECES);
    return (2 + pieces) * krn_padded_cols(cols) * (int64_t)sizeof(float);
}

krn_status krn_fused_check_width(const krn_context *context, int64_t cols) {
    if (cols < 0)
        return krn_fail(KRN_ERROR_SHAPE, "cols is %lld, must not be negative", (long long)cols);
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (cols > INT64_MAX / 8 / (KRN_QUANTIZE_MAX_PIECES + 2))
        return krn_fail(KRN_ERROR_SHAPE, "cols is %lld, whose workspace does not fit the address space",
                        (long long)cols);
    return KRN_OK;
}

static krn_status check_struct(const char *name, const void *given, uint32_t known) {
    if (given == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    uint32_t size;
    memcpy(&size, given, sizeof size);
    if (size != known)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "%s->struct_size is %u, this library knows %u", name, size, known);
    return KRN_OK;
}

/* A field that the step has no use for. */
static krn_status check_unused(const char *name, int is_set) {
    return is_set ? krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s must be 0 or NULL: this step does not take it", name)
                  : KRN_OK;
}

#define RETURN_IF_FAILED(call)                                                                                         \
    do {                                                                                                               \
        const krn_status failed_ = (call);                                                                             \
        if (failed_ != KRN_OK)                                                                                         \
            return failed_;                                                                                            \
    } while (0)

static krn_status check_options(const krn_fused_step *s, const krn_fused_options *options, int64_t cols) {
    RETURN_IF_FAILED(check_struct("options", options, sizeof *options));
    RETURN_IF_FAILED(check_unused("options->reserved", options->reserved != 0));
    if (options->vector_type != 0 && !krn_is_float(options->vector_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->vector_type is %d, not 0, KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16",
                        options->vector_type);
    const int64_t vector_bytes = options->vector_type == 0 ? 4 : krn_element_bytes(options->vector_type);
    if (s->needs_weight || (is_norm(s) && options->weight != NULL))
        RETURN_IF_FAILED(krn_check_buffer("options->weight", options->weight, cols, vector_bytes));
    else
        RETURN_IF_FAILED(check_unused("options->weight", options->weight != NULL));
    if (is_norm(s)) {
        if (options->bias != NULL)
            RETURN_IF_FAILED(krn_check_buffer("options->bias", options->bias, cols, vector_bytes));
        if (!(options->eps > 0 && options->eps <= FLT_MAX))
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->eps is %g, must be positive and finite",
                            (double)options->eps);
    } else {
        RETURN_IF_FAILED(check_unused("options->bias", options->bias != NULL));
        RETURN_IF_FAILED(check_unused("options->eps", options->eps != 0));
    }
    if (s->op == KRN_FUSED_GATE &&
        (options->gate_layout < KRN_GATE_SEPARATE || options->gate_layout > KRN_GATE_INTERLEAVED))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->gate_layout is %d, which is not a krn_gate_layout",
                        options->gate_layout);
    if (s->op != KRN_FUSED_GATE)
        RETURN_IF_FAILED(check_unused("options->gate_layout", options->gate_layout != 0));
    if (!s->is_gelu)
        RETURN_IF_FAILED(check_unused("options->gelu_tanh", options->gelu_tanh != 0));
    else if (options->gelu_tanh != 0 && options->gelu_tanh != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->gelu_tanh is %d, neither 0 nor 1", options->gelu_tanh);
    if (!s->rotates)
        return check_unused("options->rotation", options->rotation != NULL);
    return options->rotation == NULL ? krn_fail(KRN_ERROR_NULL_ARGUMENT, "options->rotation is NULL") : KRN_OK;
}

static krn_status check_matrix(const char *name, const char *ld_name, const void *data, int64_t ld, int64_t rows,
                               int64_t width, int64_t bytes) {
    RETURN_IF_FAILED(krn_check_buffer(name, data, rows * width, bytes));
    return krn_check_ld(ld_name, ld, rows, width, bytes);
}

static krn_status check_input(const krn_fused_step *s, const krn_fused_arguments *a) {
    const krn_fused_input *in = a->input;
    RETURN_IF_FAILED(check_struct("input", in, sizeof *in));
    if (!krn_is_float(in->type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "input->type is %d, not one of KRN_TYPE_F32, _F16 and _BF16",
                        in->type);
    const int64_t bytes = krn_element_bytes(in->type);
    const int is_gate = s->op == KRN_FUSED_GATE, is_separate = a->options->gate_layout == KRN_GATE_SEPARATE;
    RETURN_IF_FAILED(check_matrix("input->source", "input->source_ld", in->source, in->source_ld, a->rows,
                                  is_gate && !is_separate ? 2 * a->cols : a->cols, bytes));
    if (is_gate && is_separate) {
        RETURN_IF_FAILED(check_matrix("input->up", "input->up_ld", in->up, in->up_ld, a->rows, a->cols, bytes));
    } else {
        RETURN_IF_FAILED(check_unused("input->up", in->up != NULL));
        RETURN_IF_FAILED(check_unused("input->up_ld", in->up_ld != 0));
    }
    if (!is_norm(s) || in->residual == NULL) {
        RETURN_IF_FAILED(check_unused("input->residual", in->residual != NULL));
        RETURN_IF_FAILED(check_unused("input->residual_ld", in->residual_ld != 0));
        RETURN_IF_FAILED(check_unused("input->sum", in->sum != NULL));
        return check_unused("input->sum_ld", in->sum_ld != 0);
    }
    RETURN_IF_FAILED(
        check_matrix("input->residual", "input->residual_ld", in->residual, in->residual_ld, a->rows, a->cols, bytes));
    RETURN_IF_FAILED(check_matrix("input->sum", "input->sum_ld", in->sum, in->sum_ld, a->rows, a->cols, bytes));
    if ((in->sum == in->source && in->sum_ld != in->source_ld) ||
        (in->sum == in->residual && in->sum_ld != in->residual_ld))
        return krn_fail(KRN_ERROR_LEADING_DIMENSION,
                        "input->sum_ld is %lld, not that of the matrix that sum overwrites", (long long)in->sum_ld);
    return KRN_OK;
}

static krn_status check_static_scale(const krn_fused_codes *codes) {
    const krn_quantize_options *options = codes->options;
    if (codes->static_scale == 0) {
        RETURN_IF_FAILED(check_unused("codes->static_zero_point", codes->static_zero_point != 0));
        if (options->granularity == KRN_GRANULARITY_TENSOR)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                            "codes->options->granularity is KRN_GRANULARITY_TENSOR, which takes a static_scale");
        return KRN_OK;
    }
    if (!(codes->static_scale >= FLT_MIN && codes->static_scale <= FLT_MAX))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "codes->static_scale is %g, neither 0 nor at least 2^-126 and finite",
                        (double)codes->static_scale);
    const krn_quantize_scheme scheme = krn_quantize_scheme_of(options);
    if (!options->asymmetric)
        return check_unused("codes->static_zero_point", codes->static_zero_point != 0);
    if (codes->static_zero_point < scheme.q_min || codes->static_zero_point > scheme.q_max)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "codes->static_zero_point is %d, not in %d..%d",
                        codes->static_zero_point, scheme.q_min, scheme.q_max);
    return KRN_OK;
}

krn_status krn_fused_check_codes(const krn_fused_arguments *a, const krn_fused_codes *codes) {
    RETURN_IF_FAILED(check_struct("codes", codes, sizeof *codes));
    RETURN_IF_FAILED(check_unused("codes->reserved", codes->reserved != 0));
    RETURN_IF_FAILED(krn_quantize_check_options(codes->options));
    RETURN_IF_FAILED(krn_quantize_check_codes(codes->options, a->rows, a->cols, codes->codes, codes->codes_ld_bytes,
                                              codes->scales, codes->zero_points));
    return check_static_scale(codes);
}

static krn_status check_workspace(const krn_fused_arguments *a) {
    const int64_t needed = krn_fused_workspace_bytes_of(a->context, a->cols);
    if (a->rows == 0 || needed == 0)
        return KRN_OK;
    if (a->workspace == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "workspace is NULL");
    if ((uintptr_t)a->workspace % 64 != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "workspace is not aligned to 64 bytes");
    if (a->workspace_bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes is %lld, the call needs %lld",
                        (long long)a->workspace_bytes, (long long)needed);
    return KRN_OK;
}

krn_status krn_fused_check_matrices(const krn_fused_step *s, const krn_fused_arguments *a) {
    RETURN_IF_FAILED(krn_check_shape(a->rows, a->cols));
    if (a->rows > INT64_MAX / 16 / (a->cols + 1))
        return krn_fail(KRN_ERROR_SHAPE, "rows x cols is %lld x %lld, which does not fit the address space",
                        (long long)a->rows, (long long)a->cols);
    RETURN_IF_FAILED(check_options(s, a->options, a->cols));
    return check_input(s, a);
}

krn_status krn_fused_check(const krn_fused_step *s, const krn_fused_arguments *a) {
    RETURN_IF_FAILED(krn_fused_check_width(a->context, a->cols));
    RETURN_IF_FAILED(krn_fused_check_matrices(s, a));
    return check_workspace(a);
}

krn_status krn_fused_check_target(const krn_fused_arguments *a, int32_t target_type, const void *target,
                                  int64_t target_ld) {
    if (!krn_is_float(target_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "target_type is %d, not one of KRN_TYPE_F32, _F16 and _BF16",
                        target_type);
    return check_matrix("target", "target_ld", target, target_ld, a->rows, a->cols, krn_element_bytes(target_type));
}
