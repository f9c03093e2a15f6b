#include "cuda/gemm/gemm_arguments.h"

#include "common/checks.h"

#include <math.h>

enum { TENSOR_ALIGNMENT = 16 };

static krn_status check_aligned(const char *name, const void *data, int64_t bytes) {
    if ((uintptr_t)data % (uintptr_t)bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to %lld bytes", name, (long long)bytes);
    return KRN_OK;
}

krn_status krn_cuda_gemm_check_options(const krn_cuda_weights *weights, const krn_gemm_options *options,
                                       int32_t activation_type) {
    if (options->struct_size != sizeof *options)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof *options);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
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
    if (options->outlier_threshold > 0 && weights->layout.desc.num_outliers > 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->outlier_threshold is %g, must be 0: the weights have outlier columns of their own",
                        (double)options->outlier_threshold);
    if (options->lora != NULL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "options->lora must be NULL: no kernel for devices adds an adapter");
    return KRN_OK;
}

krn_status krn_cuda_gemm_check_activations(const krn_cuda_weights *weights, int64_t m, const krn_activations *a) {
    const int64_t k = weights->layout.desc.k;
    if (a->struct_size != sizeof *a)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "activations->struct_size is %u, this library knows %u", a->struct_size,
                        (unsigned)sizeof *a);
    krn_status status = krn_check_ld("activations->ld", a->ld, m, k, 4);
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
    status = check_aligned("activations->data", a->data, TENSOR_ALIGNMENT);
    if (status == KRN_OK)
        status = check_aligned("activations->scales", a->scales, 4);
    return status != KRN_OK ? status : check_aligned("activations->zero_points", a->zero_points, 4);
}

krn_status krn_cuda_gemm_check_output(const krn_cuda_weights *weights, int64_t m, const krn_gemm_output *y) {
    const int64_t n = weights->layout.desc.n;
    if (y->struct_size != sizeof *y)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "output->struct_size is %u, this library knows %u", y->struct_size,
                        (unsigned)sizeof *y);
    if (!krn_is_float(y->type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "output->type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16", y->type);
    krn_status status = krn_check_ld("output->ld", y->ld, m, n, 4);
    if (status != KRN_OK)
        return status;
    if (y->data == NULL && m > 0 && n > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output->data is NULL");
    if (y->residual != NULL)
        status = krn_check_ld("output->residual_ld", y->residual_ld, m, n, 4);
    if (status != KRN_OK)
        return status;
    if (y->residual == y->data && y->residual != NULL && y->residual_ld != y->ld)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION,
                        "output->residual is output->data, but residual_ld is %lld and ld is %lld",
                        (long long)y->residual_ld, (long long)y->ld);
    status = check_aligned("output->data", y->data, TENSOR_ALIGNMENT);
    if (status == KRN_OK)
        status = check_aligned("output->bias", y->bias, TENSOR_ALIGNMENT);
    return status != KRN_OK ? status : check_aligned("output->residual", y->residual, TENSOR_ALIGNMENT);
}
