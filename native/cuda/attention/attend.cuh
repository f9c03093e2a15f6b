/* Attention over a quantized cache. A thread block of four warps takes 16 rows of queries through a chunk of tokens, 64
 * at a time: copies of the next blocks are on their way to shared memory meanwhile. Per block and between barriers
 *
 *   scores    a warp has 16 tokens of all rows
 *   softmax   eight threads have a row
 *   values    a warp has 32 channels, or twice that, of all rows
 *
 * and what is left at the end, (m, l, acc) of every row, goes to the workspace, where krn_cuda_attention_finish merges
 * the chunks in ascending order. The order of all operations is that of kernels/attention.h, but for sums of bf16 and FP8
 * within mma.sync. */
#ifndef KRN_CUDA_ATTEND_H
#define KRN_CUDA_ATTEND_H

#include "cuda/attention/attention_block.cuh"
#include "cuda/attention/attention_channels.cuh"

namespace kernels {

/* The tokens that a thread block goes through. */
struct Span {
    int32_t low, high, end;

    /* The first block at or behind `first` that a row sees. */
    KRN_DEVICE_MEMBER int32_t next(const krn_cuda_attention_params &p, int32_t first) const {
        while (first < end && !is_any_visible(p, low, high, first))
            first += BLOCK;
        return first;
    }
};

KRN_DEVICE Tile tile_of(const krn_cuda_attention_params &p) {
    const int32_t heads = p.cache.kv_heads, first = ptx::block_y() / heads * ROWS;
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const int32_t rows = entry.rows * p.group - first;
    const ptx::SharedAddress base = ptx::shared_base();
    return {entry,
            ptx::block_y() % heads,
            first,
            rows < ROWS ? rows : ROWS,
            base,
            base + static_cast<uint32_t>(p.space.rows_at),
            base + static_cast<uint32_t>(p.space.scores_at),
            base + static_cast<uint32_t>(p.space.weights_at)};
}

/* Sums of mma.sync: 8 channels of two rows side by side. */
template <int32_t groups>
KRN_DEVICE void store_sums(const krn_cuda_attention_params &p, const Tile &tile, int32_t chunk,
                           const float (&acc)[groups][16]) {
    const int32_t g = ptx::lane() / 4, dim = p.cache.values.stored_dim;
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < groups; n++) {
        const int32_t channel = 32 * (ptx::warp() + 4 * n) + 8 * (ptx::lane() % 4);
        KRN_UNROLL_ALL
        for (int32_t half = 0; half < 2; half++) {
            const int32_t row = g + 8 * half;
            if (channel >= dim || row >= tile.rows)
                continue;
            float *const to = p.acc + state_of(p, chunk, place_of(p, tile, row)) * dim + channel;
            const float *const from = acc[n] + 8 * half;
            ptx::store_global(reinterpret_cast<ptx::U32x4 *>(to), bits_of(Quad{{from[0], from[1], from[2], from[3]}}));
            ptx::store_global(reinterpret_cast<ptx::U32x4 *>(to + 4),
                              bits_of(Quad{{from[4], from[5], from[6], from[7]}}));
        }
    }
}

template <int32_t groups>
KRN_DEVICE void store_f32_sums(const krn_cuda_attention_params &p, const Tile &tile, int32_t chunk,
                               const float (&acc)[groups][16]) {
    const int32_t dim = p.cache.values.stored_dim;
    KRN_UNROLL_ALL
    for (int32_t n = 0; n < groups; n++) {
        const int32_t channel = ptx::thread_x() + KRN_CUDA_ATTENTION_THREADS * n;
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < ROWS; row++)
            if (channel < dim && row < tile.rows)
                ptx::store_global(p.acc + state_of(p, chunk, place_of(p, tile, row)) * dim + channel, acc[n][row]);
    }
}

/* The lanes of a denominator are added in ascending order, by one thread for each row. */
KRN_DEVICE void store_row_sums(const krn_cuda_attention_params &p, const Tile &tile, int32_t chunk,
                               const Softmax &state) {
    const int32_t row = ptx::thread_x() / 8, x = ptx::thread_x() % 8;
    ptx::store_shared(tile.score(row, 2 * x),
                      ptx::U32x2{ptx::bits_as<uint32_t>(state.l[0]), ptx::bits_as<uint32_t>(state.l[1])});
    ptx::sync_warp();
    if (x != 0 || row >= tile.rows)
        return;
    float sum = ptx::load_shared<float>(tile.score(row, 0));
    for (int32_t i = 1; i < UNIT; i++)
        sum = ptx::add_rn(sum, ptx::load_shared<float>(tile.score(row, i)));
    const int64_t index = state_of(p, chunk, place_of(p, tile, row));
    ptx::store_global(p.m + index, state.m);
    ptx::store_global(p.l + index, sum);
}

/* `groups` of 32 channels to a warp. `is_by_channel`: keys have scales of their channels within groups of tokens, and
 * those of the last, incomplete group wait in the tail. */
template <int32_t key_type, int32_t value_type, int32_t groups, bool is_by_channel>
KRN_DEVICE void attend(const krn_cuda_attention_params &p) {
    const Tile tile = tile_of(p);
    const int32_t chunk = ptx::block_x();
    const bool is_decode = tile.entry.rows <= KRN_CUDA_ATTENTION_DECODE_ROWS;
    if (tile.rows <= 0 || chunk * KRN_CUDA_ATTENTION_CHUNK >= tile.entry.length || (!is_decode && chunk > 0))
        return;
    KRN_UNROLL_NONE
    for (int32_t row = ptx::warp(); row < ROWS; row += 4)
        prepare_row<is_by_channel ? KRN_TYPE_F32 : key_type>(p, tile, row);
    GroupQueries group_queries = {-1};
    if constexpr (is_by_channel)
        clear_group_queries(p);
    const int32_t begin = chunk * KRN_CUDA_ATTENTION_CHUNK, rest = tile.entry.length - begin;
    const int32_t oldest = tile.entry.length - tile.entry.rows;
    const Span span = {oldest + tile.first_row / p.group, oldest + (tile.first_row + tile.rows - 1) / p.group,
                       is_decode && rest > KRN_CUDA_ATTENTION_CHUNK ? begin + KRN_CUDA_ATTENTION_CHUNK
                                                                    : tile.entry.length};
    const krn_cuda_kv_section &values = p.cache.values;
    Softmax state = {minus_infinity(), {0, 0}, 1, values.type == KRN_TYPE_S8 ? 0 : static_zero(values, tile.kv_head)};
    if (values.static_scales != nullptr)
        state.value_scale = ptx::load_global_nc(values.static_scales + tile.kv_head);
    float acc[groups][16] = {};
    /* `ahead` is the block whose copy starts next. */
    const int32_t stages = p.space.stages;
    int32_t first = span.next(p, begin), ahead = first, filled = 0;
    const auto fetch_next = [&]() {
        if (ahead < span.end) {
            fetch<key_type, value_type, is_by_channel>(p, tile, stage_of(p.space, filled), ahead);
            ahead = span.next(p, ahead + BLOCK);
        }
        filled = filled + 1 == stages ? 0 : filled + 1;
        ptx::cp_async_commit();
    };
    for (int32_t i = 1; i < stages; i++)
        fetch_next();
    KRN_UNROLL_NONE
    for (int32_t current = 0; first < span.end; first = span.next(p, first + BLOCK)) {
        if (stages == 3)
            ptx::cp_async_wait<1>();
        else
            ptx::cp_async_wait<0>();
        ptx::sync_threads();
        /* Its stage is that of the block before this one, which nobody reads any more. */
        fetch_next();
        const Stage stage = stage_of(p.space, current);
        current = current + 1 == stages ? 0 : current + 1;
        if constexpr (is_by_channel)
            channel_scores<key_type>(p, tile, stage, first, group_queries);
        else if constexpr (is_integer(key_type))
            integer_scores<key_type>(p, tile, stage, first);
        else if constexpr (is_half(key_type))
            half_scores<key_type>(p, tile, stage, first);
        else
            staged_f32_scores(p, tile, stage, first);
        ptx::sync_threads();
        softmax<value_type>(p, tile, stage, state);
        ptx::sync_threads();
        if constexpr (is_integer(value_type))
            integer_values<value_type, groups>(p, tile, stage, acc);
        else if constexpr (is_half(value_type))
            half_values<value_type, groups>(p, tile, stage, acc);
        else
            f32_values(p, tile, stage, acc);
    }
    ptx::cp_async_wait_all();
    ptx::sync_threads();
    store_row_sums(p, tile, chunk, state);
    if constexpr (value_type == KRN_TYPE_F32)
        store_f32_sums(p, tile, chunk, acc);
    else
        store_sums(p, tile, chunk, acc);
}

} // namespace kernels

#endif
