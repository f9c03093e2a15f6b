/* Scores of keys with scales of their channels (KIVI): the query is multiplied by the scales of a group, and quantized,
 * once for every group of tokens; so a block of 64 tokens has up to four such queries. Keys of the last, incomplete
 * group are f32, and are read where they lie. */
#ifndef KRN_CUDA_ATTENTION_CHANNELS_H
#define KRN_CUDA_ATTENTION_CHANNELS_H

#include "cuda/attention/attention_scores.cuh"
#include "cuda/ptx/barrier.h"

namespace kernels {

/* What the thread block remembers: the only group that its first codes are of, or -1. */
struct GroupQueries {
    int32_t held;
};

/* Codes of the rows for the group of a slot. */
KRN_DEVICE ptx::SharedAddress group_codes(const krn_cuda_attention_params &p, int32_t slot) {
    return ptx::shared_base() + static_cast<uint32_t>(p.space.group_codes_at + slot * ROWS * p.space.group_ld);
}

/* Behind each other the scale of a row and what its dot products are too large by. */
KRN_DEVICE ptx::SharedAddress group_word(const krn_cuda_attention_params &p, int32_t slot, int32_t row) {
    return ptx::shared_base() + static_cast<uint32_t>(p.space.group_words_at + 8 * (slot * ROWS + row));
}

/* Rows that are none have codes, too. */
KRN_DEVICE void clear_group_queries(const krn_cuda_attention_params &p) {
    const int32_t bytes = BLOCK / UNIT * ROWS * p.space.group_ld;
    for (int32_t at = 16 * ptx::thread_x(); at < bytes; at += 16 * KRN_CUDA_ATTENTION_THREADS)
        ptx::store_shared(group_codes(p, 0) + static_cast<uint32_t>(at), ptx::U32x4{0, 0, 0, 0});
    for (int32_t row = ptx::thread_x(); row < BLOCK / UNIT * ROWS; row += KRN_CUDA_ATTENTION_THREADS)
        ptx::store_shared(group_word(p, 0, row), ptx::U32x2{0, 0});
}

/* A warp quantizes one row for the group whose scales are at `scales`, zero points of u4 behind them. */
template <int32_t type>
KRN_DEVICE void quantize_for_group(const krn_cuda_attention_params &p, const Tile &tile, ptx::SharedAddress scales,
                                   int32_t slot, int32_t row) {
    const int32_t dim = p.cache.head_dim, lane = ptx::lane();
    const bool has_zeros = p.cache.keys.type == KRN_TYPE_U4;
    const ptx::SharedAddress query = tile.queries + static_cast<uint32_t>(row * p.space.query_ld);
    const ptx::SharedAddress target = group_codes(p, slot) + static_cast<uint32_t>(row * p.space.group_ld);
    const auto scaled = [&](int32_t c) {
        const uint32_t at = 4 * static_cast<uint32_t>(c);
        return ptx::mul_rn(ptx::load_shared<float>(query + at), ptx::load_shared<float>(scales + at));
    };
    uint32_t highest = 0;
    for (int32_t c = lane; c < dim; c += 32) {
        const uint32_t magnitude = ptx::bits_as<uint32_t>(scaled(c)) & 0x7FFFFFFF;
        highest = highest > magnitude ? highest : magnitude;
    }
    highest = ptx::reduce_max(highest);
    const float scale = query_scale(highest), inverse = scale == 0 ? 0.0f : ptx::div_rn(1.0f, scale);
    int32_t sum = 0, zero_sum = 0;
    for (int32_t c = lane; c < dim; c += 32) {
        const int32_t code = query_code(scaled(c), inverse);
        sum += code;
        if (has_zeros)
            zero_sum += code * ptx::load_shared<uint8_t>(scales + static_cast<uint32_t>(4 * dim + c));
        ptx::store_shared(target + static_cast<uint32_t>(c), static_cast<int8_t>(code));
    }
    const int32_t offset = ptx::reduce_add(has_zeros ? zero_sum : (type == KRN_TYPE_S8 ? 128 : 8) * sum);
    if (lane == 0)
        ptx::store_shared(group_word(p, slot, row), ptx::U32x2{ptx::bits_as<uint32_t>(ptx::mul_rn(scale, p.scale)),
                                                               static_cast<uint32_t>(offset)});
}

/* Queries for all groups of a block, unless they are there from the block before. Ends with a barrier. */
template <int32_t type>
KRN_DEVICE void quantize_for_groups(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage,
                                    int32_t first, int32_t paged, GroupQueries &queries) {
    const int32_t group = p.cache.keys.group, index = first / group;
    const bool is_one = (first + BLOCK - 1) / group == index;
    if (first >= paged || (is_one && index == queries.held))
        return;
    queries.held = is_one ? index : -1;
    KRN_UNROLL_NONE
    for (int32_t unit = 0; unit < BLOCK / UNIT && first + UNIT * unit < paged; unit++) {
        if (slot_of(p, first, unit) != unit)
            continue;
        const ptx::SharedAddress scales = stage.channels + static_cast<uint32_t>(unit * p.cache.keys.group_bytes);
        KRN_UNROLL_NONE
        for (int32_t row = ptx::warp(); row < tile.rows; row += KRN_CUDA_ATTENTION_THREADS / 32)
            quantize_for_group<type>(p, tile, scales, unit, row);
    }
    ptx::sync_threads();
}

template <int32_t type>
KRN_DEVICE void channel_scores(const krn_cuda_attention_params &p, const Tile &tile, const Stage &stage, int32_t first,
                               GroupQueries &queries) {
    const int32_t paged = kv_paged_keys(p.cache, tile.entry.length), start = first + UNIT * ptx::warp();
    quantize_for_groups<type>(p, tile, stage, first, paged, queries);
    if (start >= paged) {
        const float *const tail = kv_tail(p.cache, tile.entry.sequence, tile.kv_head) +
                                  (start - paged) * p.cache.head_dim + ptx::lane() % UNIT;
        const bool is_there = start < tile.entry.length;
        f32_scores(p, tile, first, [&](int32_t c) { return is_there ? ptx::load_global_nc(tail + UNIT * c) : 0.0f; });
        return;
    }
    const int32_t slot = slot_of(p, first, ptx::warp());
    int32_t dots[2][4] = {};
    integer_dots<type>(p, group_codes(p, slot), p.space.group_ld, unit_of(p, stage), dots);
    store_scores(p, tile, first, [&](int32_t row, int32_t half, int32_t e) {
        const auto word = ptx::load_shared<ptx::U32x2>(group_word(p, slot, row));
        const int32_t dot = dots[e % 2][2 * half + e / 2] - static_cast<int32_t>(word.y);
        return ptx::fma_rn(ptx::f32_from_s32_rn(dot), ptx::bits_as<float>(word.x), tile.get<float>(row, Q_BIAS));
    });
}

} // namespace kernels

#endif
