/* The door of gemm.h: checks and dispatch. */
#include "kernels/gemm.h"

#include "common/context.h"
#include "common/status.h"
#include "gemm/gemm_run.h"
#include "gemm/gemm_variants.h"

#include <stddef.h>

#define KRN_ROW(prefix, name, features, formats, activations, rows, group_rows, small_group_rows, bytes, in_steps)     \
    {name,     features,           formats,       activations,   rows, group_rows, small_group_rows, bytes,            \
     in_steps, prefix##_pack_rows, prefix##_tile, prefix##_store},
static const krn_gemm_kernel variants[] = {KRN_GEMM_VARIANTS(KRN_ROW)};
#undef KRN_ROW

enum { MAX_M = 1 << 30 };

static const krn_gemm_kernel *find_variant(const krn_context *context, int32_t format, int32_t activation_type) {
    if (context == NULL || format < 0 || format > 31 || activation_type < 0 || activation_type > 31)
        return NULL;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const krn_gemm_kernel *v = &variants[i];
        if ((v->features & ~context->features) == 0 && (v->formats & KRN_BIT(format)) != 0 &&
            (v->activations & KRN_BIT(activation_type)) != 0)
            return v;
    }
    return NULL;
}

int32_t krn_gemm_supported(const krn_context *context, int32_t weight_format, int32_t activation_type) {
    return find_variant(context, weight_format, activation_type) != NULL;
}

const char *krn_gemm_variant(const krn_context *context, int32_t weight_format, int32_t activation_type) {
    const krn_gemm_kernel *variant = find_variant(context, weight_format, activation_type);
    return variant == NULL ? NULL : variant->name;
}

static krn_status check_activations(const krn_layout *layout, int64_t m, const krn_activations *a) {
    if (a->struct_size != sizeof *a)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "activations->struct_size is %u, this library knows %u", a->struct_size,
                        (unsigned)sizeof *a);
    if (a->ld < layout->k)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "activations->ld is %lld, K is %lld", (long long)a->ld,
                        (long long)layout->k);
    if (a->data == NULL && m > 0 && layout->k > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "activations->data is NULL");
    const int is_integer = a->type == KRN_TYPE_S8 || a->type == KRN_TYPE_U8;
    if (is_integer && a->scales == NULL && m > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT,
                        "activations->scales is NULL, but integer activations need one per row");
    if (!is_integer && a->scales != NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "activations->scales must be NULL for float activations");
    if (a->type == KRN_TYPE_U8 && a->zero_points == NULL && m > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "activations->zero_points is NULL, but KRN_TYPE_U8 needs one per row");
    if (a->type != KRN_TYPE_U8 && a->zero_points != NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "activations->zero_points must be NULL unless the type is KRN_TYPE_U8");
    if (a->type == KRN_TYPE_U8)
        for (int64_t i = 0; i < m; i++)
            if (a->zero_points[i] < 0 || a->zero_points[i] > 255)
                return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "activations->zero_points[%lld] is %d, not in 0..255",
                                (long long)i, a->zero_points[i]);
    return KRN_OK;
}

static krn_status check_output(const krn_layout *layout, int64_t m, const krn_gemm_output *y) {
    if (y->struct_size != sizeof *y)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "output->struct_size is %u, this library knows %u", y->struct_size,
                        (unsigned)sizeof *y);
    if (y->type != KRN_TYPE_F32 && y->type != KRN_TYPE_F16 && y->type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "output->type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16", y->type);
    if (y->ld < layout->n)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "output->ld is %lld, N is %lld", (long long)y->ld,
                        (long long)layout->n);
    if (y->data == NULL && m > 0 && layout->n > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output->data is NULL");
    if (y->residual != NULL && y->residual_ld < layout->n)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "output->residual_ld is %lld, N is %lld",
                        (long long)y->residual_ld, (long long)layout->n);
    if (y->residual == y->data && y->residual != NULL && y->residual_ld != y->ld)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION,
                        "output->residual is output->data, but residual_ld is %lld and ld is %lld",
                        (long long)y->residual_ld, (long long)y->ld);
    return KRN_OK;
}

krn_status krn_gemm_workspace_bytes(const krn_context *context, const krn_weights *weights, int32_t activation_type,
                                    int64_t m, int64_t *bytes) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    const krn_gemm_kernel *variant = find_variant(context, weights->layout.format, activation_type);
    if (variant == NULL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "activation_type is %d: no kernel for it with weights of format %d",
                        activation_type, weights->layout.format);
    /* K <= 2^30, padded by less than half, at 4 bytes an element: 2^30 rows stay below 2^63 bytes. */
    if (m < 0 || m > MAX_M)
        return krn_fail(KRN_ERROR_SHAPE, "m is %lld, not in 0..2^30", (long long)m);
    *bytes = krn_gemm_run_bytes(variant, &weights->layout, activation_type, m);
    return KRN_OK;
}

krn_status krn_gemm(krn_context *context, const krn_weights *weights, int64_t m, const krn_activations *activations,
                    const krn_gemm_output *output, void *workspace, int64_t workspace_bytes) {
    if (activations == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "activations is NULL");
    if (output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output is NULL");
    int64_t needed = 0;
    krn_status status = krn_gemm_workspace_bytes(context, weights, activations->type, m, &needed);
    if (status != KRN_OK)
        return status;
    const krn_layout *layout = &weights->layout;
    status = check_activations(layout, m, activations);
    if (status == KRN_OK)
        status = check_output(layout, m, output);
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

    const krn_gemm_kernel *variant = find_variant(context, layout->format, activations->type);
    krn_gemm_run(context, variant, weights, m, activations, output, workspace);
    return KRN_OK;
}
