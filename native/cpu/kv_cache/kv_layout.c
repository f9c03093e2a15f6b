/* From a description to offsets, and whether a description is one. */
#include "kv_cache/kv_layout.h"

#include "common/status.h"
#include "kv_cache/kv_memory.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

enum { LINE = 64 };

static int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int32_t krn_kv_bits(int32_t type) {
    switch (type) {
    case KRN_TYPE_F32: return 32;
    case KRN_TYPE_BF16: return 16;
    case KRN_TYPE_S8:
    case KRN_TYPE_F8E4M3: return 8;
    case KRN_TYPE_S4:
    case KRN_TYPE_U4: return 4;
    default: return 0;
    }
}

/* A scale, and for u4 a zero point, for each of `count` elements; zero points round up to 16 bytes. */
static int64_t scale_bytes(int32_t type, int64_t count) {
    const int64_t zero_point_bytes = type == KRN_TYPE_U4 ? round_up(count, KRN_KV_BLOCK) : 0;
    return count * (int64_t)sizeof(float) + zero_point_bytes;
}

/* Scales of a head of a page whose scales are per token, or static. */
static int64_t token_scale_bytes(const krn_kv_cache_desc *desc, int32_t type, int32_t granularity) {
    return krn_kv_bits(type) > 8 || granularity == KRN_KV_STATIC ? 0 : scale_bytes(type, desc->page_tokens);
}

krn_kv_layout krn_kv_layout_of(const krn_kv_cache_desc *desc) {
    krn_kv_layout layout = {
        .head_dim = desc->head_dim,
        .value_dim = (int32_t)round_up(desc->head_dim, KRN_KV_BLOCK),
        .kv_heads = desc->kv_heads,
        .page_tokens = desc->page_tokens,
        .table_pages = (desc->max_tokens + desc->page_tokens - 1) / desc->page_tokens,
    };
    const int64_t blocks = desc->page_tokens / KRN_KV_BLOCK;
    layout.key_block_bytes = (int64_t)layout.head_dim * KRN_KV_BLOCK * krn_kv_bits(desc->key_type) / 8;
    layout.value_block_bytes = (int64_t)layout.value_dim * KRN_KV_BLOCK * krn_kv_bits(desc->value_type) / 8;
    if (desc->key_granularity == KRN_KV_CHANNEL) {
        layout.key_group_bytes = scale_bytes(desc->key_type, layout.head_dim);
        layout.key_scale_bytes = desc->page_tokens / desc->key_group * layout.key_group_bytes;
        layout.tail_bytes = (int64_t)desc->kv_heads * desc->key_group * layout.head_dim * (int64_t)sizeof(float);
    } else {
        layout.key_scale_bytes = token_scale_bytes(desc, desc->key_type, desc->key_granularity);
    }
    layout.value_scale_bytes = token_scale_bytes(desc, desc->value_type, desc->value_granularity);
    layout.key_scales_at = blocks * layout.key_block_bytes;
    layout.value_codes_at = layout.key_scales_at + layout.key_scale_bytes;
    layout.value_scales_at = layout.value_codes_at + blocks * layout.value_block_bytes;
    layout.head_bytes = round_up(layout.value_scales_at + layout.value_scale_bytes, LINE);
    layout.page_bytes = layout.head_bytes * desc->kv_heads;
    if (desc->center_keys)
        layout.mean_bytes = (int64_t)desc->kv_heads * layout.head_dim * (int64_t)sizeof(float);
    return layout;
}

int64_t krn_kv_pages(const krn_kv_cache_desc *desc, const krn_kv_layout *layout) {
    return desc->pages != 0 ? desc->pages : desc->sequences * layout->table_pages;
}

krn_kv_parts krn_kv_parts_of(const krn_kv_cache_desc *desc, const krn_kv_layout *layout) {
    const int64_t pages = krn_kv_pages(desc, layout), sequences = desc->sequences;
    krn_kv_parts parts = {.tails = round_up(pages * layout->page_bytes, LINE)};
    parts.means = round_up(parts.tails + sequences * layout->tail_bytes, LINE);
    parts.tables = round_up(parts.means + sequences * layout->mean_bytes, LINE);
    parts.table_bytes = (3 * sequences + 1) * (int64_t)sizeof(int64_t) +
                        sequences * (4 + layout->table_pages) * (int64_t)sizeof(int32_t) +
                        5 * pages * (int64_t)sizeof(int32_t) + 4 * (int64_t)desc->kv_heads * (int64_t)sizeof(int32_t);
    parts.total = round_up(parts.tables + parts.table_bytes, LINE);
    return parts;
}

krn_status krn_kv_cache_bytes(const krn_kv_cache_desc *desc, krn_kv_cache_sizes *sizes) {
    const krn_status status = krn_kv_check_desc(desc, 0);
    if (status != KRN_OK)
        return status;
    if (sizes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "sizes is NULL");
    if (sizes->struct_size != sizeof *sizes)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "sizes->struct_size is %u, this library knows %u", sizes->struct_size,
                        (unsigned)sizeof *sizes);
    if (sizes->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "sizes->reserved is %d, must be 0", sizes->reserved);
    const krn_kv_layout layout = krn_kv_layout_of(desc);
    const krn_kv_parts parts = krn_kv_parts_of(desc, &layout);
    const int64_t heads = krn_kv_pages(desc, &layout) * desc->kv_heads;
    const int64_t blocks = heads * (desc->page_tokens / KRN_KV_BLOCK);
    sizes->key_codes = blocks * layout.key_block_bytes;
    sizes->value_codes = blocks * layout.value_block_bytes;
    sizes->key_scales = heads * layout.key_scale_bytes;
    sizes->value_scales = heads * layout.value_scale_bytes;
    sizes->tails = desc->sequences * layout.tail_bytes;
    sizes->means = desc->sequences * layout.mean_bytes;
    sizes->tables = parts.table_bytes;
    sizes->total = parts.total;
    sizes->padding = parts.total - (sizes->key_codes + sizes->value_codes + sizes->key_scales + sizes->value_scales +
                                    sizes->tails + sizes->means + sizes->tables);
    return KRN_OK;
}

static krn_status check_range(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->%s is %lld, not in %lld..%lld", name, (long long)value,
                        (long long)low, (long long)high);
    return KRN_OK;
}

static krn_status check_format(const char *name, int32_t type, int32_t granularity) {
    if (krn_kv_bits(type) == 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->%s_type is %d, not one of KRN_TYPE_F32, _BF16, _S8, _S4, _U4 and _F8E4M3", name, type);
    if (granularity < KRN_KV_TOKEN || granularity > KRN_KV_STATIC)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->%s_granularity is %d, which is not a krn_kv_granularity",
                        name, granularity);
    if (krn_kv_bits(type) > 8 && granularity != KRN_KV_TOKEN)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->%s_granularity is %d, but a type without scales takes KRN_KV_TOKEN", name, granularity);
    return KRN_OK;
}

static krn_status check_channels(const krn_kv_cache_desc *desc) {
    if (desc->value_granularity == KRN_KV_CHANNEL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->value_granularity is KRN_KV_CHANNEL, which is for keys alone");
    if (desc->key_granularity != KRN_KV_CHANNEL) {
        if (desc->key_group != 0)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->key_group is %d, must be 0 but for KRN_KV_CHANNEL",
                            desc->key_group);
        return KRN_OK;
    }
    if (desc->key_type == KRN_TYPE_F8E4M3)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->key_granularity is KRN_KV_CHANNEL, which FP8 does not take");
    if (desc->key_group < KRN_KV_BLOCK || desc->key_group > KRN_KV_MAX_GROUP || desc->key_group % KRN_KV_BLOCK != 0 ||
        desc->page_tokens % desc->key_group != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "desc->key_group is %d, not a multiple of 16 of at most 128 that divides page_tokens",
                        desc->key_group);
    return KRN_OK;
}

static krn_status check_flag(const char *name, int32_t value) { return check_range(name, value, 0, 1); }

static krn_status check_static(const char *name, const krn_kv_cache_desc *desc, int32_t type, int32_t granularity,
                               const float *scales, const int32_t *zero_points) {
    if (granularity != KRN_KV_STATIC) {
        if (scales != NULL || zero_points != NULL)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->%s_%s must be NULL but for KRN_KV_STATIC", name,
                            scales != NULL ? "scales" : "zero_points");
        return KRN_OK;
    }
    if (scales == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "desc->%s_scales is NULL", name);
    if (zero_points != NULL && type != KRN_TYPE_U4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->%s_zero_points must be NULL but for KRN_TYPE_U4", name);
    for (int32_t head = 0; head < desc->kv_heads; head++) {
        if (!isfinite(scales[head]))
            return krn_fail(KRN_ERROR_NON_FINITE, "desc->%s_scales[%d] is not finite", name, head);
        if (scales[head] < FLT_MIN)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->%s_scales[%d] is %g, must be at least 2^-126", name,
                            head, (double)scales[head]);
        if (zero_points != NULL && (zero_points[head] < 0 || zero_points[head] > 15))
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->%s_zero_points[%d] is %d, not in 0..15", name, head,
                            zero_points[head]);
    }
    return KRN_OK;
}

/* That all of it fits the address space: after the other checks no product before the last can overflow. */
static krn_status check_size(const krn_kv_cache_desc *desc) {
    const krn_kv_layout layout = krn_kv_layout_of(desc);
    const int64_t pages = krn_kv_pages(desc, &layout);
    const krn_status status = check_range("pages", pages, 1, INT64_C(1) << 30);
    if (status != KRN_OK)
        return status;
    if (pages > (INT64_C(1) << 60) / layout.page_bytes)
        return krn_fail(KRN_ERROR_SHAPE, "%lld pages of %lld bytes do not fit the address space", (long long)pages,
                        (long long)layout.page_bytes);
    return KRN_OK;
}

static krn_status check_shape(const krn_kv_cache_desc *desc) {
    krn_status status = check_range("sequences", desc->sequences, 1, 1 << 20);
    if (status == KRN_OK)
        status = check_range("kv_heads", desc->kv_heads, 1, 4096);
    if (status == KRN_OK)
        status = check_range("head_dim", desc->head_dim, 8, KRN_KV_MAX_HEAD_DIM);
    if (status == KRN_OK && desc->head_dim % 8 != 0)
        status = krn_fail(KRN_ERROR_INVALID_ARGUMENT, "desc->head_dim is %d, not a multiple of 8", desc->head_dim);
    if (status == KRN_OK)
        status = check_range("max_tokens", desc->max_tokens, 1, 1 << 30);
    if (status == KRN_OK)
        status = check_range("page_tokens", desc->page_tokens, KRN_KV_BLOCK, (1 << 30) + KRN_KV_BLOCK);
    const int64_t tokens = desc->page_tokens;
    if (status == KRN_OK && tokens != 16 && tokens != 32 && tokens != 64 && tokens != 128 &&
        (tokens % KRN_KV_BLOCK != 0 || tokens < desc->max_tokens))
        status = krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                          "desc->page_tokens is %lld, neither 16, 32, 64 or 128 nor a multiple of 16 that holds "
                          "max_tokens",
                          (long long)tokens);
    if (status == KRN_OK)
        status = check_range("pages", desc->pages, 0, 1 << 30);
    return status;
}

krn_status krn_kv_check_desc(const krn_kv_cache_desc *desc, int with_scales) {
    if (desc == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "desc is NULL");
    if (desc->struct_size != sizeof *desc)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "desc->struct_size is %u, this library knows %u", desc->struct_size,
                        (unsigned)sizeof *desc);
    krn_status status = check_shape(desc);
    if (status == KRN_OK)
        status = check_format("key", desc->key_type, desc->key_granularity);
    if (status == KRN_OK)
        status = check_format("value", desc->value_type, desc->value_granularity);
    if (status == KRN_OK)
        status = check_channels(desc);
    if (status == KRN_OK)
        status = check_flag("rotate_keys", desc->rotate_keys);
    if (status == KRN_OK)
        status = check_flag("center_keys", desc->center_keys);
    if (status == KRN_OK)
        status = check_range("reserved", desc->reserved, 0, 0);
    if (status == KRN_OK)
        status = check_size(desc);
    if (status == KRN_OK && with_scales)
        status =
            check_static("key", desc, desc->key_type, desc->key_granularity, desc->key_scales, desc->key_zero_points);
    if (status == KRN_OK && with_scales)
        status = check_static("value", desc, desc->value_type, desc->value_granularity, desc->value_scales,
                              desc->value_zero_points);
    return status;
}
