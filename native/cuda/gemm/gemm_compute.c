/* What is made of float activations before the product: their projections by an adapter and, with `compute`, codes. */
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
        .threshold = c->options->outlier_threshold,
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
    const int searches = c->options->outlier_threshold > 0;
    const krn_cuda_split_params params = {
        .x = a->data,
        .rest = c->workspace + c->parts.rest,
        .outliers = (float *)(c->workspace + c->parts.side),
        .columns = searches ? (const int32_t *)(c->workspace + c->parts.columns)
                            : krn_cuda_weights_section(c->weights, l->outlier_columns_at),
        .count = searches ? (const int32_t *)(c->workspace + c->parts.count) : NULL,
        .device_flags = c->device_flags,
        .ld = a->ld,
        .rest_ld = c->parts.rest_ld,
        .outliers_ld = c->parts.side_ld,
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

krn_status krn_cuda_gemm_project(const krn_cuda_gemm_call *c) {
    const krn_cuda_weights_layout *l = &c->weights->layout;
    const krn_activations *a = c->activations;
    const krn_lora *lora = c->options->lora;
    const krn_cuda_project_params params = {
        .x = a->data,
        .a = lora->a,
        .to = (float *)(c->workspace + c->parts.side) + c->parts.num_outliers,
        .x_ld = a->ld,
        .a_ld = lora->a_ld,
        .to_ld = c->parts.side_ld,
        .m = (int32_t)c->m,
        .k = (int32_t)l->desc.k,
        .rank = c->parts.rank,
        .x_type = a->type,
        .a_type = lora->type,
        .scale = lora->scale,
    };
    const krn_cuda_turn_params turn = {
        .b = lora->b,
        .to = (float *)(c->workspace + c->parts.adapter),
        .b_ld = lora->b_ld,
        .to_ld = l->padded_n,
        .n = (int32_t)l->desc.n,
        .rank = c->parts.rank,
        .type = lora->type,
    };
    const int64_t rows = c->m <= KRN_CUDA_PROJECT_FEW_ROWS ? 1 : KRN_CUDA_PROJECT_ROWS;
    const char *kernel = rows == 1 ? "krn_gemm_project_row" : "krn_gemm_project_rows";
    const uint32_t ranks = (uint32_t)((params.rank - 1) / KRN_CUDA_PROJECT_RANKS + 1);
    const uint32_t blocks[3] = {(uint32_t)((c->m - 1) / rows + 1), ranks, 1};
    const uint32_t turning[3] = {(uint32_t)((turn.n - 1) / KRN_CUDA_PREPARE_THREADS + 1), ranks, 1};
    const krn_status status =
        krn_cuda_run(c->context, kernel, blocks, KRN_CUDA_PREPARE_THREADS, 0, &params, sizeof params, c->stream);
    if (status != KRN_OK)
        return status;
    return krn_cuda_run(c->context, "krn_gemm_turn_adapter", turning, KRN_CUDA_PREPARE_THREADS, 0, &turn, sizeof turn,
                        c->stream);
}

krn_status krn_cuda_gemm_quantize(const krn_cuda_gemm_call *c, krn_activations *quantized) {
    const krn_activations *a = c->activations;
    const int has_outliers = c->parts.num_outliers > 0, is_u8 = c->options->compute == KRN_TYPE_U8;
    const krn_quantize_options options = {
        .struct_size = sizeof options,
        .type = c->options->compute,
        .granularity = KRN_GRANULARITY_TOKEN,
        .asymmetric = is_u8,
        .clip_ratio = 1,
    };
    uint8_t *const codes = c->workspace + c->parts.codes;
    float *const scales = (float *)(c->workspace + c->parts.code_scales);
    int32_t *const zeros = is_u8 ? (int32_t *)(c->workspace + c->parts.code_zeros) : NULL;
    krn_status status = has_outliers ? split_outliers(c) : KRN_OK;
    if (status == KRN_OK)
        status = krn_cuda_quantize(c->context, &options, c->m, c->weights->layout.desc.k, a->type,
                                   has_outliers ? c->workspace + c->parts.rest : a->data,
                                   has_outliers ? c->parts.rest_ld : a->ld, codes,
                                   krn_type_row_bytes(c->options->compute, c->parts.codes_ld), scales, zeros, NULL, 0,
                                   c->device_flags, c->stream);
    *quantized = (krn_activations){.struct_size = sizeof *quantized,
                                   .type = c->options->compute,
                                   .data = codes,
                                   .ld = c->parts.codes_ld,
                                   .scales = scales,
                                   .zero_points = zeros};
    return status;
}
