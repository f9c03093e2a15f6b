/* A block of 64 tokens on its way to shared memory. */
#ifndef KRN_CUDA_ATTENTION_STAGE_H
#define KRN_CUDA_ATTENTION_STAGE_H

#include "cuda/attention/attention_rows.cuh"
#include "cuda/ptx/copy_async.h"

namespace kernels {

/* A block of tokens in shared memory. Keys and values lie as in a page, unit behind unit of 16 tokens; but for f32, chunks
 * of 16 bytes change places, so that the lanes of a warp read different banks. */
struct Stage {
    ptx::SharedAddress keys, values, scales, channels;

    KRN_DEVICE_MEMBER ptx::SharedAddress key_scale(int32_t token) const {
        return scales + 4 * static_cast<uint32_t>(token);
    }
    KRN_DEVICE_MEMBER ptx::SharedAddress value_scale(int32_t token) const {
        return scales + 4 * static_cast<uint32_t>(BLOCK + token);
    }
    KRN_DEVICE_MEMBER ptx::SharedAddress key_zero(int32_t token) const {
        return scales + static_cast<uint32_t>(8 * BLOCK + token);
    }
    KRN_DEVICE_MEMBER ptx::SharedAddress value_zero(int32_t token) const {
        return scales + static_cast<uint32_t>(9 * BLOCK + token);
    }
};

KRN_DEVICE Stage stage_of(const krn_cuda_attention_space &space, int32_t index) {
    const ptx::SharedAddress base =
        ptx::shared_base() + static_cast<uint32_t>(space.stages_at + index * space.stage_bytes);
    return {base, base + static_cast<uint32_t>(space.values_at), base + static_cast<uint32_t>(space.scales_at),
            base + static_cast<uint32_t>(space.channels_at)};
}

/* Where chunk c of row q of integer keys lies: rows q and q + 2 of 64 bytes would share banks. */
KRN_DEVICE int32_t swizzled_key(int32_t q, int32_t c) { return 4 * q + (c ^ (q >> 1 & 1) << 1); }

/* The same for a row of values: the lanes of a quarter of a warp read two chunks of each of four rows (of 8
 * bits: of every other). */
template <int32_t type> KRN_DEVICE int32_t swizzled_value(int32_t row, int32_t c) {
    return type == KRN_TYPE_F32 ? c : c ^ (type == KRN_TYPE_S8 ? row >> 1 & 3 : row & 3) << 1;
}

/* Of keys with scales of their channels: the first unit of a block, which begins at `first`, that is of the same group as
 * `unit`. */
KRN_DEVICE int32_t slot_of(const krn_cuda_attention_params &p, int32_t first, int32_t unit) {
    const int32_t group = p.cache.keys.group, start = (first + UNIT * unit) / group * group;
    return start <= first ? 0 : (start - first) / UNIT;
}

/* Starts the copies of a block; warp w takes unit w. What lies behind the length of the sequence becomes zeros. Keys of
 * tokens in the tail are none of the stage. */
template <int32_t key_type, int32_t value_type, bool is_by_channel>
KRN_DEVICE void fetch(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage, int32_t first) {
    const krn_cuda_kv_section &keys = p.cache.keys, &values = p.cache.values;
    const int32_t unit = ptx::warp(), token = first + UNIT * unit, lane = ptx::lane();
    const uint8_t *page = nullptr;
    if (token < tile.entry.length) {
        page = kv_head(p.cache, tile.entry.sequence, token, tile.kv_head);
        if (page == nullptr)
            raise_flag(p.device_flags, KRN_CUDA_FLAG_PAGES);
    }
    const int32_t valid = page != nullptr ? 16 : 0, at = token % p.cache.page_tokens;
    page = page != nullptr ? page : p.cache.pool;
    const int64_t unit_of_page = valid != 0 ? at / UNIT : 0;
    const uint8_t *from = page + keys.codes_at + unit_of_page * keys.block_bytes;
    const int32_t key_chunks = static_cast<int32_t>(keys.block_bytes) / 16;
    const ptx::SharedAddress to = stage.keys + static_cast<uint32_t>(unit * static_cast<int32_t>(keys.block_bytes));
    const bool is_paged = !is_by_channel || token < kv_paged_keys(p.cache, tile.entry.length);
    KRN_UNROLL_NONE
    for (int32_t c = lane; c < key_chunks && is_paged; c += 32) {
        const int32_t target = key_type == KRN_TYPE_F32 ? c : swizzled_key(c / 4, c % 4);
        ptx::cp_async_16(to + 16 * static_cast<uint32_t>(target), from + 16 * c, valid);
    }
    if (is_by_channel && is_paged && slot_of(p, first, unit) == unit) {
        const int32_t bytes = keys.group_bytes, group_of_page = valid != 0 ? at / keys.group : 0;
        from = page + keys.scales_at + group_of_page * bytes;
        for (int32_t c = lane; c < bytes / 16; c += 32)
            ptx::cp_async_16(stage.channels + static_cast<uint32_t>(unit * bytes + 16 * c), from + 16 * c, valid);
    }
    constexpr int32_t VALUE_ROWS = UNIT * bits_of_type(value_type) / 32;
    const int32_t row_chunks = values.stored_dim / 4;
    from = page + values.codes_at + unit_of_page * values.block_bytes;
    KRN_UNROLL_NONE
    for (int32_t row = 0; row < VALUE_ROWS; row++) {
        const int32_t row_of_block = unit * VALUE_ROWS + row;
        const ptx::SharedAddress row_at = stage.values + static_cast<uint32_t>(row_of_block * p.space.value_row_bytes);
        for (int32_t c = lane; c < row_chunks; c += 32)
            ptx::cp_async_16(row_at + 16 * static_cast<uint32_t>(swizzled_value<value_type>(row_of_block, c)),
                             from + 16 * (row * row_chunks + c), valid);
    }
    /* Four chunks of scales, and one of zero points, of keys and of values. */
    const uint8_t *const key_scales = page + keys.scales_at, *const value_scales = page + values.scales_at;
    const int32_t scales_at = valid != 0 ? 4 * at : 0, zeros_at = valid != 0 ? 4 * p.cache.page_tokens + at : 0;
    const int32_t chunk = lane % 4;
    if (keys.has_scales && lane < 4)
        ptx::cp_async_16(stage.key_scale(UNIT * unit + 4 * chunk), key_scales + scales_at + 16 * chunk, valid);
    if (values.has_scales && lane >= 4 && lane < 8)
        ptx::cp_async_16(stage.value_scale(UNIT * unit + 4 * chunk), value_scales + scales_at + 16 * chunk, valid);
    if (keys.has_zero_points && lane == 8)
        ptx::cp_async_16(stage.key_zero(UNIT * unit), key_scales + zeros_at, valid);
    if (values.has_zero_points && lane == 9)
        ptx::cp_async_16(stage.value_zero(UNIT * unit), value_scales + zeros_at, valid);
}

} // namespace kernels

#endif
