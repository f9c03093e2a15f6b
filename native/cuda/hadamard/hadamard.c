/* The door of Hadamard rotation on devices. */
#include "kernels/cuda_hadamard.h"

#include "cuda/common/arguments.h"
#include "cuda/common/context.h"
#include "cuda/hadamard/hadamard_params.h"
#include "cuda/hadamard/rotation.h"
#include "cuda/quantize/quantize_codes.h"

_Static_assert(sizeof(krn_cuda_hadamard_params) <= 4096, "parameters of a kernel have 4 KiB at most");

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* Blocks of n elements that a thread block takes: a whole number of 32 elements, where that is possible. */
static int32_t tile_of(int32_t n) {
    if (n >= KRN_CUDA_HADAMARD_TILE)
        return n;
    const int32_t blocks = KRN_CUDA_HADAMARD_TILE / n;
    return n * (blocks >= 8 ? blocks / 8 * 8 : blocks);
}

static krn_status check_tensor(const char *name, const char *ld_name, const void *tensor, int32_t type, int64_t rows,
                               int64_t cols, int64_t ld) {
    const krn_status status = krn_cuda_check_tensor(name, tensor, rows * cols);
    return status != KRN_OK ? status : krn_check_ld(ld_name, ld, rows, cols, element_bytes(type));
}

static krn_status check_shared(const krn_cuda_context *context, int64_t needed, int32_t n) {
    if (needed <= context->properties.shared_bytes_per_block)
        return KRN_OK;
    return krn_fail(KRN_ERROR_UNSUPPORTED, "n is %d, which takes %lld bytes of shared memory; %s has %d", n,
                    (long long)needed, context->properties.name, context->properties.shared_bytes_per_block);
}

/* Takes the flag out of the options, which are those of the CPU but for it. */
static int32_t take_flag(const krn_hadamard_options **options, krn_hadamard_options *without) {
    if (*options == NULL || (*options)->struct_size != sizeof **options ||
        (*options)->flags != KRN_CUDA_HADAMARD_TENSOR_CORES)
        return 0;
    *without = **options;
    without->flags = 0;
    *options = without;
    return 1;
}

krn_status krn_cuda_hadamard(krn_cuda_context *context, const krn_hadamard_options *options, int64_t rows, int64_t cols,
                             int32_t type, const void *source, int64_t source_ld, void *target, int64_t target_ld,
                             void *stream) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_hadamard_options without_flag;
    int32_t has_matrices = take_flag(&options, &without_flag);
    krn_cuda_hadamard_params params;
    krn_status status = krn_cuda_rotation_of(options, &params.rotation);
    if (status == KRN_OK && !krn_is_float(type))
        status = krn_fail(KRN_ERROR_INVALID_ARGUMENT, "type is %d, not one of KRN_TYPE_F32, _F16 and _BF16", type);
    if (status == KRN_OK)
        status = krn_check_shape(rows, cols);
    if (status == KRN_OK && cols % params.rotation.n != 0)
        status = krn_fail(KRN_ERROR_SHAPE, "cols is %lld, not a multiple of options->n, %d", (long long)cols,
                          params.rotation.n);
    if (status == KRN_OK)
        status = check_tensor("source", "source_ld", source, type, rows, cols, source_ld);
    if (status == KRN_OK)
        status = check_tensor("target", "target_ld", target, type, rows, cols, target_ld);
    if (status == KRN_OK && source == target && source_ld != target_ld && rows * cols > 0)
        status = krn_fail(KRN_ERROR_LEADING_DIMENSION, "target_ld is %lld, but target is source, whose is %lld",
                          (long long)target_ld, (long long)source_ld);
    if (status != KRN_OK || rows * cols == 0)
        return status;
    /* Rows behind each other are one row. */
    if (source_ld == cols && target_ld == cols) {
        cols *= rows;
        rows = 1;
    }
    params.source = source;
    params.target = target;
    params.source_ld_bytes = source_ld * element_bytes(type);
    params.target_ld_bytes = target_ld * element_bytes(type);
    params.cols = cols;
    params.is_aligned = rows == 1 || (params.source_ld_bytes % 16 == 0 && params.target_ld_bytes % 16 == 0);
    params.tile = tile_of(params.rotation.n);
    if (params.tile > cols)
        params.tile = (int32_t)cols;
    const int64_t tiles = (cols + params.tile - 1) / params.tile;
    if (tiles > INT32_MAX / rows)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "rows x cols is %lld x %lld, more than a launch takes", (long long)rows,
                        (long long)cols);
    params.tiles_per_row = (int32_t)tiles;
    uint32_t threads = 0;
    int32_t shared_bytes = (params.tile + 31) / 32 * KRN_CUDA_ROTATION_ROW_BYTES;
    status = krn_cuda_rotation_threads(&params.rotation, params.tile, &threads);
    if (status == KRN_OK)
        status = check_shared(context, shared_bytes, params.rotation.n);
    if (status != KRN_OK)
        return status;
    has_matrices = has_matrices && type != KRN_TYPE_F32 && krn_cuda_rotation_cut_for_matrices(&params.rotation);
    /* What begins and ends in the same registers. */
    if (has_matrices && params.rotation.pass_levels[0] == 0 && params.rotation.num_bases == 0)
        shared_bytes = 0;
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {(uint32_t)(rows * tiles), 1, 1};
    krn_cuda_kernel_name(name, has_matrices ? "hadamard_mma" : "hadamard", type);
    return krn_cuda_run(context, name, grid, threads, (uint32_t)shared_bytes, &params, sizeof params, stream);
}
