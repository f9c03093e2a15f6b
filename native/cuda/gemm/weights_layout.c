#include "cuda/gemm/weights_layout.h"

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }

/* A section of `bytes` bytes at the end; -1 without one. */
static int64_t place(krn_cuda_weights_layout *l, int is_there, int64_t bytes) {
    if (!is_there)
        return -1;
    const int64_t at = l->bytes;
    l->bytes += divide_up(bytes, KRN_CUDA_SECTION_ALIGNMENT) * KRN_CUDA_SECTION_ALIGNMENT;
    return at;
}

/* Flattened groups that cross rows are cut at the rows (weights.h). */
static int64_t group_size_of(const krn_weights_desc *desc) {
    int64_t size = desc->group_size;
    if (desc->flattened != 0 && desc->n > 1)
        size = gcd(desc->k, size);
    return size == 0 || size > desc->k ? desc->k : size;
}

void krn_cuda_weights_place(const krn_weights_desc *desc, int64_t scale_count, krn_cuda_weights_layout *l) {
    *l = (krn_cuda_weights_layout){.desc = *desc, .scale_count = scale_count};
    l->group_size = group_size_of(desc);
    l->num_groups = desc->k == 0 ? 0 : divide_up(desc->k, l->group_size);
    l->group_steps = divide_up(l->group_size, KRN_CUDA_STEP_K);
    const int64_t rest = desc->k - (l->num_groups - 1) * l->group_size;
    if (l->num_groups > 0)
        l->num_steps = (l->num_groups - 1) * l->group_steps + divide_up(rest, KRN_CUDA_STEP_K);
    l->padded_k = divide_up(l->num_steps * KRN_CUDA_STEP_K, KRN_CUDA_TILE_K) * KRN_CUDA_TILE_K;
    l->padded_n = divide_up(desc->n, KRN_CUDA_TILE_CHANNELS) * KRN_CUDA_TILE_CHANNELS;
    const int is_nested = desc->scale_type == KRN_TYPE_U8;
    l->scale_type = desc->scale_type == 0 || is_nested ? KRN_TYPE_F32 : desc->scale_type;
    l->scale_bytes = l->scale_type == KRN_TYPE_F32 ? 4 : 2;
    l->has_order = desc->ordered != 0 || (l->num_groups > 1 && l->group_size % KRN_CUDA_STEP_K != 0);
    l->code_bits = desc->format == KRN_TYPE_S8 ? 8 : 4;

    const int64_t groups = l->num_groups * l->padded_n;
    l->codes_at = place(l, 1, l->padded_n * l->padded_k * l->code_bits / 8);
    l->scales_at = place(l, 1, groups * l->scale_bytes);
    l->zeros_at = place(l, desc->format == KRN_TYPE_U4 && desc->zero_type == 0, groups);
    l->offsets_at = place(l, desc->zero_type != 0, groups * (int64_t)sizeof(float));
    l->code_sums_at = place(l, desc->format != KRN_TYPE_C4, groups * (int64_t)sizeof(int32_t));
    l->order_at = place(l, l->has_order, l->padded_k * (int64_t)sizeof(int32_t));
    l->places_at = place(l, l->has_order, desc->k * (int64_t)sizeof(int32_t));
    l->codebook_at = place(l, desc->format == KRN_TYPE_C4, 16 * (int64_t)sizeof(float));
    l->outlier_columns_at = place(l, desc->num_outliers > 0, desc->num_outliers * (int64_t)sizeof(int32_t));
    l->outlier_weights_at = place(l, desc->num_outliers > 0, desc->num_outliers * l->padded_n * (int64_t)sizeof(float));
}
