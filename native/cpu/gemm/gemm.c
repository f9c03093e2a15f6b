/* The door of gemm.h: dispatch; the checks are in gemm_arguments.c. */
#include "kernels/gemm.h"

#include "common/checks.h"
#include "common/context.h"
#include "gemm/gemm_arguments.h"
#include "gemm/gemm_run.h"
#include "gemm/gemm_variants.h"

#include <stddef.h>

#define KRN_ROW(prefix, name, features, formats, activations, rows, group_rows, small_group_rows, bytes, in_steps,     \
                expands)                                                                                               \
    {name,  features, formats, activations,        rows,          group_rows,    small_group_rows,                     \
     bytes, in_steps, expands, prefix##_pack_rows, prefix##_tile, prefix##_store},
static const krn_gemm_kernel variants[] = {KRN_GEMM_VARIANTS(KRN_ROW)};
#undef KRN_ROW

enum { MAX_M = 1 << 30 };
/* Packed activations take less than 3 * 2^61 bytes: 2^30 rows of K <= 2^30, padded by less than half, at 4 bytes an
 * element. This fits beside them. */
#define MAX_PREPARE_BYTES ((int64_t)1 << 60)

/* What stands for NULL. */
static const krn_gemm_options plain_options = {.struct_size = sizeof plain_options};

static const krn_gemm_kernel *find_variant(const krn_context *context, int32_t format, int32_t activation_type,
                                           int32_t compute) {
    if (context == NULL || format < 0 || format > 31 || activation_type < 0 || activation_type > 31 || compute < 0 ||
        compute > 31)
        return NULL;
    if (compute != 0 && (!krn_is_float(activation_type) || krn_is_float(compute)))
        return NULL;
    const int32_t type = compute != 0 ? compute : activation_type;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const krn_gemm_kernel *v = &variants[i];
        if ((v->features & ~context->features) == 0 && (v->formats & KRN_BIT(format)) != 0 &&
            (v->activations & KRN_BIT(type)) != 0)
            return v;
    }
    return NULL;
}

int32_t krn_gemm_supported(const krn_context *context, int32_t weight_format, int32_t activation_type,
                           int32_t compute) {
    return find_variant(context, weight_format, activation_type, compute) != NULL;
}

const char *krn_gemm_variant(const krn_context *context, int32_t weight_format, int32_t activation_type,
                             int32_t compute) {
    const krn_gemm_kernel *variant = find_variant(context, weight_format, activation_type, compute);
    return variant == NULL ? NULL : variant->name;
}

krn_status krn_gemm_workspace_bytes(const krn_context *context, const krn_weights *weights, int32_t activation_type,
                                    const krn_gemm_options *options, int64_t m, int64_t *bytes) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    if (options == NULL)
        options = &plain_options;
    const krn_layout *layout = &weights->layout;
    const krn_status status = krn_gemm_check_options(options, activation_type, layout->num_outliers);
    if (status != KRN_OK)
        return status;
    const krn_gemm_kernel *variant = find_variant(context, layout->format, activation_type, options->compute);
    if (variant == NULL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "activation_type is %d: no kernel for it with weights of format %d",
                        activation_type, layout->format);
    if (m < 0 || m > MAX_M)
        return krn_fail(KRN_ERROR_SHAPE, "m is %lld, not in 0..2^30", (long long)m);
    if (m > 0 && krn_prepare_row_bytes(layout, options) > MAX_PREPARE_BYTES / m)
        return krn_fail(KRN_ERROR_SHAPE, "m is %lld, the workspace would not fit the address space", (long long)m);
    const int32_t type = options->compute != 0 ? options->compute : activation_type;
    *bytes = krn_workspace_of(variant, layout, type, m).end + krn_prepare_bytes(context, layout, options, m);
    return KRN_OK;
}

static krn_status check_zero_points(int64_t m, const krn_activations *a) {
    for (int64_t i = 0; a->zero_points != NULL && i < m; i++)
        if (a->zero_points[i] < 0 || a->zero_points[i] > 255)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "activations->zero_points[%lld] is %d, not in 0..255",
                            (long long)i, a->zero_points[i]);
    return KRN_OK;
}

krn_status krn_gemm(krn_context *context, const krn_weights *weights, int64_t m, const krn_activations *activations,
                    const krn_gemm_output *output, const krn_gemm_options *options, void *workspace,
                    int64_t workspace_bytes) {
    if (activations == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "activations is NULL");
    if (output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output is NULL");
    if (options == NULL)
        options = &plain_options;
    int64_t needed = 0;
    krn_status status = krn_gemm_workspace_bytes(context, weights, activations->type, options, m, &needed);
    if (status != KRN_OK)
        return status;
    const krn_layout *layout = &weights->layout;
    status = krn_gemm_check_activations(m, layout->k, activations);
    if (status == KRN_OK)
        status = check_zero_points(m, activations);
    if (status == KRN_OK)
        status = krn_gemm_check_output(m, layout->n, output);
    if (status == KRN_OK && options->lora != NULL)
        status = krn_gemm_check_lora(layout->n, layout->k, options->lora);
    if (status != KRN_OK)
        return status;
    if (workspace_bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes is %lld, %lld are needed",
                        (long long)workspace_bytes, (long long)needed);
    if (needed > 0 && workspace == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "workspace is NULL, %lld bytes are needed", (long long)needed);
    if ((uintptr_t)workspace % KRN_WORKSPACE_ALIGNMENT != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "workspace is not aligned to %d bytes", KRN_WORKSPACE_ALIGNMENT);
    if (m == 0 || layout->n == 0)
        return KRN_OK;

    const krn_gemm_call call = {
        .context = context,
        .variant = find_variant(context, layout->format, activations->type, options->compute),
        .weights = weights,
        .m = m,
        .activations = activations,
        .output = output,
        .options = options,
        .workspace = workspace,
    };
    return krn_gemm_run(&call);
}
