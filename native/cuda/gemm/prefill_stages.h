/* How a block of the prefill kernel (gemm_prefill_sm80.cu) gets its stages of 64 inputs into shared memory. Device
 * code. What does not change from stage to stage is computed once. */
#ifndef KRN_CUDA_GEMM_PREFILL_STAGES_H
#define KRN_CUDA_GEMM_PREFILL_STAGES_H

#include "cuda/gemm/operands.h"
#include "cuda/ptx/copy_async.h"

namespace gemm {

using Params = krn_cuda_gemm_params;
using ptx::SharedAddress;

constexpr int32_t STAGE_K = KRN_CUDA_PREFILL_K, STEPS = KRN_CUDA_PREFILL_STEPS;

/* warps_n x warps_m warps, each with 16 * units channels and 8 * tiles tokens. */
template <int32_t format, bool grouped, int32_t units, int32_t tiles, int32_t warps_n, int32_t warps_m>
struct PrefillShape {
    static constexpr int32_t CHANNELS = 16 * units * warps_n, TOKENS = 8 * tiles * warps_m;
    static constexpr int32_t THREADS = 32 * warps_n * warps_m;
    static constexpr int32_t BITS = format == KRN_TYPE_S8 ? 8 : 4;
    static constexpr int32_t STAGES = krn_cuda_prefill_stages(grouped);
    static constexpr int32_t X_AT = CHANNELS * STAGE_K * BITS / 8;
    static constexpr int32_t SCALES_AT = X_AT + TOKENS * STAGE_K;
    static constexpr int32_t ZEROS_AT = SCALES_AT + (grouped ? STEPS * CHANNELS * 4 : 0);
    static constexpr int32_t STAGE_BYTES = krn_cuda_prefill_stage_bytes(BITS, grouped, CHANNELS, TOKENS);
    static constexpr bool has_zeros = format == KRN_TYPE_U4;
};

/* Where 16-byte chunk c of a row of 64 bytes lies. */
KRN_DEVICE uint32_t chunk_at(int32_t row, int32_t chunk) {
    return static_cast<uint32_t>(row * STAGE_K + ((chunk ^ (row / 2 % 4)) * 16));
}

/* Copies that a thread starts for a stage are so many rows, or units, apart that they differ by constants. What lies
 * behind the last channel or token is replaced by what is there: no one reads the results. */
template <class Shape, bool grouped> class StageLoader {
  public:
    KRN_DEVICE_MEMBER StageLoader(const Params &params, int32_t channel, int32_t token)
        : p(params), num_stages((params.num_steps + STEPS - 1) / STEPS), first_channel(channel),
          left(params.group_steps) {
        const int32_t i = ptx::thread_x();
        const uint8_t *const tile = p.codes + static_cast<int64_t>(channel / 64) * p.tiles_k * TILE_BYTES;
        /* The second tile of 64 channels, or the first again. */
        const bool has_second = Shape::CHANNELS > 64 && channel + 64 < p.padded_n;
        second_tile = has_second ? static_cast<int64_t>(p.tiles_k) * TILE_BYTES : 0;
        if constexpr (Shape::BITS == 8) {
            codes = tile + i / 4 * 128 + ((i % 4 ^ (i / 4 % 8)) * 16);
        } else {
            const int32_t unit = i / 32;
            codes = tile + (unit >= 4 ? second_tile : 0) + unit % 4 * 1024 + i % 32 * 16;
        }
        rows_to = chunk_at(i / 4, i % 4);
        x_at = i % 4 * 16;
        x = p.x + (token + i / 4) * p.x_ld + x_at;
        rows_left = p.m - token - i / 4;
    }

    /* Starts the copies of the next stage; past the last one, of nothing. Ends a group of copies. */
    KRN_DEVICE_MEMBER void load() {
        if (stage < num_stages) {
            const SharedAddress to = ptx::shared_base() + static_cast<uint32_t>(slot * Shape::STAGE_BYTES);
            if constexpr (Shape::BITS == 8)
                load_bytes(to);
            else
                load_units(to);
            load_x(to + Shape::X_AT);
            if constexpr (grouped || Shape::has_zeros)
                load_groups(to);
        }
        stage++;
        slot = slot + 1 == Shape::STAGES ? 0 : slot + 1;
        ptx::cp_async_commit();
    }

  private:
    static constexpr int32_t TILE_BYTES = 64 * 128 * Shape::BITS / 8;
    static constexpr int32_t ROWS = Shape::THREADS / 4; /* rows of 64 bytes that the threads copy at once */

    const Params &p;
    const int32_t num_stages;
    int32_t stage = 0, slot = 0;
    const int32_t first_channel;
    const uint8_t *codes;
    int64_t second_tile;
    const int8_t *x;
    int32_t x_at, rows_left;
    uint32_t rows_to;
    /* The group of the next stage's first step, and the steps to its end. */
    int32_t group = 0, left;

    /* 8 bits: the left or the right half of the rows of a tile, whose chunks leave the order of the tile for that of
     * the stage. The halves of the odd fours of rows are exchanged, as bit 2 of a chunk is. */
    KRN_DEVICE_MEMBER void load_bytes(SharedAddress to) const {
        const int32_t i = ptx::thread_x(), half = (stage ^ (i / 16)) & 1;
        const uint8_t *const from =
            codes + static_cast<int64_t>(stage / 2) * TILE_BYTES + half * 64 - (i / 16 & 1) * 64;
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < Shape::CHANNELS; row += ROWS)
            ptx::cp_async_16(to + rows_to + static_cast<uint32_t>(row * STAGE_K),
                             from + (row >= 64 ? second_tile : 0) + row % 64 * 128);
    }

    /* 4 bits: units of 16 channels, a warp each. */
    KRN_DEVICE_MEMBER void load_units(SharedAddress to) const {
        const uint8_t *const from = codes + static_cast<int64_t>(stage / 2) * TILE_BYTES + stage % 2 * 512;
        KRN_UNROLL_ALL
        for (int32_t unit = 0; unit < Shape::CHANNELS / 16; unit += Shape::THREADS / 32)
            ptx::cp_async_16(to + static_cast<uint32_t>(unit * 512 + ptx::thread_x() * 16),
                             from + (unit >= 4 ? second_tile : 0));
    }

    KRN_DEVICE_MEMBER void load_x(SharedAddress to) {
        const int32_t valid = clamp(p.x_bytes - x_at, 0, 16);
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < Shape::TOKENS; row += ROWS)
            ptx::cp_async_16(to + rows_to + static_cast<uint32_t>(row * STAGE_K), x + row * p.x_ld,
                             row < rows_left ? valid : 0);
        x += STAGE_K;
        x_at += STAGE_K;
    }

    /* Scales of the groups that end in the stage, and zero points of its steps. */
    KRN_DEVICE_MEMBER void load_groups(SharedAddress to) {
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < STEPS; s++) {
            const int32_t step = stage * STEPS + s;
            if (step >= p.num_steps)
                break;
            if (grouped && (left == 1 || step == p.num_steps - 1))
                load_scales(to + static_cast<uint32_t>(Shape::SCALES_AT + s * Shape::CHANNELS * 4));
            if (Shape::has_zeros)
                load_zeros(to + static_cast<uint32_t>(Shape::ZEROS_AT + s * Shape::CHANNELS));
            if (--left == 0) {
                group++;
                left = p.group_steps;
            }
        }
    }

    KRN_DEVICE_MEMBER void load_scales(SharedAddress to) const {
        const int32_t size = scale_bytes(p.scale_type), i = ptx::thread_x() * 16;
        const int64_t first = static_cast<int64_t>(group) * p.padded_n + first_channel;
        const int64_t from = first_channel + i / size < p.padded_n ? first * size + i : 0;
        if (i < Shape::CHANNELS * size)
            ptx::cp_async_16(to + static_cast<uint32_t>(i), static_cast<const uint8_t *>(p.scales) + from);
    }

    KRN_DEVICE_MEMBER void load_zeros(SharedAddress to) const {
        const int32_t i = ptx::thread_x() * 16;
        const bool is_there = p.zeros != nullptr && first_channel + i < p.padded_n;
        const int64_t from = static_cast<int64_t>(group) * p.padded_n + first_channel + i;
        if (i < Shape::CHANNELS)
            ptx::cp_async_16(to + static_cast<uint32_t>(i), is_there ? p.zeros + from : p.codes, is_there ? 16 : 0);
    }
};

} // namespace gemm

#endif
