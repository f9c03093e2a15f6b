/* Where kernels find things in a KV cache, and FP8 E4M3 in integer arithmetic (sm_80 has no instruction for it). */
#ifndef KRN_CUDA_KV_PAGE_H
#define KRN_CUDA_KV_PAGE_H

#include "cuda/common/elements.cuh"
#include "cuda/kv_cache/kv_params.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/atomic.h"
#include "kernels/cuda.h"

namespace kernels {

/* An entry of a batch. */
struct KvEntry {
    int32_t sequence, first_row, rows, length;
};

KRN_DEVICE void raise_flag(int32_t *device_flags, int32_t flag) {
    if (device_flags != nullptr)
        ptx::atomic_or(device_flags, flag);
}

/* `rows` is 0 for an entry that cannot be, and then the flag says so. */
KRN_DEVICE KvEntry kv_entry(const krn_cuda_kv_view &cache, const krn_cuda_kv_entries &batch, int32_t index,
                            int32_t *device_flags) {
    KvEntry entry = {ptx::load_global_nc(batch.sequences + index), ptx::load_global_nc(batch.starts + index), 0, 0};
    const int32_t rows = ptx::load_global_nc(batch.starts + index + 1) - entry.first_row;
    const bool is_known = entry.sequence >= 0 && entry.sequence < cache.sequences;
    if (is_known)
        entry.length = ptx::load_global_nc(cache.lengths + entry.sequence);
    entry.rows = is_known && entry.length <= cache.max_tokens && rows <= entry.length && rows > 0 ? rows : 0;
    if (entry.rows != rows)
        raise_flag(device_flags, KRN_CUDA_FLAG_PAGES);
    return entry;
}

/* A head of the page that holds a token of a sequence; nullptr when the table names none. */
KRN_DEVICE uint8_t *kv_head(const krn_cuda_kv_view &cache, int32_t sequence, int32_t token, int32_t head) {
    const int64_t slot = static_cast<int64_t>(sequence) * cache.table_pages + token / cache.page_tokens;
    const int32_t page = ptx::load_global_nc(cache.tables + slot);
    if (page < 0 || page >= cache.pages)
        return nullptr;
    return cache.pool + page * cache.page_bytes + head * cache.head_bytes;
}

/* Tokens begin..end-1 of a block of 16, which begins at token `start`; `page` is the head of the page that has them. */
struct KvSlice {
    int32_t start, begin, end, head;
    int64_t row;
    uint8_t *page;
};

/* What warp `unit` of an entry works on, blocks in order and of each all heads; nothing when `page` is nullptr. */
KRN_DEVICE KvSlice kv_slice(const krn_cuda_kv_view &cache, const KvEntry &entry, int32_t unit, int32_t *device_flags) {
    const int32_t old_length = entry.length - entry.rows;
    KvSlice slice = {(old_length / KRN_CUDA_KV_BLOCK + unit / cache.kv_heads) * KRN_CUDA_KV_BLOCK,
                     0,
                     0,
                     unit % cache.kv_heads,
                     0,
                     nullptr};
    if (entry.rows == 0 || slice.start >= entry.length)
        return slice;
    slice.begin = slice.start > old_length ? slice.start : old_length;
    slice.end = entry.length < slice.start + KRN_CUDA_KV_BLOCK ? entry.length : slice.start + KRN_CUDA_KV_BLOCK;
    slice.row = entry.first_row + slice.begin - old_length;
    slice.page = kv_head(cache, entry.sequence, slice.start, slice.head);
    if (slice.page == nullptr)
        raise_flag(device_flags, KRN_CUDA_FLAG_PAGES);
    return slice;
}

/* A static zero point of a head, or what stands for one in codes of 4 bits as they are stored. */
KRN_DEVICE int32_t static_zero(const krn_cuda_kv_section &section, int32_t head) {
    return section.static_zero_points != nullptr ? ptx::load_global_nc(section.static_zero_points + head) : 8;
}

/* Nibbles: those of elements 0..3 of a dword are the low ones. */
template <int32_t bits> KRN_DEVICE int32_t shift_in_dword(int32_t element) {
    return bits == 4 ? element % 4 * 8 + element / 4 * 4 : element * bits;
}

/* To nearest even, subnormals too, no further than 448; of a finite value. */
KRN_DEVICE uint32_t f8_from_f32(float value) {
    const uint32_t bits = ptx::bits_as<uint32_t>(value), sign = bits >> 24 & 0x80, magnitude = bits & 0x7FFFFFFF;
    if (magnitude >= 0x43E00000)
        return sign | 0x7E;
    /* Below 2^-6 in units of 2^-9: the sum with 2^14 is rounded there. */
    if (magnitude < 0x3C800000)
        return sign | (ptx::bits_as<uint32_t>(ptx::add_rn(ptx::bits_as<float>(magnitude), 0x1p14f)) & 0xF);
    const uint32_t rebased = magnitude - (120u << 23);
    return sign | (rebased + 0x7FFFF + (rebased >> 20 & 1)) >> 20;
}

/* Exact, of a code that is no NaN. The exponent field ends up 120 too small, which subnormals survive. */
KRN_DEVICE float f32_from_f8(uint32_t code) {
    const uint32_t bits = (code & 0x80) << 24 | (code & 0x7F) << 20;
    return ptx::mul_rn(ptx::bits_as<float>(bits), 0x1p+120f);
}

/* A code as it is stored, without its scale. */
template <int32_t bits> KRN_DEVICE float value_of(int32_t type, uint32_t code, bool is_key, int32_t zero) {
    if constexpr (bits == 32)
        return ptx::bits_as<float>(code);
    else if constexpr (bits == 16)
        return ptx::f32_from_bf16(static_cast<uint16_t>(code));
    else if (bits == 8 && type == KRN_TYPE_F8E4M3)
        return f32_from_f8(code);
    else if (bits == 8)
        return ptx::f32_from_s32_rn(is_key ? static_cast<int32_t>(code) - 128 : static_cast<int8_t>(code));
    else
        return ptx::f32_from_s32_rn(static_cast<int32_t>(code) - zero);
}

/* The keys of an incomplete group of a head (KRN_KV_CHANNEL), blocks of 16 tokens [head_dim][16]. */
KRN_DEVICE float *kv_tail(const krn_cuda_kv_view &cache, int32_t sequence, int32_t head) {
    const int64_t index = static_cast<int64_t>(sequence) * cache.kv_heads + head;
    return cache.tails + index * cache.keys.group * cache.head_dim;
}

/* The mean of a head (center_keys). */
KRN_DEVICE float *kv_mean(const krn_cuda_kv_view &cache, int32_t sequence, int32_t head) {
    return cache.means + (static_cast<int64_t>(sequence) * cache.kv_heads + head) * cache.head_dim;
}

/* Tokens whose keys are in the pages; those of the others are in the tail. */
KRN_DEVICE int32_t kv_paged_keys(const krn_cuda_kv_view &cache, int32_t length) {
    return cache.keys.group != 0 ? length - length % cache.keys.group : length;
}

} // namespace kernels

#endif
