/* The door of quantization on devices. */
#include "kernels/cuda_quantize.h"

#include "cuda/common/arguments.h"
#include "cuda/quantize/quantize_codes.h"
#include "quantize/quantize_rows.h"

#include <stdio.h>
#include <string.h>

void krn_cuda_kernel_name(char name[KRN_CUDA_NAME_BYTES], const char *op, int32_t type) {
    const char *suffix = type == KRN_TYPE_F32 ? "f32" : type == KRN_TYPE_F16 ? "f16" : "bf16";
    snprintf(name, KRN_CUDA_NAME_BYTES, "krn_cuda_%s_%s", op, suffix);
}

static krn_cuda_scheme scheme_of(const krn_quantize_options *options) {
    const krn_quantize_scheme s = krn_quantize_scheme_of(options);
    krn_cuda_scheme scheme = {
        .bits = s.bits,
        .asymmetric = s.asymmetric,
        .is_codebook = s.codebook != NULL,
        .scale_type = s.scale_type,
        .q_min = s.q_min,
        .q_max = s.q_max,
        .zero = s.zero,
        .flip = s.flip,
        .clip_ratio = s.clip_ratio,
        .steps = s.steps,
    };
    if (s.codebook != NULL)
        memcpy(scheme.table, s.midpoints, sizeof scheme.table);
    return scheme;
}

/* log2 of a power of two, else -1. */
static int32_t shift_of(int32_t block) {
    int32_t shift = 0;
    while (shift < 31 && (INT64_C(1) << shift) < block)
        shift++;
    return (INT64_C(1) << shift) == block ? shift : -1;
}

krn_cuda_codes krn_cuda_codes_of(const krn_quantize_options *options, int64_t cols, const void *codes,
                                 int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points,
                                 int32_t *device_flags) {
    const int64_t per_row = krn_quantize_blocks_per_row(options, cols);
    const int64_t block = per_row == 1 ? cols : options->group_size;
    /* A lane takes a quad, or an element where groups are not made of quads. */
    const int64_t steps = block % 4 == 0 ? block / 4 : block;
    krn_cuda_codes c = {
        .scheme = scheme_of(options),
        .codes = (uint8_t *)(uintptr_t)codes,
        .scales = (float *)(uintptr_t)scales,
        .zero_points = (int32_t *)(uintptr_t)zero_points,
        .device_flags = device_flags,
        .codes_ld_bytes = codes_ld_bytes,
        .scales_per_row = options->granularity == KRN_GRANULARITY_TENSOR ? 0 : per_row,
        .block = (int32_t)block,
        .block_shift = shift_of((int32_t)block),
        .blocks_per_row = (int32_t)per_row,
        .block_lanes = 1,
        .is_aligned = codes_ld_bytes % 8 == 0,
    };
    while (c.block_lanes < 32 && 2 * c.block_lanes <= steps)
        c.block_lanes *= 2;
    return c;
}

krn_status krn_cuda_check_codes(const krn_quantize_options *options, int64_t rows, int64_t cols, const void *codes,
                                int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points) {
    krn_status status = krn_quantize_check_codes(options, rows, cols, codes, codes_ld_bytes, scales, zero_points);
    if (status == KRN_OK)
        status = krn_cuda_check_tensor("codes", codes, rows * cols);
    return status;
}

krn_status krn_cuda_fill_scales(krn_cuda_context *context, const krn_quantize_options *options, int64_t rows,
                                int64_t cols, float *scales, int32_t *zero_points, float scale, int32_t zero_point,
                                void *stream) {
    const krn_cuda_fill_params params = {scales, zero_points, krn_quantize_count_scales(options, rows, cols), scale,
                                         zero_point};
    if (params.count == 0)
        return KRN_OK;
    const int64_t blocks = (params.count + KRN_CUDA_FLAT_THREADS - 1) / KRN_CUDA_FLAT_THREADS;
    const uint32_t grid[3] = {(uint32_t)krn_min(blocks, 1024), 1, 1};
    return krn_cuda_run(context, "krn_cuda_fill_scales", grid, KRN_CUDA_FLAT_THREADS, 0, &params, sizeof params,
                        stream);
}

/* Rows short enough share a block; the grid is what a device can hold, and walks. */
static void plan_flat(const krn_cuda_context *context, int64_t rows, int32_t cols, krn_cuda_flat_plan *plan,
                      uint32_t grid[3]) {
    const int64_t units = (cols + KRN_CUDA_FLAT_ELEMS - 1) / KRN_CUDA_FLAT_ELEMS;
    *plan = (krn_cuda_flat_plan){.rows = rows, .cols = cols, .row_threads = 1};
    while (plan->row_threads < KRN_CUDA_FLAT_THREADS && plan->row_threads < units)
        plan->row_threads *= 2;
    const int64_t rows_per_block = KRN_CUDA_FLAT_THREADS / plan->row_threads;
    const int64_t most = 8 * (int64_t)context->properties.multiprocessors;
    grid[0] = (uint32_t)krn_min((rows + rows_per_block - 1) / rows_per_block, most);
    grid[1] = (uint32_t)krn_min((units + plan->row_threads - 1) / plan->row_threads, (most - 1) / grid[0] + 1);
    grid[2] = 1;
}

/* What both directions check, before and after the codes. */
static krn_status check_options(const krn_cuda_context *context, const krn_quantize_options *options, int64_t rows,
                                int64_t cols) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_status status = krn_quantize_check_options(options);
    if (status == KRN_OK)
        status = krn_check_shape(rows, cols);
    return status == KRN_OK ? krn_cuda_check_sizes(rows, cols) : status;
}

static krn_status check_floats(const char *type_name, const char *name, const char *ld_name, int32_t type,
                               const void *floats, int64_t ld, int64_t rows, int64_t cols) {
    if (!krn_is_float(type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s is %d, not one of KRN_TYPE_F32, _F16 and _BF16", type_name,
                        type);
    const krn_status status = krn_cuda_check_tensor(name, floats, rows * cols);
    return status != KRN_OK ? status : krn_check_ld(ld_name, ld, rows, cols, krn_element_bytes(type));
}

krn_status krn_cuda_quantize_workspace_size(const krn_quantize_options *options, int64_t *bytes) {
    const krn_status status = krn_quantize_check_options(options);
    if (status != KRN_OK)
        return status;
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    *bytes = options->granularity == KRN_GRANULARITY_TENSOR ? KRN_CUDA_QUANTIZE_WORKSPACE_BYTES : 0;
    return KRN_OK;
}

static krn_status quantize_tensor(krn_cuda_context *context, krn_cuda_flat_params *params, int64_t rows, int64_t cols,
                                  int32_t type, void *stream) {
    char name[KRN_CUDA_NAME_BYTES];
    uint32_t grid[3];
    plan_flat(context, rows, (int32_t)cols, &params->plan, grid);
    krn_status status = krn_cuda_memory_set(context, params->workspace, 0, KRN_CUDA_QUANTIZE_WORKSPACE_BYTES, stream);
    krn_cuda_kernel_name(name, "measure_tensor", type);
    if (status == KRN_OK)
        status = krn_cuda_run(context, name, grid, KRN_CUDA_FLAT_THREADS, KRN_CUDA_FLAT_THREADS / 32 * 8, params,
                              sizeof *params, stream);
    krn_cuda_kernel_name(name, "encode_tensor", type);
    if (status == KRN_OK)
        status = krn_cuda_run(context, name, grid, KRN_CUDA_FLAT_THREADS, 0, params, sizeof *params, stream);
    return status;
}

static krn_status quantize_rows(krn_cuda_context *context, krn_cuda_quantize_params *params, int64_t rows, int64_t cols,
                                int32_t type, void *stream) {
    char name[KRN_CUDA_NAME_BYTES];
    const int64_t row_bytes = cols * krn_element_bytes(type);
    const int64_t room = context->properties.shared_bytes_per_block - KRN_CUDA_ROW_SCRATCH_BYTES - 16;
    params->is_staged = row_bytes <= room;
    params->plan = krn_cuda_plan_rows(rows, (int32_t)cols, params->is_staged ? (int32_t)row_bytes : 0);
    const uint32_t grid[3] = {krn_cuda_row_blocks(&params->plan), 1, 1};
    krn_cuda_kernel_name(name, "quantize_rows", type);
    return krn_cuda_run(context, name, grid, krn_cuda_row_threads(&params->plan),
                        krn_cuda_row_shared_bytes(&params->plan), params, sizeof *params, stream);
}

krn_status krn_cuda_quantize(krn_cuda_context *context, const krn_quantize_options *options, int64_t rows, int64_t cols,
                             int32_t source_type, const void *source, int64_t source_ld, void *codes,
                             int64_t codes_ld_bytes, float *scales, int32_t *zero_points, void *workspace,
                             int64_t workspace_bytes, int32_t *device_flags, void *stream) {
    int64_t needed = 0;
    krn_status status = check_options(context, options, rows, cols);
    if (status == KRN_OK)
        status = check_floats("source_type", "source", "source_ld", source_type, source, source_ld, rows, cols);
    if (status == KRN_OK)
        status = krn_cuda_check_codes(options, rows, cols, codes, codes_ld_bytes, scales, zero_points);
    if (status == KRN_OK)
        status = krn_cuda_quantize_workspace_size(options, &needed);
    if (status == KRN_OK)
        status = krn_cuda_check_workspace(workspace, workspace_bytes, needed);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status != KRN_OK)
        return status;
    if (rows == 0 || cols == 0)
        return krn_cuda_fill_scales(context, options, rows, cols, scales, zero_points, 0,
                                    krn_quantize_scheme_of(options).zero, stream);
    const int64_t ld_bytes = source_ld * krn_element_bytes(source_type);
    const krn_cuda_codes out =
        krn_cuda_codes_of(options, cols, codes, codes_ld_bytes, scales, zero_points, device_flags);
    if (options->granularity == KRN_GRANULARITY_TENSOR) {
        krn_cuda_flat_params params = {.floats = (void *)(uintptr_t)source,
                                       .floats_ld_bytes = ld_bytes,
                                       .is_aligned = ld_bytes % 16 == 0,
                                       .workspace = workspace,
                                       .codes = out};
        return quantize_tensor(context, &params, rows, cols, source_type, stream);
    }
    krn_cuda_quantize_params params = {
        .source = source, .source_ld_bytes = ld_bytes, .is_aligned = ld_bytes % 16 == 0, .codes = out};
    return quantize_rows(context, &params, rows, cols, source_type, stream);
}

krn_status krn_cuda_dequantize(krn_cuda_context *context, const krn_quantize_options *options, int64_t rows,
                               int64_t cols, const void *codes, int64_t codes_ld_bytes, const float *scales,
                               const int32_t *zero_points, int32_t target_type, void *target, int64_t target_ld,
                               void *stream) {
    krn_status status = check_options(context, options, rows, cols);
    if (status == KRN_OK)
        status = check_floats("target_type", "target", "target_ld", target_type, target, target_ld, rows, cols);
    if (status == KRN_OK)
        status = krn_cuda_check_codes(options, rows, cols, codes, codes_ld_bytes, scales, zero_points);
    if (status != KRN_OK || rows == 0 || cols == 0)
        return status;
    char name[KRN_CUDA_NAME_BYTES];
    uint32_t grid[3];
    krn_cuda_flat_params params = {
        .floats = target,
        .floats_ld_bytes = target_ld * krn_element_bytes(target_type),
        .is_aligned = target_ld * krn_element_bytes(target_type) % 16 == 0,
        .has_zero_points = zero_points != NULL,
        .codes = krn_cuda_codes_of(options, cols, codes, codes_ld_bytes, scales, zero_points, NULL),
    };
    if (params.codes.scheme.is_codebook)
        memcpy(params.codes.scheme.table, krn_quantize_scheme_of(options).codebook, sizeof params.codes.scheme.table);
    plan_flat(context, rows, (int32_t)cols, &params.plan, grid);
    krn_cuda_kernel_name(name, "dequantize", target_type);
    return krn_cuda_run(context, name, grid, KRN_CUDA_FLAT_THREADS, 64, &params, sizeof params, stream);
}
