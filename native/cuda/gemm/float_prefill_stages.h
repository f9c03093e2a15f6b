/* How a block of the prefill kernel for float activations (gemm_float_prefill_sm80.cu) gets its stages of 64 inputs
 * into shared memory. Device code. */
#ifndef KRN_CUDA_GEMM_FLOAT_PREFILL_STAGES_H
#define KRN_CUDA_GEMM_FLOAT_PREFILL_STAGES_H

#include "cuda/gemm/float_pieces.h"
#include "cuda/ptx/copy_async.h"

namespace gemm {

/* warps_n x warps_m warps, each with 16 * units channels and 8 * tiles tokens. */
template <int32_t format, int32_t units, int32_t tiles, int32_t warps_n, int32_t warps_m> struct FloatPrefillShape {
    static constexpr int32_t CHANNELS = 16 * units * warps_n, TOKENS = 8 * tiles * warps_m;
    static constexpr int32_t THREADS = 32 * warps_n * warps_m;
    static constexpr int32_t BITS = format == KRN_TYPE_S8 ? 8 : 4, STEPS = KRN_CUDA_PREFILL_STEPS;
    static constexpr int32_t STAGES = krn_cuda_float_prefill_stages(BITS);
    static constexpr int32_t UNIT_BYTES = 16 * 64 * BITS / 8, ROW_BYTES = 128;
    static constexpr int32_t X_AT = CHANNELS / 16 * UNIT_BYTES, SCALES_AT = X_AT + TOKENS * ROW_BYTES;
    static constexpr int32_t ZEROS_AT = SCALES_AT + STEPS * CHANNELS * 4;
    static constexpr int32_t STAGE_BYTES = krn_cuda_float_prefill_stage_bytes(BITS, CHANNELS, TOKENS);
    static constexpr bool has_zeros = format == KRN_TYPE_U4;
};

template <class Shape> class FloatStageLoader {
  public:
    KRN_DEVICE_MEMBER FloatStageLoader(const krn_cuda_gemm_params &params, int32_t channel, int32_t token)
        : p(params), walk(params), num_stages((params.num_steps + 1) / 2), first_channel(channel),
          codes(params.codes + static_cast<int64_t>(channel / 64) * params.tiles_k * TILE_BYTES),
          /* The second tile of 64 channels, or the first again, whose results no one reads. */
          second_tile(Shape::CHANNELS > 64 && channel + 64 < params.padded_n
                          ? static_cast<int64_t>(params.tiles_k) * TILE_BYTES
                          : 0),
          x(params.x + (token + ptx::thread_x() / 8) * params.x_ld + ptx::thread_x() % 8 * 16),
          x_at(ptx::thread_x() % 8 * 16), rows_left(params.m - token - ptx::thread_x() / 8) {}

    /* Starts the copies of the next stage; past the last one, of nothing. Ends a group of copies. */
    KRN_DEVICE_MEMBER void load() {
        if (stage < num_stages) {
            const ptx::SharedAddress to = ptx::shared_base() + static_cast<uint32_t>(slot * Shape::STAGE_BYTES);
            load_codes(to);
            load_x(to + Shape::X_AT);
            load_groups(to);
        }
        stage++;
        slot = slot + 1 == Shape::STAGES ? 0 : slot + 1;
        ptx::cp_async_commit();
    }

  private:
    static constexpr int32_t TILE_BYTES = 64 * 128 * Shape::BITS / 8;
    static constexpr int32_t ROWS = Shape::THREADS / 8; /* rows of x that the threads copy at once */

    const krn_cuda_gemm_params &p;
    PieceWalk<> walk;
    const int32_t num_stages;
    int32_t stage = 0, slot = 0;
    const int32_t first_channel;
    const uint8_t *codes;
    const int64_t second_tile;
    const int8_t *x;
    int32_t x_at;
    const int32_t rows_left;

    /* Units of 16 channels x 64 inputs, or with 8 bits their halves, a warp each. */
    KRN_DEVICE_MEMBER void load_codes(ptx::SharedAddress to) const {
        const uint8_t *const tile = codes + static_cast<int64_t>(stage / 2) * TILE_BYTES;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::CHANNELS / 16 * Shape::BITS / 4; i += Shape::THREADS / 32) {
            const int32_t part = i + ptx::warp(), unit = part / (Shape::BITS / 4);
            const uint8_t *from = tile + (unit >= 4 ? second_tile : 0);
            if constexpr (Shape::BITS == 8) {
                const int32_t row = unit % 4 * 16 + ptx::lane() % 16;
                const int32_t chunk = stage % 2 * 4 + part % 2 * 2 + ptx::lane() / 16;
                from += row * 128 + ((chunk ^ (row % 8)) * 16);
            } else {
                from += unit % 4 * 1024 + stage % 2 * 512 + ptx::lane() * 16;
            }
            ptx::cp_async_16(to + static_cast<uint32_t>(part * 512 + ptx::lane() * 16), from);
        }
    }

    KRN_DEVICE_MEMBER void load_x(ptx::SharedAddress to) {
        const int32_t valid = clamp(p.x_bytes - x_at, 0, 16);
        const uint32_t place = half_row_at<Shape::ROW_BYTES>(ptx::thread_x() / 8, ptx::thread_x() % 8);
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < Shape::TOKENS; row += ROWS)
            ptx::cp_async_16(to + place + static_cast<uint32_t>(row * Shape::ROW_BYTES), x + row * p.x_ld,
                             row < rows_left ? valid : 0);
        x += Shape::ROW_BYTES;
        x_at += Shape::ROW_BYTES;
    }

    /* Scales of the pieces that end in the stage, and zero points of its steps. */
    KRN_DEVICE_MEMBER void load_groups(ptx::SharedAddress to) {
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < Shape::STEPS; s++) {
            const int32_t step = stage * Shape::STEPS + s;
            if (step >= p.num_steps)
                break;
            if (walk.ends(step))
                load_scales(to + static_cast<uint32_t>(Shape::SCALES_AT + s * Shape::CHANNELS * 4));
            if (Shape::has_zeros)
                load_zeros(to + static_cast<uint32_t>(Shape::ZEROS_AT + s * Shape::CHANNELS));
            walk.step_on();
        }
    }

    KRN_DEVICE_MEMBER void load_scales(ptx::SharedAddress to) const {
        const int32_t size = scale_bytes(p.scale_type), i = ptx::thread_x() * 16;
        const int64_t first = static_cast<int64_t>(walk.group) * p.padded_n + first_channel;
        const int64_t from = first_channel + i / size < p.padded_n ? first * size + i : 0;
        if (i < Shape::CHANNELS * size)
            ptx::cp_async_16(to + static_cast<uint32_t>(i), static_cast<const uint8_t *>(p.scales) + from);
    }

    KRN_DEVICE_MEMBER void load_zeros(ptx::SharedAddress to) const {
        const int32_t i = ptx::thread_x() * 16;
        const bool is_there = p.zeros != nullptr && first_channel + i < p.padded_n;
        const int64_t from = static_cast<int64_t>(walk.group) * p.padded_n + first_channel + i;
        if (i < Shape::CHANNELS)
            ptx::cp_async_16(to + static_cast<uint32_t>(i), is_there ? p.zeros + from : p.codes, is_there ? 16 : 0);
    }
};

} // namespace gemm

#endif
