#include "gemm/layout.h"

#include "common/status.h"

#include <stddef.h>

/* Keeps every product of sizes below 2^62. */
#define MAX_DIMENSION ((int64_t)1 << 30)
enum { MIN_GROUP_SIZE = 16 };

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static krn_status check(const krn_weights_desc *desc) {
    if (desc == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "desc is NULL");
    if (desc->struct_size != sizeof *desc)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "desc->struct_size is %u, this library knows %u", desc->struct_size,
                        (unsigned)sizeof *desc);
    if (desc->format != KRN_TYPE_S8 && desc->format != KRN_TYPE_S4 && desc->format != KRN_TYPE_U4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->format is %d, not KRN_TYPE_S8, KRN_TYPE_S4 or KRN_TYPE_U4",
                        desc->format);
    if (desc->n < 0 || desc->n > MAX_DIMENSION)
        return krn_fail(KRN_ERROR_SHAPE, "desc->n is %lld, not in 0..2^30", (long long)desc->n);
    if (desc->k < 0 || desc->k > MAX_DIMENSION)
        return krn_fail(KRN_ERROR_SHAPE, "desc->k is %lld, not in 0..2^30", (long long)desc->k);
    if (desc->group_size != 0 && desc->group_size < MIN_GROUP_SIZE)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->group_size is %lld, must be 0 (per channel) or at least %d",
                        (long long)desc->group_size, MIN_GROUP_SIZE);
    return KRN_OK;
}

krn_status krn_layout_of(const krn_weights_desc *desc, krn_layout *layout) {
    const krn_status status = check(desc);
    if (status != KRN_OK)
        return status;
    krn_layout l = {.format = desc->format, .n = desc->n, .k = desc->k};
    l.group_size = desc->group_size == 0 || desc->group_size > desc->k ? desc->k : desc->group_size;
    if (l.group_size == 0)
        l.group_size = 1;
    l.num_groups = divide_up(l.k, l.group_size);
    l.block_k = l.format == KRN_TYPE_S8 ? 4 : 8;
    l.group_blocks = divide_up(l.group_size, l.block_k);
    l.num_panels = divide_up(l.n, KRN_PANEL_CHANNELS);
    if (l.num_groups > 0) {
        l.last_group_blocks = divide_up(l.k - (l.num_groups - 1) * l.group_size, l.block_k);
        l.padded_k = ((l.num_groups - 1) * l.group_blocks + l.last_group_blocks) * l.block_k;
        l.panel_bytes = krn_layout_group_offset(&l, l.num_groups - 1) + krn_layout_group_bytes(&l, l.last_group_blocks);
    }
    l.packed_bytes = l.num_panels * l.panel_bytes;
    *layout = l;
    return KRN_OK;
}
