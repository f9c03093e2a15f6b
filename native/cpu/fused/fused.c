/* The door of the fused steps: checks, the choice of variants, vectors widened, and nothing else. */
#include "kernels/fused.h"

#include "common/context.h"
#include "common/convert.h"
#include "common/status.h"
#include "fused/fused_arguments.h"

#define ADDRESS(variant) &variant,
static const krn_fused_kernels *const variants[] = {KRN_FUSED_VARIANTS(ADDRESS)};
#undef ADDRESS

static const krn_fused_kernels *kernels_of(const krn_context *context) {
    const krn_fused_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

const char *krn_fused_variant(const krn_context *context) { return context == NULL ? NULL : kernels_of(context)->name; }

static const krn_fused_step RMSNORM = {.op = KRN_FUSED_RMSNORM};
static const krn_fused_step LAYERNORM = {.op = KRN_FUSED_LAYERNORM};
static const krn_fused_step SILU_MUL = {.op = KRN_FUSED_GATE};
static const krn_fused_step GELU_MUL = {.op = KRN_FUSED_GATE, .is_gelu = 1};
static const krn_fused_step MULTIPLY = {.op = KRN_FUSED_MULTIPLY, .needs_weight = 1};
static const krn_fused_step HADAMARD = {.op = KRN_FUSED_MULTIPLY, .rotates = 1};
static const krn_fused_step RMSNORM_HADAMARD = {.op = KRN_FUSED_RMSNORM, .rotates = 1};
static const krn_fused_step SILU_MUL_HADAMARD = {.op = KRN_FUSED_GATE, .rotates = 1};

krn_status krn_fused_workspace_size(const krn_context *context, int64_t cols, int64_t *bytes) {
    const krn_status status = krn_fused_check_width(context, cols);
    if (status != KRN_OK)
        return status;
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    *bytes = krn_fused_workspace_bytes_of(context, cols);
    return KRN_OK;
}

/* A vector in f32, padded and in the order that kernels want: its own memory where that will do, else `space`. */
static const float *widen_vector(const krn_fused_options *options, const void *vector, int64_t cols,
                                 int32_t unpacked_lanes, float *space) {
    const int32_t type = options->vector_type == 0 ? KRN_TYPE_F32 : options->vector_type;
    const int64_t padded = krn_padded_cols(cols);
    if (vector != NULL && type == KRN_TYPE_F32 && padded == cols && unpacked_lanes == 0)
        return vector;
    if (vector != NULL)
        krn_widen(space, type, vector, 0, cols);
    for (int64_t i = vector == NULL ? 0 : cols; i < padded; i++)
        space[i] = vector == NULL ? 1.0f : 0.0f;
    for (int64_t i = 0; unpacked_lanes > 0 && i < padded; i += unpacked_lanes)
        krn_unpack(unpacked_lanes, space + i);
    return space;
}

static krn_row_matrix matrix_of(const krn_fused_input *in, const void *data, int64_t ld) {
    return (krn_row_matrix){.data = (unsigned char *)(uintptr_t)data, .ld_bytes = ld * krn_element_bytes(in->type)};
}

/* Of checked arguments. */
static krn_fused_job job_of(const krn_fused_step *s, const krn_fused_arguments *a) {
    const krn_fused_options *options = a->options;
    const krn_fused_input *in = a->input;
    krn_fused_job job = {
        .context = a->context,
        .kernels = kernels_of(a->context),
        .op = s->op,
        .gate = !s->is_gelu          ? KRN_GATE_SILU
                : options->gelu_tanh ? KRN_GATE_GELU_TANH
                                     : KRN_GATE_GELU,
        .rows = a->rows,
        .cols = a->cols,
        .type = in->type,
        .source = matrix_of(in, in->source, in->source_ld),
        .up = matrix_of(in, in->up, in->up_ld),
        .residual = matrix_of(in, in->residual, in->residual_ld),
        .sum = matrix_of(in, in->sum, in->sum_ld),
        .eps = options->eps,
        .padded_cols = krn_padded_cols(a->cols),
    };
    if (options->gate_layout == KRN_GATE_HALVES) {
        job.up = job.source;
        job.up.data += a->cols * krn_element_bytes(in->type);
    }
    float *space = a->workspace;
    job.is_weighted = options->weight != NULL;
    /* Sums with a residual wait in f32. */
    if (in->type == KRN_TYPE_BF16 && in->residual == NULL)
        job.unpacked_lanes = job.kernels->unpacked_lanes;
    if (s->op != KRN_FUSED_GATE)
        job.weight = widen_vector(options, options->weight, a->cols, job.unpacked_lanes, space);
    if (options->bias != NULL)
        job.bias = widen_vector(options, options->bias, a->cols, job.unpacked_lanes, space + job.padded_cols);
    job.scratch = space + 2 * job.padded_cols;
    return job;
}

static void fill_scales(const krn_fused_codes *codes, int64_t rows, int64_t cols, float scale, int32_t zero_point) {
    int64_t count = 0;
    (void)krn_quantize_scale_count(codes->options, rows, cols, &count);
    for (int64_t i = 0; i < count; i++) {
        codes->scales[i] = scale;
        if (codes->zero_points != NULL)
            codes->zero_points[i] = zero_point;
    }
}

static krn_status quantize(const krn_fused_step *s, const krn_fused_arguments *a, const krn_fused_codes *codes) {
    krn_hadamard_plan plan = {.n = 1};
    krn_status status = krn_fused_check(s, a);
    if (status == KRN_OK)
        status = krn_fused_check_codes(a, codes);
    if (status == KRN_OK && s->rotates)
        status = krn_hadamard_make_plan(a->options->rotation, &plan);
    if (status == KRN_OK && a->cols % plan.n != 0)
        status = krn_fail(KRN_ERROR_SHAPE, "cols is %lld, not a multiple of options->rotation->n, %lld",
                          (long long)a->cols, (long long)plan.n);
    if (status != KRN_OK)
        return status;
    const krn_quantize_scheme scheme = krn_quantize_scheme_of(codes->options);
    if (codes->static_scale != 0 || a->rows == 0 || a->cols == 0)
        fill_scales(codes, a->rows, a->cols, codes->static_scale,
                    codes->static_scale != 0 && scheme.asymmetric ? codes->static_zero_point : scheme.zero);
    if (a->rows == 0 || a->cols == 0)
        return KRN_OK;
    krn_fused_job job = job_of(s, a);
    job.rotate = s->rotates ? krn_hadamard_kernels_of(a->context) : NULL;
    job.plan = plan;
    job.quantize = krn_quantize_job_of(a->context, codes->options, a->rows, a->cols, KRN_TYPE_F32);
    job.quantize.stream =
        scheme.bits == 8 && a->rows * a->cols * (krn_element_bytes(a->input->type) + 1) > KRN_FUSED_STREAM_BYTES;
    if (codes->static_scale != 0)
        job.quantize.scheme.is_unclipped = 0;
    job.codes = (krn_row_matrix){.data = codes->codes, .ld_bytes = codes->codes_ld_bytes};
    job.scales = codes->scales;
    job.zero_points = codes->zero_points;
    job.is_static = codes->static_scale != 0;
    return krn_fused_run(&job);
}

static krn_status apply(const krn_fused_step *s, const krn_fused_arguments *a, int32_t target_type, void *target,
                        int64_t target_ld) {
    krn_status status = krn_fused_check(s, a);
    if (status == KRN_OK)
        status = krn_fused_check_target(a, target_type, target, target_ld);
    if (status != KRN_OK)
        return status;
    if (a->rows == 0 || a->cols == 0)
        return KRN_OK;
    krn_fused_job job = job_of(s, a);
    job.target_type = target_type;
    job.target = (krn_row_matrix){.data = target, .ld_bytes = target_ld * krn_element_bytes(target_type)};
    return krn_fused_run(&job);
}

krn_status krn_rmsnorm_quantize(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                const krn_fused_input *input, const krn_fused_codes *codes, void *workspace,
                                int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&RMSNORM, &a, codes);
}

krn_status krn_layernorm_quantize(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                  const krn_fused_input *input, const krn_fused_codes *codes, void *workspace,
                                  int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&LAYERNORM, &a, codes);
}

krn_status krn_silu_mul_quantize(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                 const krn_fused_input *input, const krn_fused_codes *codes, void *workspace,
                                 int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&SILU_MUL, &a, codes);
}

krn_status krn_gelu_mul_quantize(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                 const krn_fused_input *input, const krn_fused_codes *codes, void *workspace,
                                 int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&GELU_MUL, &a, codes);
}

krn_status krn_smooth_quantize(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                               const krn_fused_input *input, const krn_fused_codes *codes, void *workspace,
                               int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&MULTIPLY, &a, codes);
}

krn_status krn_hadamard_quantize(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                                 const krn_fused_input *input, const krn_fused_codes *codes, void *workspace,
                                 int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&HADAMARD, &a, codes);
}

krn_status krn_rmsnorm_hadamard_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                         int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                         void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&RMSNORM_HADAMARD, &a, codes);
}

krn_status krn_silu_mul_hadamard_quantize(krn_context *context, const krn_fused_options *options, int64_t rows,
                                          int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                          void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return quantize(&SILU_MUL_HADAMARD, &a, codes);
}

krn_status krn_rmsnorm(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                       const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                       void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return apply(&RMSNORM, &a, target_type, target, target_ld);
}

krn_status krn_layernorm(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                         const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                         void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return apply(&LAYERNORM, &a, target_type, target, target_ld);
}

krn_status krn_silu_mul(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                        const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                        void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return apply(&SILU_MUL, &a, target_type, target, target_ld);
}

krn_status krn_gelu_mul(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                        const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                        void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return apply(&GELU_MUL, &a, target_type, target, target_ld);
}

krn_status krn_multiply(krn_context *context, const krn_fused_options *options, int64_t rows, int64_t cols,
                        const krn_fused_input *input, int32_t target_type, void *target, int64_t target_ld,
                        void *workspace, int64_t workspace_bytes) {
    const krn_fused_arguments a = {context, options, rows, cols, input, workspace, workspace_bytes};
    return apply(&MULTIPLY, &a, target_type, target, target_ld);
}
