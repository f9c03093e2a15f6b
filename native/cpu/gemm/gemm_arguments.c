#include "gemm/gemm_arguments.h"

#include "common/checks.h"

#include <math.h>

enum { MAX_RANK = 1 << 30 };

krn_status krn_gemm_check_activations(int64_t m, int64_t k, const krn_activations *a) {
    if (a->struct_size != sizeof *a)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "activations->struct_size is %u, this library knows %u", a->struct_size,
                        (unsigned)sizeof *a);
    const krn_status status = krn_check_ld("activations->ld", a->ld, m, k, sizeof(float));
    if (status != KRN_OK)
        return status;
    if (a->data == NULL && m > 0 && k > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "activations->data is NULL");
    const int is_integer = !krn_is_float(a->type);
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
    return KRN_OK;
}

krn_status krn_gemm_check_output(int64_t m, int64_t n, const krn_gemm_output *y) {
    if (y->struct_size != sizeof *y)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "output->struct_size is %u, this library knows %u", y->struct_size,
                        (unsigned)sizeof *y);
    if (!krn_is_float(y->type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "output->type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16", y->type);
    krn_status status = krn_check_ld("output->ld", y->ld, m, n, sizeof(float));
    if (status == KRN_OK && y->residual != NULL)
        status = krn_check_ld("output->residual_ld", y->residual_ld, m, n, sizeof(float));
    if (status != KRN_OK)
        return status;
    if (y->data == NULL && m > 0 && n > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output->data is NULL");
    if (y->residual == y->data && y->residual != NULL && y->residual_ld != y->ld)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION,
                        "output->residual is output->data, but residual_ld is %lld and ld is %lld",
                        (long long)y->residual_ld, (long long)y->ld);
    return KRN_OK;
}

static krn_status check_compute(const krn_gemm_options *options, int32_t activation_type, int64_t num_outliers) {
    const int32_t compute = options->compute;
    if (compute != 0 && compute != KRN_TYPE_S8 && compute != KRN_TYPE_U8 && compute != KRN_TYPE_S4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->compute is %d, not 0, KRN_TYPE_S8, KRN_TYPE_U8 or KRN_TYPE_S4", compute);
    if (compute != 0 && !krn_is_float(activation_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->compute is %d, but activations of type %d are quantized already", compute,
                        activation_type);
    /* Written so that NaN fails. */
    if (!(options->outlier_threshold >= 0) || isinf(options->outlier_threshold))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->outlier_threshold is %g, must be finite and at least 0",
                        (double)options->outlier_threshold);
    if (options->outlier_threshold > 0 && compute == 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->outlier_threshold is %g, but without options->compute nothing is quantized",
                        (double)options->outlier_threshold);
    if (options->outlier_threshold > 0 && num_outliers > 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->outlier_threshold is %g, must be 0: the weights have outlier columns of their own",
                        (double)options->outlier_threshold);
    return KRN_OK;
}

krn_status krn_gemm_check_options(const krn_gemm_options *options, int32_t activation_type, int64_t num_outliers) {
    if (options->struct_size != sizeof *options)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof *options);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
    const krn_status status = check_compute(options, activation_type, num_outliers);
    const krn_lora *lora = options->lora;
    if (status != KRN_OK || lora == NULL)
        return status;
    if (lora->struct_size != sizeof *lora)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->lora->struct_size is %u, this library knows %u",
                        lora->struct_size, (unsigned)sizeof *lora);
    if (!krn_is_float(activation_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->lora needs float activations, their type is %d",
                        activation_type);
    if (lora->rank < 1 || lora->rank > MAX_RANK)
        return krn_fail(KRN_ERROR_SHAPE, "options->lora->rank is %lld, not in 1..2^30", (long long)lora->rank);
    return KRN_OK;
}

krn_status krn_gemm_check_lora(int64_t n, int64_t k, const krn_lora *lora) {
    if (!krn_is_float(lora->type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->lora->type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16", lora->type);
    if (lora->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->lora->reserved is %d, must be 0", lora->reserved);
    if (!isfinite(lora->scale))
        return krn_fail(KRN_ERROR_NON_FINITE, "options->lora->scale is not finite");
    if (lora->a == NULL && k > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options->lora->a is NULL");
    if (lora->b == NULL && n > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options->lora->b is NULL");
    const krn_status status = krn_check_ld("options->lora->a_ld", lora->a_ld, lora->rank, k, sizeof(float));
    return status != KRN_OK ? status : krn_check_ld("options->lora->b_ld", lora->b_ld, n, lora->rank, sizeof(float));
}
