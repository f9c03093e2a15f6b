/* `compute`: float activations are quantized per token before the product. */
#include "cuda/common/context.h"
#include "cuda/gemm/gemm_call.h"
#include "cuda/gemm/gemm_params.h"
#include "kernels/cuda_quantize.h"

/* Lists the columns of X that hold a value above the threshold. */
static krn_status find_outliers(const krn_cuda_gemm_call *c) {
    const krn_activations *a = c->activations;
    const krn_cuda_find_params params = {
        .x = a->data,
        .found = c->workspace + c->parts.found,
        .columns = (int32_t *)(c->workspace + c->parts.columns),
        .count = (int32_t *)(c->workspace + c->parts.count),
        .ld = a->ld,
        .k = (int32_t)c->weights->layout.desc.k,
        .type = a->type,
        .threshold = c->outlier_threshold,
    };
    const uint32_t rows[3] = {(uint32_t)c->m, 1, 1}, one[3] = {1, 1, 1};
    const char *kernel = a->type == KRN_TYPE_F32 ? "krn_gemm_find_outliers_32" : "krn_gemm_find_outliers_16";
    krn_status status = krn_cuda_memory_set(c->context, params.found, 0, params.k, c->stream);
    if (status == KRN_OK)
        status = krn_cuda_run(c->context, kernel, rows, KRN_CUDA_PREPARE_THREADS, 0, &params, sizeof params, c->stream);
    if (status == KRN_OK)
        status = krn_cuda_run(c->context, "krn_gemm_list_outliers", one, KRN_CUDA_PREPARE_THREADS,
                              KRN_CUDA_PREPARE_THREADS / 32 * 4, &params, sizeof params, c->stream);
    return status;
}

/* Takes the outlier columns out of X: those of the weights, or those that were found. */
static krn_status split_outliers(const krn_cuda_gemm_call *c) {
    const krn_cuda_weights_layout *l = &c->weights->layout;
    const krn_activations *a = c->activations;
    const int searches = c->outlier_threshold > 0;
    const krn_cuda_split_params params = {
        .x = a->data,
        .rest = c->workspace + c->parts.rest,
        .outliers = (float *)(c->workspace + c->parts.outliers),
        .columns = searches ? (const int32_t *)(c->workspace + c->parts.columns)
                            : krn_cuda_weights_section(c->weights, l->outlier_columns_at),
        .count = searches ? (const int32_t *)(c->workspace + c->parts.count) : NULL,
        .device_flags = c->device_flags,
        .ld = a->ld,
        .rest_ld = c->parts.rest_ld,
        .outliers_ld = c->parts.outliers_ld,
        .k = (int32_t)l->desc.k,
        .num_outliers = (int32_t)l->desc.num_outliers,
        .type = a->type,
    };
    const uint32_t blocks[3] = {(uint32_t)c->m, 1, 1};
    const char *kernel = a->type == KRN_TYPE_F32 ? "krn_gemm_split_outliers_32" : "krn_gemm_split_outliers_16";
    const krn_status status = searches ? find_outliers(c) : KRN_OK;
    if (status != KRN_OK)
        return status;
    return krn_cuda_run(c->context, kernel, blocks, KRN_CUDA_PREPARE_THREADS, 0, &params, sizeof params, c->stream);
}

krn_status krn_cuda_gemm_quantize(const krn_cuda_gemm_call *c, krn_activations *quantized) {
    const krn_activations *a = c->activations;
    const int has_outliers = c->parts.outliers_ld > 0, is_u8 = c->compute == KRN_TYPE_U8;
    const krn_quantize_options options = {
        .struct_size = sizeof options,
        .type = c->compute,
        .granularity = KRN_GRANULARITY_TOKEN,
        .asymmetric = is_u8,
        .clip_ratio = 1,
    };
    uint8_t *const codes = c->workspace + c->parts.codes;
    float *const scales = (float *)(c->workspace + c->parts.code_scales);
    int32_t *const zeros = is_u8 ? (int32_t *)(c->workspace + c->parts.code_zeros) : NULL;
    krn_status status = has_outliers ? split_outliers(c) : KRN_OK;
    if (status == KRN_OK)
        status = krn_cuda_quantize(
            c->context, &options, c->m, c->weights->layout.desc.k, a->type,
            has_outliers ? c->workspace + c->parts.rest : a->data, has_outliers ? c->parts.rest_ld : a->ld, codes,
            krn_type_row_bytes(c->compute, c->parts.codes_ld), scales, zeros, NULL, 0, c->device_flags, c->stream);
    *quantized = (krn_activations){.struct_size = sizeof *quantized,
                                   .type = c->compute,
                                   .data = codes,
                                   .ld = c->parts.codes_ld,
                                   .scales = scales,
                                   .zero_points = zeros};
    return status;
}
