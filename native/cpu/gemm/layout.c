#include "gemm/layout.h"

#include "common/status.h"

#include <stddef.h>

/* Keeps every product of sizes below 2^62. */
#define MAX_DIMENSION ((int64_t)1 << 30)
enum { MIN_GROUP_SIZE = 16 };

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t align_up(int64_t bytes) { return divide_up(bytes, KRN_TABLE_ALIGNMENT) * KRN_TABLE_ALIGNMENT; }

static int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }

static int is_float(int32_t type) { return type == KRN_TYPE_F32 || type == KRN_TYPE_F16 || type == KRN_TYPE_BF16; }

static krn_status check_format(const krn_weights_desc *desc) {
    if (desc->format != KRN_TYPE_S8 && desc->format != KRN_TYPE_S4 && desc->format != KRN_TYPE_U4 &&
        desc->format != KRN_TYPE_C4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->format is %d, not KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4 or KRN_TYPE_C4", desc->format);
    if (desc->scale_type != 0 && !is_float(desc->scale_type) && desc->scale_type != KRN_TYPE_U8)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->scale_type is %d, not 0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16 or KRN_TYPE_U8",
                        desc->scale_type);
    if (desc->zero_type != 0 && !is_float(desc->zero_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->zero_type is %d, not 0, KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16", desc->zero_type);
    if (desc->zero_type != 0 && desc->format == KRN_TYPE_C4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->zero_type must be 0 for KRN_TYPE_C4");
    if (desc->flattened != 0 && desc->flattened != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->flattened is %d, neither 0 nor 1", desc->flattened);
    if (desc->ordered != 0 && desc->ordered != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->ordered is %d, neither 0 nor 1", desc->ordered);
    if (desc->flattened != 0 && (desc->ordered != 0 || desc->group_size == 0))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->flattened needs a group_size, and must be 0 with ordered");
    return KRN_OK;
}

static krn_status check_outliers(const krn_weights_desc *desc) {
    if (desc->num_outliers < 0 || desc->num_outliers > desc->k)
        return krn_fail(KRN_ERROR_SHAPE, "desc->num_outliers is %lld, not in 0..K, which is %lld",
                        (long long)desc->num_outliers, (long long)desc->k);
    if (desc->num_outliers > 0 && desc->format == KRN_TYPE_C4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->num_outliers must be 0 for KRN_TYPE_C4");
    if (desc->outlier_type != 0 && (desc->num_outliers == 0 || !is_float(desc->outlier_type)))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->outlier_type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16, or 0 without "
                        "outlier columns",
                        desc->outlier_type);
    return KRN_OK;
}

static krn_status check(const krn_weights_desc *desc) {
    if (desc == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "desc is NULL");
    if (desc->struct_size != sizeof *desc)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "desc->struct_size is %u, this library knows %u", desc->struct_size,
                        (unsigned)sizeof *desc);
    if (desc->n < 0 || desc->n > MAX_DIMENSION)
        return krn_fail(KRN_ERROR_SHAPE, "desc->n is %lld, not in 0..2^30", (long long)desc->n);
    if (desc->k < 0 || desc->k > MAX_DIMENSION)
        return krn_fail(KRN_ERROR_SHAPE, "desc->k is %lld, not in 0..2^30", (long long)desc->k);
    if (desc->group_size != 0 && desc->group_size < MIN_GROUP_SIZE)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->group_size is %lld, must be 0 (per channel) or at least %d",
                        (long long)desc->group_size, MIN_GROUP_SIZE);
    if (desc->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->reserved is %d, must be 0", desc->reserved);
    krn_status status = check_format(desc);
    if (status == KRN_OK)
        status = check_outliers(desc);
    if (status != KRN_OK)
        return status;
    if (desc->flattened != 0 && desc->n > 1 && desc->k > 0 && gcd(desc->k, desc->group_size) < MIN_GROUP_SIZE)
        return krn_fail(KRN_ERROR_SHAPE,
                        "desc->k is %lld: flattened groups of %lld cross rows at every multiple of %lld elements, "
                        "but a group has at least %d",
                        (long long)desc->k, (long long)desc->group_size, (long long)gcd(desc->k, desc->group_size),
                        MIN_GROUP_SIZE);
    return KRN_OK;
}

/* Inputs of a group of a channel. */
static int64_t group_size_of(const krn_weights_desc *desc) {
    int64_t size = desc->group_size;
    if (desc->flattened != 0 && desc->n > 1)
        size = gcd(desc->k, size);
    if (size == 0 || size > desc->k)
        size = desc->k;
    return size == 0 ? 1 : size;
}

static void place_panels(krn_layout *l) {
    l->scales_bytes = krn_layout_is_nested(l) ? 0 : KRN_PANEL_CHANNELS * krn_float_bytes(l->scale_type);
    l->zeros_bytes = l->format == KRN_TYPE_U4 && l->zero_type == 0 ? KRN_ZEROS_BYTES : 0;
    l->num_panels = divide_up(l->n, KRN_PANEL_CHANNELS);
    if (l->num_groups == 0)
        return;
    const int64_t per_group = KRN_PANEL_CHANNELS * l->num_groups;
    l->offsets_at = krn_layout_is_nested(l) ? align_up(per_group) : 0;
    l->groups_at = l->offsets_at + (l->zero_type != 0 ? per_group * krn_float_bytes(l->zero_type) : 0);
    l->panel_bytes = krn_layout_group_offset(l, l->num_groups - 1) + krn_layout_group_bytes(l, l->last_group_blocks);
}

static void place_tables(krn_layout *l) {
    int64_t at = l->num_panels * l->panel_bytes;
    l->codebook_at = at;
    at += l->format == KRN_TYPE_C4 ? KRN_CODEBOOK_SIZE * (int64_t)sizeof(float) : 0;
    l->map_at = at;
    if (krn_layout_is_nested(l)) {
        l->num_nested = divide_up(l->num_scales, KRN_NESTED_BLOCK);
        /* The offset stands before the map, in a line of its own. */
        at += KRN_TABLE_ALIGNMENT + KRN_SCALE_MAP_SIZE * (int64_t)sizeof(float);
        l->nested_at = at;
        at += align_up(l->num_nested * (int64_t)sizeof(float));
    }
    l->permutation_at = at;
    at += l->ordered ? align_up(l->k * (int64_t)sizeof(int32_t)) : 0;
    l->outliers_at = at;
    at += krn_layout_outliers_bytes(l) * (l->ordered ? 2 : 1);
    l->outlier_weights_at = at;
    l->packed_bytes = krn_layout_outlier_panel(l, l->num_panels);
}

krn_status krn_layout_of(const krn_weights_desc *desc, krn_layout *layout) {
    const krn_status status = check(desc);
    if (status != KRN_OK)
        return status;
    krn_layout l = {.format = desc->format,
                    .scale_type = desc->scale_type == 0 ? KRN_TYPE_F32 : desc->scale_type,
                    .zero_type = desc->zero_type,
                    .ordered = desc->ordered,
                    .num_outliers = desc->num_outliers,
                    .outlier_type =
                        desc->num_outliers > 0 && desc->outlier_type == 0 ? KRN_TYPE_F32 : desc->outlier_type,
                    .n = desc->n,
                    .k = desc->k,
                    .group_size = group_size_of(desc),
                    .block_k = desc->format == KRN_TYPE_S8 ? 4 : 8};
    l.num_groups = divide_up(l.k, l.group_size);
    if (desc->flattened != 0 && desc->n > 1 && desc->k % desc->group_size != 0)
        l.flat_size = desc->group_size;
    l.num_scales = l.flat_size > 0 ? divide_up(l.n * l.k, l.flat_size) : l.n * l.num_groups;
    l.group_blocks = divide_up(l.group_size, l.block_k);
    if (l.num_groups > 0) {
        l.last_group_blocks = divide_up(l.k - (l.num_groups - 1) * l.group_size, l.block_k);
        l.padded_k = ((l.num_groups - 1) * l.group_blocks + l.last_group_blocks) * l.block_k;
    }
    place_panels(&l);
    place_tables(&l);
    *layout = l;
    return KRN_OK;
}
