/* The door of cuda_gemm.h. Checks are in gemm_arguments.c and that of kernels_cpu, the choice of kernels in
 * gemm_heuristics.c. */
#include "kernels/cuda_gemm.h"

#include "cuda/common/arguments.h"
#include "cuda/common/context.h"
#include "cuda/gemm/gemm_arguments.h"
#include "cuda/gemm/gemm_call.h"
#include "cuda/gemm/gemm_heuristics.h"
#include "gemm/gemm_arguments.h"

/* Sums of codes of longer groups do not fit 32 bits; nor do the bytes of longer rows of 16-bit floats. */
enum { MAX_M = 1 << 30, MAX_U8_GROUP = 1 << 23, MAX_FLOAT_K = 1 << 30 };

/* What stands for NULL. */
static const krn_gemm_options plain_options = {.struct_size = sizeof plain_options};

static int is_integer(int32_t type) { return type == KRN_TYPE_S8 || type == KRN_TYPE_S4 || type == KRN_TYPE_U8; }

static int is_half(int32_t type) { return type == KRN_TYPE_F16 || type == KRN_TYPE_BF16; }

int32_t krn_cuda_gemm_supported(const krn_cuda_context *context, int32_t weight_format, int32_t activation_type,
                                int32_t compute) {
    if (context == NULL || (compute != 0 && !krn_is_float(activation_type)))
        return 0;
    const int has_integers =
        weight_format == KRN_TYPE_S8 || weight_format == KRN_TYPE_S4 || weight_format == KRN_TYPE_U4;
    if (compute == 0 && is_half(activation_type))
        return has_integers || weight_format == KRN_TYPE_C4;
    return is_integer(compute != 0 ? compute : activation_type) && has_integers;
}

static int64_t align_up(int64_t bytes) {
    return (bytes + KRN_CUDA_WORKSPACE_ALIGNMENT - 1) / KRN_CUDA_WORKSPACE_ALIGNMENT * KRN_CUDA_WORKSPACE_ALIGNMENT;
}

static int64_t take(krn_cuda_gemm_workspace *parts, int64_t bytes) {
    const int64_t at = parts->end;
    parts->end += align_up(bytes);
    return at;
}

static krn_cuda_gemm_workspace cut_workspace(const krn_cuda_context *context, const krn_cuda_weights_layout *l,
                                             int32_t activation_type, const krn_gemm_options *options, int64_t m) {
    const int32_t compute = options->compute, type = compute != 0 ? compute : activation_type;
    krn_cuda_gemm_workspace parts = {.codes_ld = (l->desc.k + 31) / 32 * 32, .rest_ld = (l->desc.k + 7) / 8 * 8};
    parts.x = take(&parts, m * l->padded_k * (is_half(type) ? 2 : 1));
    parts.zeros = take(&parts, type == KRN_TYPE_U8 ? m * 4 : 0);
    parts.sums = take(&parts, l->offsets_at < 0 ? 0 : l->num_groups * m * 4);
    if (compute != 0)
        parts.num_outliers = (int32_t)(options->outlier_threshold > 0 ? l->desc.k : l->desc.num_outliers);
    parts.rank = options->lora == NULL ? 0 : (int32_t)options->lora->rank;
    parts.side_ld = (int64_t)parts.num_outliers + parts.rank;
    parts.side = take(&parts, m * parts.side_ld * 4);
    parts.adapter = take(&parts, parts.rank * l->padded_n * 4);
    parts.partials = take(&parts, krn_cuda_gemm_partial_bytes(l, type, m, &context->properties));
    if (compute == 0)
        return parts;
    parts.codes = take(&parts, m * krn_type_row_bytes(compute, parts.codes_ld));
    parts.code_scales = take(&parts, m * 4);
    parts.code_zeros = take(&parts, type == KRN_TYPE_U8 ? m * 4 : 0);
    if (parts.num_outliers > 0)
        parts.rest = take(&parts, m * krn_type_row_bytes(activation_type, parts.rest_ld));
    if (options->outlier_threshold > 0) {
        parts.found = take(&parts, l->desc.k);
        parts.columns = take(&parts, l->desc.k * 4);
        parts.count = take(&parts, 4);
    }
    return parts;
}

krn_status krn_cuda_gemm_workspace_bytes(const krn_cuda_context *context, const krn_cuda_weights *weights,
                                         int32_t activation_type, const krn_gemm_options *options, int64_t m,
                                         int64_t *bytes) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    if (options == NULL)
        options = &plain_options;
    const krn_cuda_weights_layout *layout = &weights->layout;
    krn_status status = krn_gemm_check_options(options, activation_type, layout->desc.num_outliers);
    if (status == KRN_OK)
        status = krn_cuda_gemm_check_rank(options->lora);
    if (status != KRN_OK)
        return status;
    if (activation_type == KRN_TYPE_F32 && options->compute == 0)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "activation_type is KRN_TYPE_F32: tensor cores have no products of f32; f16 and bf16 are taken "
                        "as they are, f32 only with options->compute");
    if (!krn_cuda_gemm_supported(context, layout->desc.format, activation_type, options->compute))
        return krn_fail(KRN_ERROR_UNSUPPORTED, "activation_type is %d: no kernel for it with weights of format %d",
                        activation_type, layout->desc.format);
    if (m < 0 || m > MAX_M)
        return krn_fail(KRN_ERROR_SHAPE, "m is %lld, not in 0..2^30", (long long)m);
    const int32_t type = options->compute != 0 ? options->compute : activation_type;
    if (type == KRN_TYPE_U8 && layout->group_size > MAX_U8_GROUP)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "activations are KRN_TYPE_U8: groups of %lld inputs are too long for it",
                        (long long)layout->group_size);
    if (is_half(type) && layout->padded_k >= MAX_FLOAT_K)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "weights have %lld inputs, too many for float activations",
                        (long long)layout->desc.k);
    /* Twelve bytes for an element of X are more than all parts together, but those of an adapter, whose sizes are
     * small beside that. */
    if (m > 0 && layout->padded_k > (INT64_MAX >> 4) / m)
        return krn_fail(KRN_ERROR_SHAPE, "m is %lld, the workspace would not fit the address space", (long long)m);
    *bytes = cut_workspace(context, layout, activation_type, options, m).end;
    return KRN_OK;
}

/* Whether the kernels can read X as it is. */
static int lies_ready(const krn_cuda_weights_layout *l, const krn_activations *a) {
    return (a->type == KRN_TYPE_S8 || is_half(a->type)) && krn_type_row_bytes(a->type, a->ld) % 16 == 0 &&
           !l->has_order;
}

static krn_status prepare(const krn_cuda_gemm_call *c, int needs_copy) {
    const krn_cuda_weights_layout *l = &c->weights->layout;
    const krn_activations *a = c->activations;
    const krn_cuda_prepare_params params = {
        .x = a->data,
        .order = krn_cuda_weights_section(c->weights, l->order_at),
        .zeros = a->zero_points,
        .to = needs_copy ? c->workspace + c->parts.x : NULL,
        .to_zeros = a->type == KRN_TYPE_U8 ? (int32_t *)(c->workspace + c->parts.zeros) : NULL,
        .sums = l->offsets_at < 0 ? NULL : (float *)(c->workspace + c->parts.sums),
        .ld_bytes = krn_type_row_bytes(a->type, a->ld),
        .m = (int32_t)c->m,
        .k = (int32_t)l->desc.k,
        .padded_k = (int32_t)l->padded_k,
        .num_groups = (int32_t)l->num_groups,
        .group_steps = (int32_t)l->group_steps,
        .type = a->type,
    };
    const uint32_t blocks[3] = {(uint32_t)c->m, 1, 1};
    const char *kernel = is_half(a->type) ? "krn_gemm_prepare_16" : "krn_gemm_prepare";
    return krn_cuda_run(c->context, kernel, blocks, KRN_CUDA_PREPARE_THREADS, 0, &params, sizeof params, c->stream);
}

/* Steps that the warps of a decoding block take in one turn. */
enum { TURN_STEPS = KRN_CUDA_DECODE_WARPS * KRN_CUDA_SLICE_STEPS };

static krn_cuda_gemm_params params_of(const krn_cuda_gemm_call *c, const krn_cuda_gemm_plan *plan, int copied) {
    const krn_cuda_weights *w = c->weights;
    const krn_cuda_weights_layout *l = &w->layout;
    const krn_activations *a = c->activations;
    const krn_gemm_output *y = c->output;
    /* Float cells count x in bytes. */
    const int64_t elem_bytes = krn_type_row_bytes(a->type, 1);
    const int searches = c->options->outlier_threshold > 0;
    return (krn_cuda_gemm_params){
        .codes = krn_cuda_weights_section(w, l->codes_at),
        .scales = krn_cuda_weights_section(w, l->scales_at),
        .zeros = krn_cuda_weights_section(w, l->zeros_at),
        .offsets = krn_cuda_weights_section(w, l->offsets_at),
        .code_sums = krn_cuda_weights_section(w, l->code_sums_at),
        .x = copied ? (const int8_t *)(c->workspace + c->parts.x) : a->data,
        .x_scales = a->scales,
        .x_zeros = a->type == KRN_TYPE_U8 ? (const int32_t *)(c->workspace + c->parts.zeros) : NULL,
        .x_sums = l->offsets_at < 0 ? NULL : (const float *)(c->workspace + c->parts.sums),
        .bias = y->bias,
        .residual = y->residual,
        .y = y->data,
        .x_ld = (copied ? l->padded_k : a->ld) * elem_bytes,
        .codebook = krn_cuda_weights_section(w, l->codebook_at),
        .y_ld = y->ld,
        .residual_ld = y->residual == NULL ? 0 : y->residual_ld,
        .m = (int32_t)c->m,
        .n = (int32_t)l->desc.n,
        .x_bytes = (int32_t)((copied ? l->padded_k : l->desc.k) * elem_bytes),
        .padded_n = (int32_t)l->padded_n,
        .tiles_k = (int32_t)(l->padded_k / KRN_CUDA_TILE_K),
        .num_steps = (int32_t)l->num_steps,
        .group_steps = (int32_t)l->group_steps,
        .num_groups = (int32_t)l->num_groups,
        .side_x = c->parts.side_ld == 0 ? NULL : (const float *)(c->workspace + c->parts.side),
        .outlier_weights = krn_cuda_weights_section(w, searches ? -1 : l->outlier_weights_at),
        .adapter = c->parts.rank == 0 ? NULL : (const float *)(c->workspace + c->parts.adapter),
        .outlier_count = searches ? (const int32_t *)(c->workspace + c->parts.count) : NULL,
        .outlier_columns = searches ? (const int32_t *)(c->workspace + c->parts.columns) : NULL,
        .places = krn_cuda_weights_section(w, l->places_at),
        .side_ld = c->parts.side_ld,
        .num_outliers = c->parts.num_outliers,
        .num_ranks = c->parts.rank,
        .code_format = l->desc.format,
        .scale_type = l->scale_type,
        .y_type = y->type,
        .vector_y = y->ld % 4 == 0,
        .vector_residual = y->residual == NULL || y->residual_ld % 4 == 0,
        .short_groups = plan->short_groups,
        .piece_steps = plan->piece_steps,
        .group_pieces = plan->group_pieces,
        .chunk_slices = plan->chunk_slices,
        .ring_pieces = plan->ring_pieces,
        .pieces_are_whole = plan->pieces_are_whole,
        .num_pieces = plan->num_pieces,
        .chunk_pieces = plan->chunk_pieces,
        .split_length = plan->split_length,
        .partials = plan->is_split ? c->workspace + c->parts.partials : NULL,
        .turn_groups = l->group_steps == 0 ? 0 : (int32_t)(TURN_STEPS / l->group_steps),
        .turn_steps = l->group_steps == 0 ? 0 : (int32_t)(TURN_STEPS % l->group_steps),
    };
}

static krn_status run_with_tma(const krn_cuda_gemm_call *c, const krn_cuda_gemm_plan *plan,
                               const krn_cuda_gemm_params *params) {
    krn_cuda_context *const context = c->context;
    const krn_cuda_tensor_map_desc x = {
        .address = (void *)(uintptr_t)params->x,
        .sizes = {(uint64_t)params->x_bytes, (uint64_t)params->m},
        .strides_bytes = {1, (uint64_t)params->x_ld},
        .box = {KRN_CUDA_TMA_BOX_BYTES, (uint32_t)plan->tokens},
        .rank = 2,
        .element_bytes = 1,
        .swizzle = KRN_CUDA_SWIZZLE_128,
    };
    krn_cuda_gemm_tma_params with_map = {.gemm = *params};
    const krn_status status = context->backend->tensor_map(context->state, &with_map.x_map, &x);
    if (status != KRN_OK)
        return status;
    return krn_cuda_run(context, plan->kernel, plan->blocks, plan->threads, plan->shared_bytes, &with_map,
                        sizeof with_map, c->stream);
}

/* Activations as they are multiplied. */
static krn_status run(const krn_cuda_gemm_call *c) {
    const krn_cuda_weights_layout *l = &c->weights->layout;
    const int copied = !lies_ready(l, c->activations);
    krn_status status = KRN_OK;
    if (l->desc.k > 0 && (copied || l->offsets_at >= 0))
        status = prepare(c, copied);
    if (status != KRN_OK)
        return status;
    krn_cuda_gemm_plan plan;
    krn_cuda_gemm_make_plan(l, c->activations->type, c->m, &c->context->properties, c->context->architecture, &plan);
    const krn_cuda_gemm_params params = params_of(c, &plan, copied);
    if (plan.uses_tma)
        return run_with_tma(c, &plan, &params);
    status = krn_cuda_run(c->context, plan.kernel, plan.blocks, plan.threads, plan.shared_bytes, &params, sizeof params,
                          c->stream);
    if (status != KRN_OK || !plan.is_split)
        return status;
    const uint32_t blocks[3] = {plan.blocks[0], plan.blocks[1], 1};
    const char *merge = is_half(c->activations->type) ? "krn_gemm_merge_f32" : "krn_gemm_merge_s32";
    return krn_cuda_run(c->context, merge, blocks, plan.threads, (uint32_t)krn_cuda_merge_shared_bytes(), &params,
                        sizeof params, c->stream);
}

krn_status krn_cuda_gemm(krn_cuda_context *context, const krn_cuda_weights *weights, int64_t m,
                         const krn_activations *activations, const krn_gemm_output *output,
                         const krn_gemm_options *options, void *workspace, int64_t workspace_bytes,
                         int32_t *device_flags, void *stream) {
    if (activations == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "activations is NULL");
    if (output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output is NULL");
    int64_t needed = 0;
    krn_status status = krn_cuda_gemm_workspace_bytes(context, weights, activations->type, options, m, &needed);
    if (status != KRN_OK)
        return status;
    const krn_weights_desc *desc = &weights->layout.desc;
    status = krn_gemm_check_activations(m, desc->k, activations);
    if (status == KRN_OK)
        status = krn_gemm_check_output(m, desc->n, output);
    if (status == KRN_OK && options != NULL && options->lora != NULL)
        status = krn_gemm_check_lora(desc->n, desc->k, options->lora);
    if (status == KRN_OK)
        status = krn_cuda_gemm_check_alignment(activations, output, options);
    if (status == KRN_OK)
        status = krn_cuda_check_workspace(workspace, workspace_bytes, needed);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status != KRN_OK)
        return status;
    if (weights->context != context)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "weights belong to another context");
    if (m == 0 || desc->n == 0)
        return KRN_OK;
    if (options == NULL)
        options = &plain_options;
    krn_cuda_gemm_call call = {
        .context = context,
        .weights = weights,
        .m = m,
        .activations = activations,
        .output = output,
        .options = options,
        .workspace = workspace,
        .parts = cut_workspace(context, &weights->layout, activations->type, options, m),
        .device_flags = device_flags,
        .stream = stream,
    };
    if (options->lora != NULL)
        status = krn_cuda_gemm_project(&call);
    if (status != KRN_OK)
        return status;
    if (options->compute == 0)
        return run(&call);
    krn_activations quantized;
    status = krn_cuda_gemm_quantize(&call, &quantized);
    if (status != KRN_OK)
        return status;
    call.activations = &quantized;
    return run(&call);
}
